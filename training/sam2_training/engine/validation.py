"""Validations of a run: what follows from their numbers, and a state that survives a resume."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

from sam2_training.core.errors import EXIT_PREEMPTED, TrainingError
from sam2_training.core.progress import Pace
from sam2_training.core.ranks import Ranks
from sam2_training.engine.checkpoint.best import BestWeights
from sam2_training.engine.config import checkpoint_folder
from sam2_training.engine.early_stopping import EarlyStopping
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.plan import RunPlan
from sam2_training.engine.precision import Precision
from sam2_training.engine.preemption import StopRequest
from sam2_training.engine.task import ModelT, Validation
from sam2_training.engine.weights import RunWeights


class StopInValidation(TrainingError):
    """A stop was requested during a validation. The state was saved before; the next start repeats the validation."""

    exit_code = EXIT_PREEMPTED


class Validator(Generic[ModelT]):
    """Measures a network on the validation set; keeps the best weights; says when to stop early.

    A validation is a pure function of the weights, so one that was interrupted is done again when the run continues. It
    has no effect on training: the network's modes, random number generators and the optimizer stay as they were.
    """

    def __init__(
        self,
        validation: Validation[ModelT],
        plan: RunPlan,
        precision: Precision,
        ranks: Ranks,
        log_dir: Path,
    ) -> None:
        config = self.config = plan.config
        self.validation, self.plan, self.precision, self.ranks = validation, plan, precision, ranks
        keeping = config.checkpoint if config.trainer.enable_checkpointing else replace(config.checkpoint, save_top_k=0)
        self.best = BestWeights(checkpoint_folder(config, log_dir), keeping, ranks)
        self.early_stopping = EarlyStopping(config.stopping_rules)
        self.history: list[dict[str, float]] = []
        """{"step": ..., metric: value} of every validation so far, in order."""
        self._measures_something_else = False
        """Than the validations of the checkpoint: their numbers cannot be compared."""

    def begin(self, step: int) -> list[str]:
        """Call it where a run starts or continues, after its state is restored; lines for the start banner."""
        if not self._measures_something_else:
            return []
        self.ranks.on_main(lambda: self.validation.set_aside(step))
        return [
            "changed: what validations measure (their samples or settings). Best weights and early stopping start "
            "anew, since numbers of two measures cannot be compared."
        ]

    def pending(self, step: int) -> bool:
        """Whether the validation of `step`, where a run starts or continues, has not been done yet."""
        return self.plan.validates_at(step) and (not self.history or self.history[-1]["step"] != step)

    def run(self, weights: RunWeights[ModelT], step: int, log: RunLog, stop: StopRequest) -> None:
        """Validates the result as it is after `step`. Raises StopInValidation on all ranks when asked to stop."""
        with weights.as_result() as model:
            values = self.validation.measure(model, step, self.precision, self._heartbeat(step, log, stop))
        self.history.append({"step": step, **values})
        # The starting weights compete for the best: a run that makes them worse keeps them. They count no patience.
        leading = self.best.update(step, values, weights)
        if step > 0:
            self.early_stopping.update(values)
            if self._main_metric in leading and self.ranks.is_main:
                self.validation.keep_as_best()
        log.validation(step, values, self._standing(step, leading))

    def sanity_check(self, model: ModelT, log: RunLog, stop: StopRequest) -> None:
        """Evaluates a few samples before the first step, so that wrong data is found now and not in an hour."""
        asked = self.config.trainer.num_sanity_val_steps
        if asked and not self.config.trainer.validate_initial_weights:
            count = sys.maxsize if asked == -1 else asked
            heartbeat = self._heartbeat(0, log, stop, count)
            found = self.validation.sanity_check(model, count, self.precision, heartbeat)
            log.message(f"sanity check (trainer.num_sanity_val_steps={asked}): {found}")

    def reason_to_stop(self) -> str | None:
        """Why the run ends early; None if it continues."""
        return self.early_stopping.reason()

    def state_dict(self) -> dict[str, Any]:
        """Plain values for the checkpoint."""
        return {
            "fingerprint": self.validation.fingerprint(),
            "history": [dict(row) for row in self.history],
            "best": self.best.state_dict(),
            "early_stopping": self.early_stopping.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a `state_dict`, unless it is of another measure (`Validation.fingerprint`) than this run's."""
        own = self.validation.fingerprint()
        self._measures_something_else = state.get("fingerprint", own) != own
        if self._measures_something_else:
            return
        self.history = [dict(row) for row in state["history"]]
        self.best.load_state_dict(state["best"])
        self.early_stopping.load_state_dict(state["early_stopping"])

    @property
    def best_step(self) -> int | None:
        """The step of the best validation by the first of checkpoint.monitor; None if there is none (yet)."""
        return self.best.best_step(self._main_metric) if self._main_metric else None

    def finite_history(self) -> list[dict[str, float]]:
        """The history, without numbers that are not finite."""
        return [{name: value for name, value in row.items() if math.isfinite(value)} for row in self.history]

    @property
    def _main_metric(self) -> str | None:
        """The metric whose best weights the report compares with the starting ones."""
        return next(iter(self.config.checkpoint.monitor), None)

    def _standing(self, step: int, leading: list[str]) -> str:
        """How a validation compares with those before, in a few words; "" if there is nothing to say."""
        if step == 0:
            return "the starting weights"
        if leading:
            return f"best {', '.join(leading)}"
        metric = self._main_metric
        return f"the starting weights have the best {metric}" if metric and self.best_step == 0 else ""

    def _heartbeat(self, step: int, log: RunLog, stop: StopRequest, count: int | None = None) -> Callable[[], None]:
        """count: of a sanity check that takes the first items only."""
        unit, num_units = self.validation.unit, self.validation.num_units(count) // self.ranks.world_size
        pace = Pace(num_units)

        def heartbeat() -> None:
            log.beat(step)
            if pace.reach(pace.done + 1):
                reached = f"{pace.done:,} of {pace.total:,} {unit}"
                log.message(f"validating after step {step}: {reached}, {pace.left()} left")
            if stop.requested:
                raise StopInValidation(f"stopped during the validation of step {step}")

        return heartbeat
