"""Samples that a run cannot learn from: those left out, and those whose loss or gradient is not finite."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from sam2_training.core.errors import DataError, NonFiniteError
from sam2_training.core.files import write_text
from sam2_training.core.ranks import Ranks
from sam2_training.core.text import count
from sam2_training.engine.precision import GuardedStep

log = logging.getLogger(__name__)


def check_left_out(num_left_out: int, num_samples: int, allowed_fraction: float, epoch: int, noun: str) -> None:
    """Raises DataError when epoch `epoch` (from 1) has left out more of its samples than allowed."""
    allowed = allowed_fraction * num_samples
    if num_left_out > allowed:
        raise DataError(
            f"{count(num_left_out, noun)} of epoch {epoch} could not be used, more than dataset.max_bad_fraction="
            f"{allowed_fraction} allows ({allowed:g} of {num_samples}). The warnings above name the files; repair them "
            "or raise the fraction."
        )


def _write_listing(path: Path, step: int, sources: list[list[str]]) -> None:
    try:
        write_text(path, json.dumps({"step": step, "sources_by_rank": sources}, indent=1))
    except OSError as error:
        log.warning("%s cannot be written: %s", path, error)


class FiniteCheck:
    """Names the samples of steps whose loss or gradient was not finite; ends the run when there were too many.

    The guard's verdict may come several steps late, so the sources of all steps since the last check are kept.
    """

    def __init__(self, guard: GuardedStep, ranks: Ranks, log_dir: Path, noun: str) -> None:
        """noun: what a sample is called."""
        self.guard, self.ranks, self.log_dir, self.noun = guard, ranks, log_dir, noun
        self._unchecked: dict[int, list[str]] = {}

    def remember(self, step: int, sources: Sequence[str]) -> None:
        """Keeps the source lines of a step (from 1) on this rank until the next check."""
        self._unchecked[step] = list(sources)

    @property
    def is_cheap(self) -> bool:
        """Whether `check` does not wait for the device, so that it may be called at every step."""
        return self.guard.is_cheap_to_ask

    @property
    def num_left_out(self) -> int:
        """Steps of the run left out so far; waits for the device."""
        return int(self.guard.left_out.item())

    def summary(self) -> str:
        """A sentence for the end of a run; "" if no step was left out."""
        if not self.num_left_out:
            return ""
        steps = count(self.num_left_out, "optimizer step")
        return f"{steps} left out: a loss or gradient was not finite (nonfinite_step_*.json)"

    def check(self) -> None:
        """Warns of steps that were left out. Raises NonFiniteError on all ranks when they are too many."""
        left_out, failed = self.guard.newly_left_out(), self.guard.non_finite_since()
        before = self.num_left_out - len(left_out) if left_out else 0
        for number, step in enumerate(left_out, before + 1):
            sources = self.ranks.gather(self._unchecked[step])
            listing = self.log_dir / f"nonfinite_step_{step:08d}.json"
            if self.ranks.is_main:
                _write_listing(listing, step, sources)
            if step == failed:
                raise NonFiniteError(self._why(step, sources, listing))
            if self.ranks.is_main:
                log.warning(
                    "loss or gradient is not finite at step %d: left out, %d of %d (trainer.nonfinite_budget); %s",
                    *(step, number, self.guard.budget, listing),
                )
        self._unchecked.clear()

    def _why(self, step: int, sources: list[list[str]], listing: Path) -> str:
        budget = self.guard.budget
        too_many = f" {self.num_left_out} steps were left out, trainer.nonfinite_budget={budget}." if budget else ""
        cure = "" if budget else " trainer.on_nonfinite=skip leaves out a few such steps."
        return (
            f"loss or gradient is not finite at step {step}; no optimizer step was taken with it.{too_many}\n"
            f"  {self.noun}s  {'; '.join(line for lines in sources for line in lines[:4])}\n"
            f"  list   {listing}\n"
            f"Look at these {self.noun}s; if they are right, a lower optimizer.lr or trainer.precision=32 helps.{cure} "
            "Starting again continues from the last checkpoint."
        )
