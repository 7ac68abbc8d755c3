"""How long tests wait: long enough for a busy machine, and never a measure of speed."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

WAIT_SECONDS = 600.0
"""No test gives up on another process earlier; none is expected to take this long."""


def wait_for_step(run_folder: Path, process: subprocess.Popen[str], step: int) -> None:
    """Returns once a checkpoint of `step` or later is on disk; fails the test when the process ends before."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        steps = [int(path.stem.split("_")[1]) for path in run_folder.glob("checkpoints/step_*.pt")]
        if max(steps, default=-1) >= step:
            return
        if process.poll() is not None:
            pytest.fail(f"ended with {process.returncode} before step {step}:\n{process.communicate()[0]}")
        time.sleep(0.02)
    pytest.fail(f"no checkpoint of step {step} after {WAIT_SECONDS:g} s")


def wait_for_file(path: Path, process: subprocess.Popen[str]) -> None:
    """Returns once a file has content; fails the test when the process ends before."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        if path.is_file() and path.stat().st_size:
            return
        if process.poll() is not None:
            pytest.fail(f"ended with {process.returncode} before {path.name}:\n{process.communicate()[0]}")
        time.sleep(0.02)
    pytest.fail(f"no {path} after {WAIT_SECONDS:g} s")
