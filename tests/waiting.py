"""Waiting for a training in another process to get somewhere."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest


def wait_for_step(run_folder: Path, process: subprocess.Popen[str], step: int, timeout: float = 120) -> None:
    """Returns once a checkpoint of `step` or later is on disk; fails the test when the process ends before."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        steps = [int(path.stem.split("_")[1]) for path in run_folder.glob("checkpoints/step_*.pt")]
        if max(steps, default=-1) >= step:
            return
        if process.poll() is not None:
            pytest.fail(f"ended with {process.returncode} before step {step}:\n{process.communicate()[0]}")
        time.sleep(0.02)
    pytest.fail(f"no checkpoint of step {step} after {timeout} s")
