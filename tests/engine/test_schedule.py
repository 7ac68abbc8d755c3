"""The learning rate over the run."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from sam2_training.engine.optimizer_config import SchedulerConfig
from sam2_training.engine.schedule import ShapedSchedule


def factors(config: SchedulerConfig, total: int = 100) -> list[float]:
    schedule = ShapedSchedule(config, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), total, 1.0)
    return [schedule.factor(step) for step in range(total)]


def test_cosine_starts_at_one_falls_and_comes_within_a_step_of_its_end():
    values = factors(SchedulerConfig(type="cosine", end_factor=0.1))
    assert values[0] == 1.0
    assert all(a > b for a, b in itertools.pairwise(values))
    assert values[50] == pytest.approx(0.55)
    assert values[-1] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 0.99)))


def test_linear_and_constant():
    assert factors(SchedulerConfig(type="linear", end_factor=0.5), 4) == [1.0, 0.875, 0.75, 0.625]
    assert set(factors(SchedulerConfig(type="constant"))) == {1.0}


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("total", [10, 97, 1000])
def test_warmup_rises_to_one_and_then_the_schedule_begins(kind, total):
    values = factors(SchedulerConfig(type=kind, end_factor=0.1, warmup_fraction=0.2, warmup_start_factor=0.01), total)
    peak = math.ceil(0.2 * total)
    assert values[0] == 0.01
    assert all(a < b for a, b in itertools.pairwise(values[:peak]))
    assert max(values) == pytest.approx(1.0, abs=5 / total)
    assert max(values) <= 1.0 + 1e-9
    after = values[peak:]
    assert all(a >= b for a, b in itertools.pairwise(after))
    assert kind == "constant" or values[-1] < 0.35


@pytest.mark.parametrize(
    ("settings", "start"), [({}, 0.01), *(({"warmup_start_factor": s}, s) for s in (0.0, 0.4, 1.0))]
)
def test_warmup_rises_linearly_from_its_start_factor(settings: dict[str, float], start: float) -> None:
    values = factors(SchedulerConfig(type="constant", warmup_fraction=0.2, **settings), 50)
    assert values[:11] == pytest.approx([start + (1 - start) * step / 10 for step in range(11)])


def test_one_step_is_a_schedule_too():
    for kind in ("cosine", "linear", "constant"):
        assert factors(SchedulerConfig(type=kind), 1) == [1.0]


def test_apply_scales_each_groups_own_rate_whatever_was_applied_before():
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [p], "lr": lr, "initial_lr": lr} for p, lr in zip(parameters, (1.0, 0.1), strict=True)]
    optimizer = torch.optim.SGD(groups)
    schedule = ShapedSchedule(SchedulerConfig(type="linear", end_factor=0.0), optimizer, 10, base_lr=2.0)
    schedule.apply(9)
    assert schedule.apply(5) == 1.0  # what is shown: half of base_lr
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.05]


def test_a_step_outside_the_run_is_refused():
    schedule = ShapedSchedule(SchedulerConfig(), torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), 10, 1.0)
    for step in (-1, 10):
        with pytest.raises(ValueError, match="outside"):
            schedule.factor(step)
