"""The exit code and the last words of a run say what is so, whatever could not be written."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from sam2_training.core import files as core_files
from sam2_training.core.errors import CheckpointError
from sam2_training.core.files import why_not_writable
from sam2_training.engine.checkpoint import files
from sam2_training.engine.processes import STATUS, read_status
from sam2_training.engine.task import RunSummary, WrittenReport
from torch import nn

from tests.engine.in_process import config, train
from tests.engine.second_task import NumbersDataset, RegressionTask, RegressionValidation

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class StoppedAt(RegressionTask):
    """Is asked to stop while it loads the samples of a step."""

    step = 4

    def dataset(self) -> NumbersDataset:
        loaded: list[int] = []

        class Dataset(NumbersDataset):
            def batch(self, keys: list[Any]) -> Any:
                loaded.append(1)
                if len(loaded) == StoppedAt.step:
                    os.kill(os.getpid(), signal.SIGTERM)
                return super().batch(keys)

        return Dataset()


class StoppedInValidation(RegressionTask):
    def validation(self) -> RegressionValidation:
        class Stopped(RegressionValidation):
            def measure(self, model: nn.Module, step: int, precision: Any, heartbeat: Any) -> dict[str, float]:
                if step:
                    os.kill(os.getpid(), signal.SIGTERM)
                    heartbeat()
                return super().measure(model)

        return Stopped()


@pytest.fixture
def no_room_for_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise FULL

    monkeypatch.setattr(files, "write_checkpoint", fail)


@pytest.mark.usefixtures("no_room_for_checkpoints")
@pytest.mark.parametrize("task", [StoppedAt, StoppedInValidation])
def test_r08_a_stop_whose_save_failed_ends_with_4_and_does_not_claim_to_be_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: Any
) -> None:
    asked = config(tmp_path, {"max_steps": 40, "val_check_interval": 4}, every_n_steps=None, max_failed_saves=100)
    with pytest.raises(CheckpointError, match="Nothing of this run is saved: the same command starts again at step 0"):
        train(asked, task)
    assert "everything is saved" not in capsys.readouterr().out
    status = read_status(tmp_path / STATUS)
    assert status is not None
    assert status[0] == 4


def test_r08_the_failure_names_the_step_that_is_saved_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, saved = files.write_checkpoint, []

    def fail_later(path: Path, content: dict[str, Any]) -> str:
        saved.append(content.get("step"))
        if len(saved) > 2:
            raise FULL
        return real(path, content)

    monkeypatch.setattr(files, "write_checkpoint", fail_later)
    with pytest.raises(CheckpointError, match=r"newest saved state is of step 2 \(.*step_00000002.pt\)"):
        train(config(tmp_path, {"limit_val_batches": 0}))
    monkeypatch.undo()
    assert train(config(tmp_path, {"limit_val_batches": 0})) == 0


def test_a_stop_that_saved_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(config(tmp_path, {"limit_val_batches": 0}), StoppedAt) == 75
    assert "Stopped on request after step 4; everything is saved" in capsys.readouterr().out


class BadReports(RegressionTask):
    """Fails in every way in whatever is only for people to look at."""

    def write_report(self, summary: RunSummary) -> WrittenReport:
        raise UnicodeEncodeError("utf-8", "caf\udce9", 3, 4, "surrogates not allowed")

    def validation(self) -> RegressionValidation:
        class Silent(RegressionValidation):
            def comparison_lines(self, summary: RunSummary) -> list[str]:
                raise ZeroDivisionError("nothing to compare")

        return Silent()


def test_a_report_that_fails_in_any_way_decides_no_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(config(tmp_path), BadReports) == 0
    shown, kept = capsys.readouterr().out, (tmp_path / "logs" / "train.log").read_text()
    assert "the report cannot be written" in shown
    assert "nothing to compare" in shown
    assert "Traceback" not in shown
    assert "Traceback" in kept


@pytest.mark.parametrize("name", ["config.yaml", "config_resolved.yaml", "provenance.json", STATUS, "heartbeat"])
def test_r08_no_small_file_that_cannot_be_written_decides_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    real = core_files.write_bytes

    def write_bytes(path: Path, content: bytes) -> None:
        if path.name == name:
            raise FULL
        real(path, content)

    monkeypatch.setattr(core_files, "write_bytes", write_bytes)
    assert train(config(tmp_path)) == 0
    told = capsys.readouterr()
    assert name in told.out + told.err


def test_a_full_disk_is_found_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not_writable(tmp_path) is None

    def full(*_: object) -> None:
        raise FULL

    monkeypatch.setattr("os.fsync", full)
    assert why_not_writable(tmp_path) == "No space left on device"
    assert list(tmp_path.iterdir()) == []
