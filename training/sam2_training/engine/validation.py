"""Validations of a run: when they are due, what follows from their numbers, and a state that survives a resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic

from sam2_training.core.errors import EXIT_PREEMPTED, TrainingError
from sam2_training.core.ranks import Ranks
from sam2_training.core.text import duration
from sam2_training.engine.checkpoint.best import BestWeights
from sam2_training.engine.config import RunConfig
from sam2_training.engine.early_stopping import EarlyStopping
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.plan import Order
from sam2_training.engine.precision import Precision
from sam2_training.engine.preemption import StopRequest
from sam2_training.engine.task import ModelT, Validation

SECONDS_BETWEEN_LINES = 10.0


class StopInValidation(TrainingError):
    """A stop was asked for during a validation; the state was saved before it, and it is repeated on the next start."""

    exit_code = EXIT_PREEMPTED


class Validator(Generic[ModelT]):
    """Measures a network on the validation set at the right steps; keeps the best weights; says when to stop early.

    What was measured is a pure function of the weights: a validation that was interrupted is simply done again when
    the run goes on. Nothing of a validation reaches the training: the network's modes, the random number generators
    and the optimizer are as before.
    """

    def __init__(
        self,
        validation: Validation[ModelT],
        config: RunConfig,
        order: Order,
        total_steps: int,
        precision: Precision,
        ranks: Ranks,
        log_dir: Path,
    ) -> None:
        self.validation, self.config, self.order, self.total_steps = validation, config, order, total_steps
        self.precision, self.ranks, self.log_dir = precision, ranks, log_dir
        self.best = BestWeights(log_dir / "checkpoints", config.checkpoint, ranks)
        self.early_stopping = EarlyStopping(config.early_stopping)
        self.history: list[dict[str, Any]] = []
        """{"step": ..., metric: value} of every validation so far, in order."""

    def due(self, step: int) -> bool:
        """Whether to validate after `step` (steps done)."""
        trainer = self.config.trainer
        if step == 0:
            return trainer.validate_initial_weights
        if step == self.total_steps:
            return True
        if isinstance(trainer.val_check_interval, int):
            return step % trainer.val_check_interval == 0
        per_epoch = self.order.steps_per_epoch
        epoch, in_epoch = divmod(step - 1, per_epoch)
        if (epoch + 1) % trainer.check_val_every_n_epoch:
            return False
        return (in_epoch + 1) % max(1, int(per_epoch * trainer.val_check_interval)) == 0

    def pending(self, step: int) -> bool:
        """Whether the validation of `step`, where a run starts or continues, has not been done yet."""
        return self.due(step) and (not self.history or self.history[-1]["step"] != step)

    def run(self, model: ModelT, step: int, log: RunLog, stop: StopRequest) -> None:
        """Validates the network as it is after `step`. Raises StopInValidation on all ranks when asked to stop."""
        values = self.validation.measure(model, step, self.precision, self._heartbeat(step, log, stop))
        self.history.append({"step": step, **values})
        # The starting weights are what the trained ones are compared with; they are not among them.
        leading = self.best.see(step, values, model) if step > 0 else []
        if step > 0:
            self.early_stopping.see(values)
        if self._main_metric in leading:
            self.ranks.on_main(self.validation.keep_as_best)
        log.validation(step, values, leading)

    def sanity_check(self, model: ModelT, log: RunLog, stop: StopRequest) -> None:
        """Evaluates a few videos before the first step, so that wrong data is found now and not in an hour."""
        count = self.config.trainer.num_sanity_val_steps
        if count and not self.config.trainer.validate_initial_weights:
            self.validation.sanity_check(model, count, self.precision, self._heartbeat(0, log, stop))

    def reason_to_stop(self) -> str | None:
        """Why the training ends early; None if it goes on."""
        return self.early_stopping.reason()

    def state_dict(self) -> dict[str, Any]:
        """Plain values for the checkpoint."""
        return {
            "history": [dict(row) for row in self.history],
            "best": self.best.state_dict(),
            "early_stopping": self.early_stopping.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self.history = [dict(row) for row in state["history"]]
        self.best.load_state_dict(state["best"])
        self.early_stopping.load_state_dict(state["early_stopping"])

    @property
    def best_step(self) -> int | None:
        """The step of the best validation by the first of checkpoint.monitor; None if there is none (yet)."""
        return self.best.best_step(self._main_metric) if self._main_metric else None

    def finite_history(self) -> list[dict[str, Any]]:
        """The history, without numbers that are not finite."""
        return [{name: value for name, value in row.items() if math.isfinite(value)} for row in self.history]

    @property
    def _main_metric(self) -> str | None:
        """The metric whose best weights the report compares with the starting ones."""
        return next(iter(self.config.checkpoint.monitor), None)

    def _heartbeat(self, step: int, log: RunLog, stop: StopRequest) -> Callable[[], None]:
        progress = _Progress(log, step, self.validation.num_units() // self.ranks.world_size, self.validation.unit)

        def heartbeat() -> None:
            log.beat(step)
            progress.advance()
            if stop.requested:
                raise StopInValidation(f"stopped during the validation of step {step}")

        return heartbeat


class _Progress:
    """Says now and then how far a validation is; nothing if it takes no longer than SECONDS_BETWEEN_LINES."""

    def __init__(self, log: RunLog, step: int, num_units: int, unit: str) -> None:
        self.log, self.step, self.num_units, self.unit = log, step, max(1, num_units), unit
        self.done = 0
        self.began = self.said = time.monotonic()

    def advance(self) -> None:
        self.done = min(self.done + 1, self.num_units)
        now = time.monotonic()
        if now - self.said < SECONDS_BETWEEN_LINES:
            return
        self.said = now
        left = duration((now - self.began) / self.done * (self.num_units - self.done))
        reached = f"{self.done:,} of {self.num_units:,} {self.unit}"
        self.log.message(f"validating after step {self.step}: {reached}, {left} left")
