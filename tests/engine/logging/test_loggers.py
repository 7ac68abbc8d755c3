"""A logger is a class and a line in LOGGERS: what it is given, and that its failures do not end a run."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from sam2_training.core.ranks import Ranks
from sam2_training.engine.config import RunConfig
from sam2_training.engine.logging import loggers
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.logging.sink import Values
from sam2_training.engine.plan import Order, RunPlan


class Recorder:
    """A logger that keeps what it is given; a folder called "full" cannot be written."""

    def __init__(self, run_folder: Path, start_step: int) -> None:
        self.fails = run_folder.name == "full"
        self.seen: list[tuple[int, dict[str, float]]] = []
        self.pictures: list[tuple[str, int]] = []
        self.closed = False
        opened.append(self)

    def log(self, step: int, values: Values) -> None:
        if self.fails:
            raise OSError("no space left")
        self.seen.append((step, dict(values)))

    def picture(self, name: str, picture: object, step: int) -> None:
        self.pictures.append((name, step))

    def summary(self, step: int, values: Values) -> None:
        self.final = (step, dict(values))

    def close(self) -> None:
        self.closed = True


opened: list[Recorder] = []


def run_log(folder: Path, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, rank: int = 0) -> RunLog:
    opened.clear()
    monkeypatch.setitem(loggers.LOGGERS, "recorder", Recorder)
    plan = RunPlan(RunConfig(), Order(0, 10, 1, 1))
    return RunLog(folder, Ranks(rank), plan, "numbers", {"loss_square": "loss", "accuracy": "score"}, stream)


def log_step(log: RunLog, step: int) -> None:
    losses = {name: torch.tensor(0.5) for name in ("loss_square", "accuracy", "total")}
    log.step(step, losses, torch.tensor(2.0), 1e-4, 3, 0.0, torch.tensor(0.0))


def test_a_registered_logger_gets_steps_validations_and_pictures(tmp_path, monkeypatch):
    log = run_log(tmp_path, monkeypatch, io.StringIO())
    log_step(log, 1)
    log.validation(1, {"val_loss": 0.25}, "")
    log.picture("training", np.zeros((2, 2, 3), np.uint8), 1)
    log.summary(1, {"val_loss": 0.25})
    log.close()
    (recorder,) = opened
    (step, values), validation = recorder.seen
    assert step == 1
    assert {name: values[name] for name in ("losses/total", "losses/loss_square", "scores/accuracy")} == {
        "losses/total": 0.5,
        "losses/loss_square": 0.5,
        "scores/accuracy": 0.5,
    }
    assert (values["grad_norm"], values["lr"]) == (2.0, 1e-4)
    assert values["timing/numbers_per_second"] == pytest.approx(3 / values["timing/step_seconds"])
    assert validation == (1, {"validation/loss": 0.25})
    assert recorder.final == (1, {"validation/loss": 0.25})
    assert recorder.pictures == [("training", 1)]
    assert recorder.closed


def test_a_logger_that_fails_is_named_once_and_the_run_continues(tmp_path, monkeypatch):
    stream = io.StringIO()
    log = run_log(tmp_path / "full", monkeypatch, stream)
    for step in (1, 2, 3):
        log_step(log, step)
    log.close()
    assert stream.getvalue().count("WARNING: recorder of") == 1
    assert len((tmp_path / "full" / "metrics.csv").read_text().splitlines()) == 4


def test_loggers_live_on_the_main_rank_only(tmp_path, monkeypatch):
    run_log(tmp_path, monkeypatch, io.StringIO(), rank=1).close()
    assert opened == []


def test_an_undeclared_value_is_refused_by_name(tmp_path, monkeypatch):
    log = run_log(tmp_path, monkeypatch, io.StringIO())
    with pytest.raises(ValueError, match=r"columns\(\) do not declare loss_new"):
        log.step(
            1,
            {"total": torch.tensor(0.5), "loss_new": torch.tensor(1.0)},
            torch.tensor(1.0),
            1e-4,
            1,
            0.0,
            torch.tensor(0.0),
        )
    log.close()
