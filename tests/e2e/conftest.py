"""Runs the real command in a process of its own, as a user would."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS, wait_for_step

TRAIN = REPOSITORY / "training" / "train.py"
ARCHITECTURE = REPOSITORY / "sam2_configs" / "architecture" / "tiny.yaml"


@dataclass
class Ended:
    """A finished process."""

    code: int
    output: str
    seconds: float


@dataclass
class Run:
    """A training of a tiny network in a folder of its own; the same command can be given again and again."""

    folder: Path
    arguments: list[str]

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "checkpoint.pt"

    def start(self, *extra: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, str(TRAIN), *self.arguments, f"launcher.experiment_log_dir={self.folder}", *extra]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        return subprocess.Popen(
            command,
            cwd=cwd or self.folder.parent,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str], timeout: float = WAIT_SECONDS) -> Ended:
        began = time.monotonic()
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            pytest.fail(f"no end after {timeout} s:\n{output}")
        return Ended(process.returncode, output, time.monotonic() - began)

    def go(self, *extra: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ended:
        return self.finish(self.start(*extra, cwd=cwd, env=env))

    def wait_for_step(self, process: subprocess.Popen[str], step: int) -> None:
        wait_for_step(self.folder, process, step)

    def kill(self, process: subprocess.Popen[str]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def weights_hash(self) -> str:
        return weights_hash(self.checkpoint)

    def state_hash(self) -> str:
        return state_hash(torch.load(self.checkpoint, weights_only=True))

    def loss_curve(self) -> list[tuple[str, ...]]:
        """Steps and losses as text: equal text is equal bits."""
        table = pd.read_csv(self.folder / "metrics.csv", dtype=str)
        columns = ["step", *(name for name in table.columns if "loss" in name or name in ("total", "lr", "grad_norm"))]
        return [tuple(row) for row in table[columns].itertuples(index=False)]


def state_hash(value: object) -> str:
    """SHA-256 over a nested state: keys, plain values and the bytes of tensors."""
    digest = hashlib.sha256()

    def feed(item: object) -> None:
        if isinstance(item, torch.Tensor):
            digest.update(str((item.dtype, tuple(item.shape))).encode())
            digest.update(item.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(item, dict):
            for key in sorted(item, key=str):
                if key not in ("config", "notes"):
                    digest.update(str(key).encode())
                    feed(item[key])
        elif isinstance(item, (list, tuple)):
            for part in item:
                feed(part)
        else:
            digest.update(repr(item).encode())

    feed(value)
    return digest.hexdigest()


def weights_hash(checkpoint: Path) -> str:
    return state_hash(torch.load(checkpoint, weights_only=True)["model"])


@pytest.fixture
def new_run(tmp_path: Path, real_data: Path) -> Callable[..., Run]:
    """Makes a run of a tiny network on the real clips; name and overrides as arguments."""

    def make(name: str, *overrides: str) -> Run:
        arguments = [
            *("-c", "sam2.1_training/custom_finetune", f"model.name={ARCHITECTURE}", "model.checkpoint=null"),
            f"dataset.img_folder={real_data / 'vos' / 'JPEGImages'}",
            f"dataset.gt_folder={real_data / 'vos' / 'Annotations'}",
            *("scratch.resolution=64", "scratch.num_frames=3", "scratch.num_epochs=2", "scratch.num_train_workers=0"),
            *(
                "scratch.base_lr=1e-4",
                "scratch.vision_lr=1e-4",
                "checkpoint.every_n_steps=1",
                "optimizer.layer_decay=0.9",
            ),
            *("trainer.log_every_n_steps=1", "dataset.val_fraction=0", "trainer.check_val_every_n_epoch=1"),
        ]
        return Run(tmp_path / name, [*arguments, *overrides])

    return make
