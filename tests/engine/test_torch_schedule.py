"""Schedules by torch's class names: stepped when Lightning steps them, checked against their signatures, resumable."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from sam2_training.core.errors import ConfigError
from sam2_training.engine.config import CheckpointConfig, RunConfig, TrainerConfig
from sam2_training.engine.optimizer_config import OptimizerConfig, SchedulerConfig
from sam2_training.engine.plan import Order, RunPlan
from sam2_training.engine.schedule import Schedule
from sam2_training.engine.torch_schedule import build_schedule
from torch.optim import lr_scheduler

EPOCHS, STEPS_PER_EPOCH = 12, 3
TOTAL = EPOCHS * STEPS_PER_EPOCH
RATES = (1.0, 0.1)
"""Of the two groups."""


def optimizer_of(cls: Any = torch.optim.AdamW) -> torch.optim.Optimizer:
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(1))], "names": [f"p{i}"], "lr": lr, "initial_lr": lr}
        for i, lr in enumerate(RATES)
    ]
    optimizer: torch.optim.Optimizer = cls(groups)
    return optimizer


def schedule_of(
    optimizer: torch.optim.Optimizer, validates: bool = True, monitor: tuple[str, ...] = ("val_loss",), **settings: Any
) -> Schedule:
    config = RunConfig(
        scheduler=SchedulerConfig(**settings),
        optimizer=OptimizerConfig(lr=RATES[0]),
        trainer=TrainerConfig(max_epochs=EPOCHS),
        checkpoint=CheckpointConfig(monitor=monitor),
    )
    plan = RunPlan(config, Order(0, STEPS_PER_EPOCH, 1, 1))
    return build_schedule(config, optimizer, plan, validates)


def rates(optimizer: torch.optim.Optimizer, schedule: Schedule, first: int = 0, stop: int = TOTAL) -> list[list[float]]:
    """The rates of both groups in each step; every epoch ends with a validation."""
    found = []
    for step in range(first, stop):
        schedule.apply(step)
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.after_step(step + 1)
        if (step + 1) % STEPS_PER_EPOCH == 0:
            schedule.after_validation({"val_loss": 1.0 if step < TOTAL / 2 else 2.0, "other": 0.0})
    return found


def by_epoch(values: list[list[float]], group: int = 0) -> list[float]:
    """One rate an epoch; they must not change within one."""
    epochs = [values[i : i + STEPS_PER_EPOCH] for i in range(0, len(values), STEPS_PER_EPOCH)]
    assert all(epoch == [epoch[0]] * STEPS_PER_EPOCH for epoch in epochs)
    return [epoch[0][group] for epoch in epochs]


def test_step_lr_falls_to_a_tenth_every_five_epochs() -> None:
    optimizer = optimizer_of()
    values = rates(optimizer, schedule_of(optimizer, type="StepLR"))
    assert by_epoch(values) == pytest.approx([1.0] * 5 + [0.1] * 5 + [0.01] * 2)
    assert by_epoch(values, group=1) == pytest.approx([0.1] * 5 + [0.01] * 5 + [0.001] * 2)


def test_cosine_annealing_takes_ten_epochs_down_to_eta_min_and_comes_back() -> None:
    optimizer = optimizer_of()
    values = by_epoch(rates(optimizer, schedule_of(optimizer, type="CosineAnnealingLR")))
    assert values[0] == 1.0
    assert values[5] == pytest.approx((1 + 1e-6) / 2)
    assert values[10] == pytest.approx(1e-6)
    assert values[11] == pytest.approx(1e-6 + (1 - 1e-6) * 0.02447, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"type": "StepLR", "step_size": 2, "gamma": 0.5}, {"step_size": 2, "gamma": 0.5}),
        ({"type": "CosineAnnealingLR", "T_max": 4, "eta_min": 0.01}, {"T_max": 4, "eta_min": 0.01}),
        ({"type": "ExponentialLR", "gamma": 0.7}, {"gamma": 0.7}),
        ({"type": "PolynomialLR", "options": {"total_iters": 9, "power": 2.0}}, {"total_iters": 9, "power": 2.0}),
        ({"type": "MultiStepLR", "options": {"milestones": [2, 5]}}, {"milestones": [2, 5], "gamma": 0.1}),
    ],
)
@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_rates_are_those_of_torchs_own_class(
    settings: dict[str, Any], arguments: dict[str, Any], interval: str
) -> None:
    ours, plain = optimizer_of(), optimizer_of()
    scheduler = getattr(lr_scheduler, settings["type"])(plain, **arguments)
    expected = []
    for step in range(TOTAL):
        expected.append([group["lr"] for group in plain.param_groups])
        plain.step()
        if interval == "step" or (step + 1) % STEPS_PER_EPOCH == 0:
            scheduler.step()
    assert rates(ours, schedule_of(ours, interval=interval, **settings)) == expected


def test_one_cycle_spans_the_run_step_by_step_and_peaks_at_each_groups_own_rate() -> None:
    ours, plain = optimizer_of(), optimizer_of()
    scheduler = lr_scheduler.OneCycleLR(plain, max_lr=list(RATES), total_steps=TOTAL)
    expected, momenta = [], []
    for step in range(TOTAL):
        expected.append([group["lr"] for group in plain.param_groups])
        momenta.append(plain.param_groups[0]["betas"][0])
        plain.step()
        if step + 1 < TOTAL:
            scheduler.step()
    values = rates(ours, schedule_of(ours, type="OneCycleLR"))
    assert values == expected
    assert max(value[1] for value in values) == pytest.approx(RATES[1], rel=0.05)
    assert ours.param_groups[0]["betas"][0] == momenta[-1] != momenta[TOTAL // 3]


def test_on_a_plateau_the_rate_falls_after_patience_validations() -> None:
    optimizer = optimizer_of()
    values = by_epoch(rates(optimizer, schedule_of(optimizer, type="ReduceLROnPlateau", patience=2)))
    # The first validation is the best; the 4th is the third without improvement.
    assert values == [1.0] * 4 + [0.5] * 3 + [0.25] * 3 + [0.125] * 2


def test_the_plateau_follows_its_monitor_and_its_mode() -> None:
    optimizer = optimizer_of()
    schedule = schedule_of(
        optimizer, type="ReduceLROnPlateau", patience=0, monitor=("val_j_and_f",), mode="max", factor=0.1
    )
    for value, expected in ((0.2, 1.0), (0.4, 1.0), (0.3, 0.1)):
        schedule.after_validation({"val_j_and_f": value, "val_loss": -value})
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
    with pytest.raises(ConfigError, match=r"scheduler\.monitor=val_j_and_f is not measured; there are val_loss"):
        schedule.after_validation({"val_loss": 1.0})


@pytest.mark.parametrize("kind", ["StepLR", "OneCycleLR", "ReduceLROnPlateau"])
def test_a_warm_up_comes_before_any(kind: str) -> None:
    optimizer, alone = optimizer_of(), optimizer_of()
    settings = {"warmup_fraction": 0.25, "warmup_start_factor": 0.1}  # 9 steps: 3 epochs
    values = rates(optimizer, schedule_of(optimizer, type=kind, **settings))
    first = values[9][0]
    assert [value[0] for value in values[:9]] == pytest.approx([first * (0.1 + 0.9 * step / 9) for step in range(9)])
    if kind == "StepLR":
        assert values[9:] == rates(alone, schedule_of(alone, type=kind))[: TOTAL - 9]


@pytest.mark.parametrize("cut", [1, 8, 9, 10, 17, 35])
@pytest.mark.parametrize(
    "settings",
    [
        {"type": "CosineAnnealingLR", "T_max": 5},
        {"type": "OneCycleLR", "warmup_fraction": 0.25},
        {"type": "CyclicLR", "options": {"base_lr": 0.01, "max_lr": 0.5, "cycle_momentum": False}},
        {"type": "ReduceLROnPlateau", "patience": 1},
    ],
)
def test_r02_a_schedule_continues_with_the_same_bits(settings: dict[str, Any], cut: int) -> None:
    optimizer = optimizer_of()
    whole = rates(optimizer, schedule_of(optimizer, **settings))
    first, second = optimizer_of(), optimizer_of()
    schedule = schedule_of(first, **settings)
    before = rates(first, schedule, stop=cut)
    file = io.BytesIO()
    torch.save(schedule.state_dict(), file)
    file.seek(0)
    resumed = schedule_of(second, **settings)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert before + rates(second, resumed, first=cut) == whole
    assert {k: v for k, v in first.param_groups[0].items() if k == "betas"}  # an optimizer with momentum was used


def test_switched_off_the_rates_stay() -> None:
    optimizer = optimizer_of()
    assert rates(optimizer, schedule_of(optimizer, type="StepLR", enabled=False)) == [list(RATES)] * TOTAL


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "StepLr"}, "did you mean StepLR"),
        ({"type": "LambdaLR"}, "takes a function, which a configuration cannot hold"),
        ({"type": "SequentialLR"}, "takes other schedulers"),
        ({"type": "StepLR", "T_max": 3}, "scheduler.T_max: .* takes no T_max; leave it out"),
        ({"type": "StepLR", "options": {"gama": 3}}, "StepLR takes no gama"),
        ({"type": "StepLR", "options": {"gamma": 3}}, "has a key of its own"),
        ({"type": "PolynomialLR", "options": {"powr": 3}}, "did you mean power"),
        ({"type": "CyclicLR"}, "refuses its arguments: .*base_lr"),
        ({"type": "ReduceLROnPlateau", "validates": False}, "nothing is validated"),
    ],
)
def test_what_cannot_work_is_a_config_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        schedule_of(optimizer_of(), **settings)
