"""The section trainer: the loop, under Lightning's names where Lightning has one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sam2_training.core.settings import setting

DEFAULT_NONFINITE_BUDGET = 10
_ACCELERATORS = {"gpu": "cuda"}
_PRECISIONS = {"32-true": "32", "bf16": "bf16-mixed", "16": "16-mixed"}


def accelerator_name(value: Any) -> Any:
    """cuda for Lightning's gpu."""
    return _ACCELERATORS.get(value, value) if isinstance(value, str) else value


def precision_name(value: Any) -> Any:
    """The name of a precision in Lightning's other spellings, such as 16-mixed for 16."""
    return _PRECISIONS.get(str(value), value)


def no_bound(value: Any) -> Any:
    """null for 0, by which Lightning means that there is none."""
    return None if value == 0 and not isinstance(value, bool) else value


@dataclass(frozen=True)
class TrainerConfig:
    """The loop."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto", free=True, read=accelerator_name, aliases=("model.device",)
    )
    """Where to train; auto: on a GPU if there is one. gpu means cuda; mps is the GPU of a Mac, in one process."""
    cpu_fallback: bool = setting(False, free=True)
    """On a machine without a GPU take accelerator=cpu in place of cuda, and precision=auto in place of 16-mixed, with
    a warning; false: that is an error."""
    precision: Literal["auto", "32", "bf16-mixed", "16-mixed"] = setting("auto", read=precision_name)
    """Autocast type; auto: bf16-mixed on a GPU, 32 on a CPU. 16-mixed (GPU only) adds a gradient scaler. Lightning's
    32-true, bf16 and 16 mean 32, bf16-mixed and 16-mixed."""
    gradient_clip_val: float | None = setting(0.1, above=0, read=no_bound)
    """Largest L2 norm of the gradient; null or 0: no clipping."""
    ema_decay: float | None = setting(None, above=0, below=1)
    """Average the weights that learn: after every step, average = d * average + (1 - d) * weights, in float32, with d
    rising to this (such as 0.999) as (1 + step) / (10 + step). The average is validated, and is what checkpoint.pt,
    best_*.pt and exports hold; training goes on with the weights themselves. null: no average."""
    accumulate_grad_batches: int = setting(1, at_least=1, free=True)
    """Batches per optimizer step. The loss is normalized over all of them, so 4 batches of 1 equal 1 batch of 4."""
    max_epochs: int = setting(10, at_least=-1, aliases=("scratch.num_epochs",))
    """Passes over the training data; -1: as many as max_steps takes."""
    max_steps: int | None = setting(None, at_least=1)
    """Stop after this many optimizer steps; the schedule then spans them. null: max_epochs decides."""
    log_every_n_steps: int = setting(10, at_least=1, free=True)
    """Log every n steps; losses stay on the device in between."""
    enable_progress_bar: bool = setting(True, free=True)
    """A progress bar on a terminal; elsewhere plain lines appear every log_every_n_steps anyway."""
    enable_checkpointing: bool = setting(True, free=True)
    """Save states and best weights; false: write none at all, so the run cannot continue and leaves no weights."""
    logger: bool = setting(True, free=True)
    """Log to TensorBoard and the like; false: to none of them. metrics.csv, the run's own record, is always written."""
    collective_timeout_minutes: float = setting(10.0, above=0, free=True, unit="minutes")
    """A rank that waits longer than this for the others ends the run with exit code 5. While they still read the
    dataset or validate, it counts from their last heartbeat."""
    on_nonfinite: Literal["stop", "skip"] = setting("stop", free=True)
    """When a loss or gradient is not finite: stop: end the run with exit code 3; skip: leave that step out."""
    nonfinite_budget: int = setting(DEFAULT_NONFINITE_BUDGET, at_least=1, free=True)
    """With on_nonfinite=skip: steps of the whole run that may be left out; one more ends it with exit code 3."""
    deterministic: bool = False
    """Ask torch for deterministic kernels only (GPU: slower). On CPU results are bitwise reproducible anyway."""
    val_check_interval: float | int = setting(1.0, free=True)
    """When to validate: a fraction of an epoch (1.0: at its end), or, as a whole number n, every n batches (of a
    process; a step takes accumulate_grad_batches of them)."""
    check_val_every_n_epoch: int = setting(1, at_least=1, free=True)
    """With val_check_interval as a fraction: validate every n epochs only."""
    limit_val_batches: float | int = setting(1.0, free=True)
    """How much of the validation set a validation takes: a fraction, or a number of its items; 0: no validation."""
    num_sanity_val_steps: int = setting(2, at_least=-1, free=True)
    """Items of the validation set that a fresh start evaluates first, unless it evaluates all of them anyway; -1: all
    of them."""
    limit_train_batches: float | int = 1.0
    """How much of an epoch is trained on: a fraction, or a number of batches (of a process; rounded up to whole steps
    of accumulate_grad_batches); 0: train nothing, validate only."""
    early_stopping_patience: int | None = setting(None, at_least=1, free=True)
    """Validations in a row without improvement after which the run ends, by early_stopping.monitor, or, if that is
    null, by the first of checkpoint.monitor; null: as the section early_stopping says."""
    validate_initial_weights: bool = setting(True, free=True)
    """Evaluate the starting weights, so that the result can be compared with them."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        if self.precision == "16-mixed" and self.accelerator == "cpu" and not self.cpu_fallback:
            yield f"{where}.precision=16-mixed needs a GPU; use bf16-mixed or 32 with {where}.accelerator=cpu"
        for name in ("val_check_interval", "limit_val_batches", "limit_train_batches"):
            value = getattr(self, name)
            if value < 0 or (isinstance(value, float) and value > 1):
                yield f"{where}.{name}={value} must be a fraction from 0.0 to 1.0, or a whole number"
        if self.max_epochs == 0:
            yield f"{where}.max_epochs=0 must be at least 1, or -1; to validate only, set {where}.limit_train_batches=0"
        if self.max_epochs == -1 and self.max_steps is None:
            yield f"{where}.max_epochs=-1 needs {where}.max_steps: a schedule has to know where the run ends"
        if self.on_nonfinite == "stop" and self.nonfinite_budget != DEFAULT_NONFINITE_BUDGET:
            yield f"{where}.nonfinite_budget={self.nonfinite_budget} needs {where}.on_nonfinite=skip"
        if self.val_check_interval == 0:
            yield f"{where}.val_check_interval=0: to validate never, set {where}.limit_val_batches=0"
