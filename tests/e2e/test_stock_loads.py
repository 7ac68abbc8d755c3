"""R23: what a training writes is what stock `sam2` loads, and stock's predictor tracks with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tests.waiting import WAIT_SECONDS

pytestmark = pytest.mark.slow

# Runs without the repository on the path: only the published package, as a user of the result would.
STOCK = """
import sys
import numpy as np, torch
from PIL import Image
from sam2.build_sam import build_sam2, build_sam2_video_predictor
checkpoint, frames, mask = sys.argv[1:]
config = "configs/sam2.1/sam2.1_hiera_t.yaml"
build_sam2(config, checkpoint, device="cpu")
small = ["++model.image_size=256"]
predictor = build_sam2_video_predictor(config, checkpoint, device="cpu", hydra_overrides_extra=small)
state = predictor.init_state(frames)
ids = np.array(Image.open(mask))
for object_id in (1, 2):
    predictor.add_new_mask(state, 0, object_id, torch.from_numpy(ids == object_id))
sizes = [tuple(masks.shape) for _, _, masks in predictor.propagate_in_video(state, max_frame_num_to_track=3)]
print("tracked", sizes)
"""


def test_r23_stock_build_sam2_and_its_video_predictor_load_the_checkpoint_and_track(
    new_run: Callable[..., Run], real_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("dogs-jump\n")
    run = new_run(
        "hiera_t",
        *("model.name=sam2.1_hiera_t", f"dataset.file_list_txt={tmp_path / 'one.txt'}", "scratch.num_epochs=1"),
        *("scratch.num_frames=2", "prompts=mask", "scratch.max_num_objects=1"),
    )
    ended = run.go()
    assert ended.code == 0, ended.output
    assert "build_sam2_video_predictor" in ended.output
    frames = real_data / "vos" / "JPEGImages" / "dogs-jump"
    mask = real_data / "vos" / "Annotations" / "dogs-jump" / "00000.png"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", STOCK, str(run.checkpoint), str(frames), str(mask)],
        cwd=tmp_path,
        env={**environment, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "tracked [(2, 1, 240, 432), (2, 1, 240, 432)" in done.stdout
