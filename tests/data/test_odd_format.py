"""A format is one module and one line: all frames and masks of a video in one NPZ, trained on and evaluated."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sam2_training.core.errors import ConfigError, DataError
from sam2_training.data.formats import FORMATS, Format
from sam2_training.engine.task import SampleKey
from sam2_training.tasks import load_config
from sam2_training.vos.clips.dataset import ClipDataset
from sam2_training.vos.clips.planes import unpack_planes
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.clips import EvaluationClip

from tests.data import npz_videos
from tests.places import REPOSITORY
from tests.tiny_checkpoint import CPU, SETTINGS
from tests.vos.opened import build_dataset, open_clips
from tests.waiting import WAIT_SECONDS

REGISTRATION = 'FORMATS["npz"] = Format("tests.data.npz_videos", needs=("img_folder",))'
PROGRAM = f"""
import sys
from sam2_training.cli import main
from sam2_training.data.formats import FORMATS, Format
{REGISTRATION}
if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
"""


def write_video(folder: Path, name: str, num_frames: int = 4) -> np.ndarray:
    """Two overlapping squares that move, object 9 not labeled in frame 1; the masks [H, W, T, N]."""
    masks = np.zeros((48, 64, num_frames, 2), np.bool_)
    for t in range(num_frames):
        masks[8:24, 4 + t : 20 + t, t, 0] = True
        masks[16:40, 10 + t : 34 + t, t, 1] = True
    labeled = np.ones((num_frames, 2), np.bool_)
    labeled[1, 1] = False
    noise = np.random.default_rng(len(name)).integers(0, 60, (num_frames, 48, 64, 3), np.uint8)
    frames = noise + 180 * masks.any(3).transpose(2, 0, 1)[..., None].astype(np.uint8)
    np.savez(folder / f"{name}.npz", frames=frames, masks=masks, labeled=labeled, ids=[4, 9])
    return masks


@pytest.fixture
def npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two videos of the format, which is registered."""
    monkeypatch.setitem(FORMATS, "npz", Format("tests.data.npz_videos", needs=("img_folder",)))
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("one", "two"):
        write_video(folder, name)
    return folder


def config_of(*overrides: str) -> VosConfig:
    settings = [*SETTINGS[2:], "dataset.dataset_type=npz", "scratch.num_frames=2"]
    return load_config("custom_finetune", [*settings, *overrides], VosConfig).config


def test_the_format_is_one_module_of_at_most_60_lines_and_one_line() -> None:
    assert len(Path(npz_videos.__file__).read_text().splitlines()) <= 60
    assert len(REGISTRATION.splitlines()) == 1


@pytest.mark.slow
def test_it_is_trained_on_and_evaluated_by_the_ordinary_commands(npz: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    settings = [*SETTINGS, CPU, "dataset.dataset_type=npz", f"dataset.img_folder={npz}", "scratch.num_frames=2"]
    settings += [f"launcher.experiment_log_dir={tmp_path / 'run'}", "trainer.enable_progress_bar=false"]

    def run(*arguments: str) -> None:
        paths = os.pathsep.join([str(REPOSITORY / "training"), str(REPOSITORY)])
        command = [sys.executable, str(tmp_path / "program.py"), *arguments]
        environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    run("train", *settings, "model.checkpoint=null", "trainer.max_steps=2", "trainer.log_every_n_steps=1")
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    assert all(np.isfinite(float(row["total"])) for row in rows)
    checkpoint = tmp_path / "run" / "checkpoints" / "checkpoint.pt"
    run("evaluate", *settings, "--checkpoint", str(checkpoint), "--output", str(tmp_path / "scores"))
    result = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert result["num_videos"] == 2
    assert result["mean"]["j_and_f"] is not None


def test_clips_and_whole_videos_hold_what_the_files_hold(npz: Path) -> None:
    masks = write_video(npz, "one")
    config = config_of(f"dataset.img_folder={npz}", "transforms=none", "scratch.num_frames=4")
    dataset = build_dataset(config, None)
    assert dataset.describe()[:3] == [f"videos: 2 ({npz})", f"frames: 8, 8 of them with masks ({npz})", "objects: 4"]
    sample = dataset[SampleKey(0, 0, 0)]
    assert sample.object_ids == (4, 9)
    assert sample.source.startswith("one frames ")
    columns, rows = (np.arange(64) * 64) // 64, (np.arange(64) * 48) // 64
    for n, name in enumerate(sample.frame_names):
        found = unpack_planes(sample.mask_planes[n], 2)
        assert np.array_equal(found[0], masks[:, :, int(name), 0][rows][:, columns])
        assert sample.labeled[n].tolist() == [True, name != "001"]
    clip = open_clips(config.dataset, 0, None)[0]
    assert np.array_equal(clip.ground_truth(2), masks[:, :, 2].transpose(2, 0, 1))
    assert not clip.ground_truth(1)[1].any()


def test_a_video_that_changed_after_indexing_is_noticed_by_training_and_evaluation(npz: Path, tmp_path: Path) -> None:
    config = config_of(f"dataset.img_folder={npz}")
    dataset = build_dataset(config, tmp_path)
    kept = {entry.stem: entry.stat() for entry in npz.iterdir()}
    for name, facts in kept.items():
        masks = write_video(npz, name)
        masks[0, 0] = True
        with np.load(npz / f"{name}.npz") as file:
            np.savez(npz / f"{name}.npz", **{**file, "masks": masks})
        os.utime(npz / f"{name}.npz", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    again = build_dataset(config, tmp_path)  # the same modification times: taken from the cache
    for one in (dataset, again):
        check_noticed(one, npz)


def check_noticed(dataset: ClipDataset, folder: Path) -> None:
    with pytest.raises(DataError, match=r"object 4 has 257 pixels, expected 256: .*one\.npz"):
        dataset[SampleKey(0, 0, 0)]
    with pytest.raises(DataError, match=r"object 4 has 257 pixels, expected 256: .*one\.npz"):
        EvaluationClip(dataset.index, 0).ground_truth(0)


def test_what_the_format_needs_and_what_formats_there_are_is_said(npz: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.img_folder is not set"):
        config_of("dataset.img_folder=null")
    with pytest.raises(
        ConfigError, match=r"'npy' is not a format; did you mean npz\? there are: auto, video, .*synthetic, npz"
    ):
        config_of("dataset.dataset_type=npy")
