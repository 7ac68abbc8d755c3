"""The real command on a GPU: bf16 training, a polite stop, and going on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

pytestmark = pytest.mark.gpu


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, str(REPOSITORY / "training" / "train.py"), "-c", "sam2.1_training/custom_finetune"),
        *("trainer.accelerator=cuda", "model.name=architecture/tiny.yaml", "model.checkpoint=null"),
        *("dataset.dataset_type=synthetic", "dataset.val_fraction=0", "scratch.resolution=128"),
        *("scratch.num_frames=4", "scratch.num_epochs=1"),
        *("dataset.synthetic.num_videos=60", "trainer.log_every_n_steps=5", f"launcher.experiment_log_dir={folder}"),
    ]
    return subprocess.Popen([*command, *overrides], cwd=folder.parent, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "32"])
def test_a_gpu_run_finishes_with_finite_losses_for_every_step(tmp_path: Path, precision: str) -> None:
    process = start(tmp_path / "run", f"trainer.precision={precision}")
    output, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, output
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics["step"].tolist() == list(range(1, 61))
    assert metrics["total"].notna().all()
    assert "GPU" in output or torch.cuda.get_device_name() in output


def test_r12_a_gpu_run_stops_politely_and_goes_on(tmp_path: Path) -> None:
    process = start(tmp_path / "run", "checkpoint.every_n_steps=5")
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until and not list(tmp_path.glob("run/checkpoints/step_*.pt")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 75, output
    assert json.loads((tmp_path / "run" / "run_status.json").read_text())["exit_code"] == 75
    process = start(tmp_path / "run", "checkpoint.every_n_steps=5")
    output, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, output
    assert "continues at step" in output


def test_r15_a_non_finite_loss_on_a_gpu_exits_3(tmp_path: Path) -> None:
    process = start(
        tmp_path / "run", "scratch.base_lr=1e30", "scratch.vision_lr=1e30", "trainer.gradient_clip_val=null"
    )
    output, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 3, output
