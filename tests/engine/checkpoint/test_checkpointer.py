"""When a run saves by time, and how many failed saves it survives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sam2_training.core.errors import CheckpointError
from sam2_training.core.ranks import Ranks
from sam2_training.engine.checkpoint import checkpointer
from sam2_training.engine.checkpoint.checkpointer import Checkpointer
from sam2_training.engine.checkpoint.state import TrainState
from sam2_training.engine.checkpoint.store import SaveFailed
from sam2_training.engine.config import CheckpointConfig, LauncherConfig, LoadedConfig, RunConfig
from sam2_training.engine.plan import Order, RunPlan
from sam2_training.engine.weights import RunWeights
from torch import nn

STEPS_PER_EPOCH = 1000


def config(folder: Path, **settings: Any) -> RunConfig:
    launcher = LauncherConfig(experiment_log_dir=str(folder))
    return RunConfig(checkpoint=CheckpointConfig(**settings), launcher=launcher)


def checkpointer_of(made: RunConfig) -> Checkpointer:
    return Checkpointer(LoadedConfig(made, "demo/demo", ""), Ranks())


def weights() -> RunWeights[nn.Module]:
    return RunWeights(nn.Linear(1, 1), lambda model: {"model": model.state_dict()})


def save(made: Checkpointer, step: int, is_last: bool = False) -> None:
    made.save(TrainState({}, {}, 1, 1, 1, step), weights(), {}, is_last)


@pytest.mark.parametrize(("settings", "minutes"), [({}, 10.0), ({"every_n_minutes": 2.5}, 2.5)])
def test_the_state_is_saved_when_so_many_minutes_have_passed_since_the_last_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, float], minutes: float
) -> None:
    now = [1000.0]
    monkeypatch.setattr(checkpointer.time, "monotonic", lambda: now[0])
    asked = config(tmp_path, **settings)
    made, plan = checkpointer_of(asked), RunPlan(asked, Order(0, STEPS_PER_EPOCH, 1, 1))
    now[0] += 60 * minutes - 1
    assert not made.should_save(7, plan)
    now[0] += 1
    assert made.should_save(7, plan)
    save(made, 7)
    assert not made.should_save(8, plan)
    now[0] += 60 * minutes
    assert made.should_save(8, plan)
    made.restore(weights(), {})
    assert not made.should_save(8, plan), "the time before the first step does not count"


def test_time_saves_nothing_where_it_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(checkpointer.time, "monotonic", lambda: now[0])
    asked = config(tmp_path, every_n_minutes=None)
    made, plan = checkpointer_of(asked), RunPlan(asked, Order(0, STEPS_PER_EPOCH, 1, 1))
    now[0] = 1e9
    assert not made.should_save(7, plan)
    assert made.should_save(STEPS_PER_EPOCH, plan)


@pytest.mark.parametrize(("settings", "allowed"), [({}, 3), ({"max_failed_saves": 1}, 1), ({"max_failed_saves": 2}, 2)])
def test_so_many_failed_saves_in_a_row_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], allowed: int
) -> None:
    made = checkpointer_of(config(tmp_path, **settings))

    def fail(*_: object) -> Path:
        raise SaveFailed("no space left")

    for step in (1, 10):
        with monkeypatch.context() as patch:
            patch.setattr(made.store, "save", fail)
            for number in range(1, allowed):
                save(made, step + number)
        save(made, step + allowed)  # a save that succeeds ends the row
    monkeypatch.setattr(made.store, "save", fail)
    for number in range(1, allowed):
        save(made, 20 + number)
    with pytest.raises(CheckpointError, match=rf"^{allowed} save\(s\) in a row failed, the last one: no space left"):
        save(made, 20 + allowed)


def test_the_last_save_must_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = checkpointer_of(config(tmp_path, max_failed_saves=100))

    def fail(*_: object) -> Path:
        raise SaveFailed("no space left")

    monkeypatch.setattr(made.store, "save", fail)
    save(made, 1)
    with pytest.raises(CheckpointError, match=r"^2 save\(s\) in a row failed"):
        save(made, 2, is_last=True)
