"""The learning rate by a class of torch.optim.lr_scheduler, stepped as Lightning steps it; exact across a resume."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import lr_scheduler

from sam2_training.core.errors import ConfigError
from sam2_training.engine.config import RunConfig, mode_of
from sam2_training.engine.optimizer import option_problems
from sam2_training.engine.plan import RunPlan
from sam2_training.engine.schedule import SHAPES, Schedule, ShapedSchedule

NEEDS_CODE = {
    "LambdaLR": "a function",
    "MultiplicativeLR": "a function",
    "SequentialLR": "other schedulers",
    "ChainedScheduler": "other schedulers",
    "LRScheduler": "a class derived from it",
}
"""Classes that a configuration cannot describe, with what they take."""
PER_STEP = ("OneCycleLR", "CyclicLR")
"""Classes that Lightning's users, and torch's documentation, step after every batch."""
ARGUMENTS = ("T_max", "eta_min", "step_size", "gamma", "mode", "factor", "patience", "threshold", "threshold_mode")
"""Arguments that have a key of their own in the scheduler section."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "CosineAnnealingLR": {"T_max": 10, "eta_min": 1e-6},
    "StepLR": {"step_size": 5, "gamma": 0.1},
    "MultiStepLR": {"gamma": 0.1},
    "ExponentialLR": {"gamma": 0.1},
    "ReduceLROnPlateau": {"factor": 0.5, "patience": 5, "threshold": 1e-3, "threshold_mode": "rel"},
}
"""Values of arguments that the configuration leaves out, as the scheduler section documents them."""


def build_schedule(config: RunConfig, optimizer: torch.optim.Optimizer, plan: RunPlan, validates: bool) -> Schedule:
    """The schedule that the configuration asks for. validates: whether the run has a validation set.

    Raises ConfigError for an unknown class, one that a configuration cannot describe, and arguments it does not take.
    """
    scheduler = config.scheduler
    if scheduler.type in SHAPES or not scheduler.enabled:
        return ShapedSchedule(scheduler, optimizer, plan.total_steps, config.optimizer.lr)
    if scheduler.type == "ReduceLROnPlateau" and not validates:
        raise ConfigError(
            f"scheduler.type=ReduceLROnPlateau follows a validation, but nothing is validated: "
            f"{config.how_to_validate() or 'leave trainer.limit_val_batches above 0'}"
        )
    return TorchSchedule(config, optimizer, plan)


class TorchSchedule(Schedule):
    """Drives one of torch's schedulers: after every step, every epoch, or every validation.

    A warm-up comes before it: until it is over, rates are a factor of the scheduler's first ones, and the scheduler is
    not stepped.
    """

    def __init__(self, config: RunConfig, optimizer: torch.optim.Optimizer, plan: RunPlan) -> None:
        self.config, self.plan = config.scheduler, plan
        self.warmup_steps = math.ceil(self.config.warmup_fraction * plan.total_steps)
        self.monitor = self.config.monitor or next(iter(config.checkpoint.monitor), "val_loss")
        self._optimizer = optimizer
        cls = _scheduler_class(self.config.type)
        try:
            self._scheduler: Any = cls(optimizer, **self._arguments(cls, config))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"torch.optim.lr_scheduler.{self.config.type} refuses its arguments: {error}") from error
        self._first_rates = [group["lr"] for group in optimizer.param_groups]
        self._per_step = (self.config.interval or ("step" if self.config.type in PER_STEP else "epoch")) == "step"

    @property
    def follows_validation(self) -> bool:
        """Whether validations step it."""
        return isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau)

    def apply(self, step: int) -> float:
        if step <= self.warmup_steps and self.warmup_steps:
            start = self.config.warmup_start_factor
            factor = start + (1 - start) * step / self.warmup_steps
            for group, rate in zip(self._optimizer.param_groups, self._first_rates, strict=True):
                group["lr"] = rate * factor if step < self.warmup_steps else rate
        return max(float(group["lr"]) for group in self._optimizer.param_groups)

    def after_step(self, steps_done: int) -> None:
        if self.follows_validation or steps_done <= self.warmup_steps:
            return
        if not self._per_step and steps_done % self.plan.steps_per_epoch:
            return
        is_over = isinstance(self._scheduler, lr_scheduler.OneCycleLR) and steps_done >= self.plan.total_steps
        if not is_over:  # a cycle has no value after its last step
            self._scheduler.step()

    def after_validation(self, values: Mapping[str, float]) -> None:
        if not self.follows_validation:
            return
        if self.monitor not in values:
            raise ConfigError(f"scheduler.monitor={self.monitor} is not measured; there are {', '.join(values)}")
        self._scheduler.step(values[self.monitor])

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state, and what it changes in the optimizer's groups: rates, and momentum for some."""
        groups = [
            {key: value for key, value in group.items() if key not in ("params", "names")}
            for group in self._optimizer.param_groups
        ]
        return {"type": self.config.type, "scheduler": self._scheduler.state_dict(), "groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a `state_dict`; that of another class is left alone: the schedule starts anew."""
        if state.get("type") != self.config.type:
            return
        self._scheduler.load_state_dict(state["scheduler"])
        for group, saved in zip(self._optimizer.param_groups, state["groups"], strict=True):
            group.update(saved)

    def _arguments(self, cls: type, config: RunConfig) -> dict[str, Any]:
        """What the class is called with besides the optimizer. Raises ConfigError."""
        scheduler, accepted = self.config, list(inspect.signature(cls).parameters)
        given = {name: getattr(scheduler, name) for name in ARGUMENTS if getattr(scheduler, name) is not None}
        problems = [
            f"scheduler.{name}: torch.optim.lr_scheduler.{scheduler.type} takes no {name}; leave it out"
            for name in given
            if name not in accepted and not _is_default(name, given[name])
        ]
        own = ("optimizer", "last_epoch", *ARGUMENTS)
        problems += option_problems("scheduler", scheduler.type, scheduler.options, accepted, own)
        if problems:
            raise ConfigError(problems)
        given = {name: value for name, value in given.items() if name in accepted}
        arguments = DEFAULTS.get(scheduler.type, {}) | given | scheduler.options
        if scheduler.type == "ReduceLROnPlateau":
            arguments.setdefault("mode", mode_of(self.monitor, config.checkpoint.mode))
        if scheduler.type == "OneCycleLR":
            arguments.setdefault("max_lr", [group["initial_lr"] for group in self._optimizer.param_groups])
            if not {"total_steps", "epochs", "steps_per_epoch"} & arguments.keys():
                arguments["total_steps"] = max(1, self.plan.total_steps - self.warmup_steps)
        return arguments


def _is_default(name: str, value: Any) -> bool:
    """Whether an argument is written with its documented value: so it may stand beside classes that do not take it."""
    return any(arguments.get(name) == value for arguments in DEFAULTS.values())


def _scheduler_class(name: str) -> Any:
    classes = {
        key: value
        for key, value in vars(lr_scheduler).items()
        if isinstance(value, type) and issubclass(value, lr_scheduler.LRScheduler) and not key.startswith("_")
    }
    usable = [key for key in classes if key not in NEEDS_CODE]
    if name in NEEDS_CODE:
        raise ConfigError(
            f"scheduler.type={name} takes {NEEDS_CODE[name]}, which a configuration cannot hold; there are "
            f"{', '.join((*SHAPES, *usable))}"
        )
    if name not in classes:
        close = difflib.get_close_matches(name, (*SHAPES, *usable), n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ConfigError(
            f"scheduler.type={name!r} is neither a shape nor in torch.optim.lr_scheduler; {hint}there are "
            f"{', '.join((*SHAPES, *usable))}"
        )
    return classes[name]
