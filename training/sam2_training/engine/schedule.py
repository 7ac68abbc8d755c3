"""The learning rate over the run: what a schedule is, and shapes that are a pure function of the step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
)

from sam2_training.engine.optimizer_config import SchedulerConfig

SHAPES = ("cosine", "linear", "constant")
"""Values of scheduler.type that are not classes of torch."""


class Schedule(ABC):
    """Sets the learning rates of an optimizer's groups before each step."""

    @abstractmethod
    def apply(self, step: int) -> float:
        """Sets the rates for optimizer step `step`, counted from 0; returns the one to show."""

    def after_step(self, steps_done: int) -> None:  # noqa: B027 - shapes depend on the step alone
        """Called after each optimizer step with the number of steps done."""

    def after_validation(self, values: Mapping[str, float]) -> None:  # noqa: B027 - as above
        """Called with the metrics of each validation of the run, those of the starting weights left out."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values for the checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - as above
        """Restores a `state_dict`."""


class ShapedSchedule(Schedule):
    """The factor on every group's own learning rate, from the first step (0) to the last (total_steps - 1).

    The schedule runs over step / total_steps: the last step comes within one step's change of scheduler.end_factor and
    does not reach it.
    """

    def __init__(
        self, config: SchedulerConfig, optimizer: torch.optim.Optimizer, total_steps: int, base_lr: float
    ) -> None:
        """base_lr: the rate that is shown at a factor of 1."""
        self.total_steps = total_steps
        self._optimizer, self._base_lr = optimizer, base_lr
        self._scheduler = _scheduler(config)

    def factor(self, step: int) -> float:
        """The factor on learning rates in optimizer step `step`, 0 <= step < total_steps."""
        if not 0 <= step < self.total_steps:
            raise ValueError(f"step {step} is outside the schedule's {self.total_steps} steps")
        return float(self._scheduler(step / self.total_steps))

    def apply(self, step: int) -> float:
        factor = self.factor(step)
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        return self._base_lr * factor


def _scheduler(config: SchedulerConfig) -> ParamScheduler:
    main = {
        "cosine": CosineParamScheduler(1.0, config.end_factor),
        "linear": LinearParamScheduler(1.0, config.end_factor),
        "constant": ConstantParamScheduler(1.0),
    }[config.type if config.enabled else "constant"]
    if config.warmup_fraction == 0:
        return main
    warmup = LinearParamScheduler(config.warmup_start_factor, 1.0)
    lengths = [config.warmup_fraction, 1.0 - config.warmup_fraction]
    return CompositeParamScheduler([warmup, main], lengths, ["rescaled", "rescaled"])
