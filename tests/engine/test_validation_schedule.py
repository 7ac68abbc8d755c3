"""When a run validates, and what its state says after a resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from training.core.config import TrainConfig
from training.core.config_run import TrainerConfig
from training.core.distributed import Ranks
from training.engine.order import Order
from training.engine.precision import Precision
from training.engine.validation import Validator


def validator(folder: Path, total_steps: int = 40, per_epoch: int = 10, **trainer: Any) -> Validator:
    config = replace(TrainConfig(), trainer=TrainerConfig(**trainer))
    order = Order(seed=1, num_samples=per_epoch, global_batch=1, world_size=1)
    nothing: Any = None  # `due` asks the order and the configuration only
    return Validator(nothing, config, order, total_steps, Precision("32", torch.device("cpu")), Ranks(), folder)


def due_steps(made: Validator) -> list[int]:
    return [step for step in range(made.total_steps + 1) if made.due(step)]


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
    tmp_path: Path, trainer: dict[str, Any], expected: list[int]
) -> None:
    assert due_steps(validator(tmp_path, **trainer)) == expected


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
