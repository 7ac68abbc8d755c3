"""The learning rate over the run: a pure function of the step, so there is nothing to save."""

from __future__ import annotations

import torch
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
)

from sam2_training.engine.config import SchedulerConfig


class Schedule:
    """The factor on every group's own learning rate, from the first step (0) to the last (total_steps - 1).

    The schedule runs over step / total_steps: the last step comes within one step's change of scheduler.end_factor and
    does not reach it.
    """

    def __init__(self, config: SchedulerConfig, total_steps: int) -> None:
        self.total_steps = total_steps
        self._scheduler = _scheduler(config)

    def factor(self, step: int) -> float:
        """The factor on learning rates in optimizer step `step`, 0 <= step < total_steps."""
        if not 0 <= step < self.total_steps:
            raise ValueError(f"step {step} is outside the schedule's {self.total_steps} steps")
        return float(self._scheduler(step / self.total_steps))

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        """Sets the learning rates for optimizer step `step`; returns the factor."""
        factor = self.factor(step)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        return factor


def _scheduler(config: SchedulerConfig) -> ParamScheduler:
    main = {
        "cosine": CosineParamScheduler(1.0, config.end_factor),
        "linear": LinearParamScheduler(1.0, config.end_factor),
        "constant": ConstantParamScheduler(1.0),
    }[config.type]
    if config.warmup_fraction == 0:
        return main
    warmup = LinearParamScheduler(config.warmup_start_factor, 1.0)
    lengths = [config.warmup_fraction, 1.0 - config.warmup_fraction]
    return CompositeParamScheduler([warmup, main], lengths, ["rescaled", "rescaled"])
