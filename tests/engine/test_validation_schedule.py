"""When a run validates, and what its state says after a resume."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sam2_training.core import progress
from sam2_training.core.ranks import Ranks
from sam2_training.engine.config import RunConfig, TrainerConfig
from sam2_training.engine.plan import Order, RunPlan
from sam2_training.engine.precision import Precision
from sam2_training.engine.preemption import StopRequest
from sam2_training.engine.task import Validation
from sam2_training.engine.validation import Validator
from sam2_training.engine.weights import RunWeights
from torch import nn

WEIGHTS: RunWeights[nn.Module] = RunWeights(nn.Linear(1, 1), lambda model: {"model": model.state_dict()})


def plan(total_steps: int = 40, per_epoch: int = 10, **trainer: Any) -> RunPlan:
    order = Order(seed=1, num_samples=per_epoch, global_batch=1, world_size=1)
    return RunPlan(RunConfig(trainer=TrainerConfig(max_steps=total_steps, **trainer)), order)


class NamedMeasure(Validation[nn.Module]):
    """A validation of which only the fingerprint matters."""

    def __init__(self, name: str) -> None:
        self.name, self.asides = name, list[int]()

    def fingerprint(self) -> str:
        return self.name

    def set_aside(self, step: int) -> None:
        self.asides.append(step)


def validator(folder: Path, measure: str = "", **trainer: Any) -> Validator[nn.Module]:
    validation: Any = NamedMeasure(measure)
    return Validator(validation, plan(**trainer), Precision("32", torch.device("cpu")), Ranks(), folder)


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({}, [0, 10, 20, 30, 40]),
        ({"val_check_interval": 0.5}, [0, 5, 10, 15, 20, 25, 30, 35, 40]),
        ({"val_check_interval": 0.4}, [0, 4, 8, 14, 18, 24, 28, 34, 38, 40]),
        ({"val_check_interval": 15}, [0, 15, 30, 40]),
        ({"check_val_every_n_epoch": 3}, [0, 30, 40]),
        ({"validate_initial_weights": False}, [10, 20, 30, 40]),
        ({"val_check_interval": 1000}, [0, 40]),
        ({"val_check_interval": 0.001}, list(range(41))),
    ],
    ids=str,
)
def test_it_validates_at_fractions_of_an_epoch_or_every_so_many_steps(
    trainer: dict[str, Any], expected: list[int]
) -> None:
    made = plan(**trainer)
    assert [step for step in range(made.total_steps + 1) if made.validates_at(step)] == expected


def test_a_validation_is_pending_until_its_numbers_are_there(tmp_path: Path) -> None:
    made = validator(tmp_path)
    assert made.pending(10)
    made.history.append({"step": 10, "val_j_and_f": 0.5})
    assert not made.pending(10)
    assert not made.pending(11)
    continued = validator(tmp_path)
    continued.load_state_dict(made.state_dict())
    assert not continued.pending(10)
    assert continued.state_dict() == made.state_dict()


def test_steps_of_an_epoch_can_be_limited() -> None:
    def order(limit: float | int) -> Order:
        return Order(seed=1, num_samples=10, global_batch=2, world_size=1, limit=limit)

    assert [order(limit).steps_per_epoch for limit in (1.0, 0.5, 2, 99, 0.01)] == [5, 2, 2, 5, 1]
    limited, whole = order(2), order(1.0)
    assert [limited.keys(step, 0) for step in range(2)] == [whole.keys(step, 0) for step in range(2)]
    assert limited.epoch_of(2) == (1, 0)
    assert [key.index for key in limited.keys(2, 0)] == [key.index for key in whole.keys(5, 0)]


class Watched:
    """Stands for a task's validation of 8 frames and for the log that hears of it."""

    unit = "frames"

    def __init__(self) -> None:
        self.said: list[str] = []
        self.lives = 0
        self.checked: list[int] = []
        self.standings: list[str] = []
        self.kept = 0
        self.loss = 1.0

    def num_units(self, count: int | None = None) -> int:
        return 8 if count is None else count

    def measure(self, model: Any, step: int, precision: Any, heartbeat: Any) -> dict[str, float]:
        for _ in range(9):  # clips of the loss call it, too
            heartbeat()
        return {"val_loss": self.loss}

    def sanity_check(self, model: Any, count: int, precision: Any, heartbeat: Any) -> str:
        self.checked.append(count)
        return f"{count} of 8 frames were readable"

    def message(self, text: str) -> None:
        self.said.append(text)

    def beat(self, step: int) -> None:
        self.lives += 1

    def validation(self, step: int, values: dict[str, float], standing: str) -> None:
        self.standings.append(standing)

    def keep_as_best(self) -> None:
        self.kept += 1


def test_a_long_validation_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, watched = validator(tmp_path), Watched()
    made.validation = watched  # type: ignore[assignment]
    made.run(WEIGHTS, 0, watched, StopRequest())  # type: ignore[arg-type]
    assert watched.said == []  # nothing to say within ten seconds
    assert watched.lives == 9
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    made.run(WEIGHTS, 0, watched, StopRequest())  # type: ignore[arg-type]
    assert [line.split(" frames")[0] for line in watched.said] == [
        f"validating after step 0: {done} of 8" for done in range(1, 9)
    ]  # and no ninth line, although the losses give one more heartbeat
    assert watched.said[-1].endswith("0:00 left")


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({"validate_initial_weights": False}, [2]),
        ({"validate_initial_weights": False, "num_sanity_val_steps": 5}, [5]),
        ({"validate_initial_weights": False, "num_sanity_val_steps": -1}, [sys.maxsize]),
        ({"validate_initial_weights": False, "num_sanity_val_steps": 0}, []),
        ({"num_sanity_val_steps": 5}, []),
    ],
    ids=str,
)
def test_a_sanity_check_takes_so_many_items_unless_all_are_measured_anyway(
    tmp_path: Path, trainer: dict[str, Any], expected: list[int]
) -> None:
    made, watched = validator(tmp_path, **trainer), Watched()
    made.validation = watched  # type: ignore[assignment]
    made.sanity_check(torch.nn.Linear(1, 1), watched, StopRequest())  # type: ignore[arg-type]
    assert watched.checked == expected
    assert watched.said == [
        f"sanity check (trainer.num_sanity_val_steps={trainer.get('num_sanity_val_steps', 2)}): {n} of 8 frames were "
        "readable"
        for n in expected
    ]


def losses_in_turn(folder: Path, *losses: float) -> tuple[Validator[nn.Module], Watched]:
    """A run whose validations give these losses, the first of them that of the starting weights."""
    made, watched = validator(folder), Watched()
    made.validation = watched  # type: ignore[assignment]
    for step, watched.loss in enumerate(losses):
        made.run(WEIGHTS, 10 * step, watched, StopRequest())  # type: ignore[arg-type]
    return made, watched


def test_starting_weights_that_no_validation_beats_stay_the_best(tmp_path: Path) -> None:
    made, watched = losses_in_turn(tmp_path, 0.017, 0.082, 0.05)
    assert made.best_step == 0
    kept = torch.load(tmp_path / "checkpoints" / "best_val_loss.pt", weights_only=True)
    assert (kept["step"], kept["value"]) == (0, 0.017)
    assert watched.standings == ["the starting weights", *["the starting weights have the best val_loss"] * 2]
    assert watched.kept == 0, "the newest masks are not those of the best weights"
    assert made.early_stopping.best is None


def test_better_weights_take_the_place_of_the_starting_ones(tmp_path: Path) -> None:
    made, watched = losses_in_turn(tmp_path, 0.5, 0.4, 0.45)
    assert made.best_step == 10
    assert torch.load(tmp_path / "checkpoints" / "best_val_loss.pt", weights_only=True)["step"] == 10
    assert watched.standings == ["the starting weights", "best val_loss", ""]
    assert watched.kept == 1


def test_numbers_of_another_measure_do_not_compete_with_those_of_this_one(tmp_path: Path) -> None:
    made = validator(tmp_path, "masks as prompts")
    made.history.append({"step": 10, "val_j_and_f": 0.9})
    made.best.ranking = {metric: [(0.9, 10)] for metric in made.best.ranking}
    made.early_stopping.best, made.early_stopping.waited = 0.9, 2
    assert made.best.ranking
    for measure, kept in (("masks as prompts", True), ("clicks as prompts", False)):
        continued = validator(tmp_path, measure)
        continued.load_state_dict(made.state_dict())
        assert bool(continued.history) == kept
        assert any(continued.best.ranking.values()) == kept
        assert continued.early_stopping.waited == (2 if kept else 0)
        assert continued.pending(10) == (not kept)
        lines, validation = continued.begin(10), continued.validation
        assert isinstance(validation, NamedMeasure)
        assert (len(lines), validation.asides) == ((0, []) if kept else (1, [10]))
    earlier = {name: value for name, value in made.state_dict().items() if name != "fingerprint"}
    continued.load_state_dict(earlier)
    assert continued.history, "a checkpoint of an earlier version does not say what it measured"
