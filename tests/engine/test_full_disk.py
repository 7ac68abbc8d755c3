"""R8 on a real disk that is full to the last byte: every end has its promised code, and leaves nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sam2_training.commands.failures import require_writable
from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.engine.processes import STATUS

from tests.engine.in_process import STEPS, config, train
from tests.engine.second_task import NumbersDataset, RegressionTask


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 8 MiB. Skips where this user may not mount one."""
    disk = tmp_path / "small"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if sys.platform != "linux" or os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs a small file system of its own: Linux, root, and the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def filling(disk: Path, at: int, stop: bool = False) -> type[RegressionTask]:
    """A task whose disk is full from the moment it loads the samples of a step; stop: and is then asked to stop."""

    class Filling(RegressionTask):
        def dataset(self) -> NumbersDataset:
            loaded: list[int] = []

            class Dataset(NumbersDataset):
                def batch(self, keys: list[Any]) -> Any:
                    loaded.append(1)
                    if len(loaded) == at:
                        fill(disk)
                        if stop:
                            os.kill(os.getpid(), signal.SIGTERM)
                    return super().batch(keys)

            return Dataset()

    return Filling


@pytest.mark.parametrize(
    ("at", "stop", "save_every", "saved"),
    [(3, False, 1, 2), (3, True, 1, 2), (2, True, 3, None), (STEPS, False, 2, 4)],
    ids=["while it trains", "then a stop", "a stop before the first save", "at the last save"],
)
def test_r08_a_run_on_a_full_disk_ends_with_4_and_continues_once_there_is_room(
    small_disk: Path, capsys: pytest.CaptureFixture[str], at: int, stop: bool, save_every: int, saved: int | None
) -> None:
    run = small_disk / "run"
    asked = config(run, {"limit_val_batches": 0}, every_n_steps=save_every)
    newest = "Nothing of this run is saved" if saved is None else f"newest saved state is of step {saved} "
    with pytest.raises(CheckpointError, match=newest):
        train(asked, filling(small_disk, at, stop))
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err
    assert not list(run.rglob(".*")), "a temporary file is left"
    status = run / STATUS
    if status.is_file():
        assert json.loads(status.read_text())["exit_code"] == 4
    else:
        assert f"{STATUS} cannot be written (No space left on device): exit code 4" in told.err
    (small_disk / "filler").unlink()
    assert train(asked) == 0
    assert ("fresh start" if saved is None else f"continues at step {saved}") in capsys.readouterr().out
    assert [row.split(",")[0] for row in (run / "metrics.csv").read_text().splitlines()[1:]] == [
        str(step) for step in range(1, STEPS + 1)
    ]


def test_r08_a_disk_that_is_full_after_the_last_save_does_not_undo_the_run(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = RegressionTask.usage_snippet
    monkeypatch.setattr(RegressionTask, "usage_snippet", lambda task, path: (fill(small_disk), real(task, path))[1])
    assert train(config(small_disk / "run")) == 0
    told = capsys.readouterr()
    assert "Finished after step 6" in told.out
    assert "exit code 0, step 6" in told.err
    assert not list(small_disk.rglob(".*"))


def test_a_full_disk_is_refused_before_the_work_and_nothing_is_left(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(ConfigError, match=r"cannot be written: No space left on device. Free some space"):
        require_writable(small_disk / "run", "the run's folder", "Free some space")
    assert list((small_disk / "run").iterdir()) == []
