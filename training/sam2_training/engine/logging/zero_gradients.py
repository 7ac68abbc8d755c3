"""Steps whose gradient is exactly 0: their samples had nothing to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sam2_training.core.text import count


class ZeroGradients:
    """Counts the steps of a run whose gradient norm is exactly 0, and says so each time their number doubles."""

    def __init__(self, samples: str, rows: Sequence[Mapping[str, str]] = ()) -> None:
        """samples: what samples are called. rows: of metrics.csv, of the steps before this start."""
        self._samples = samples
        self.number = sum(row.get("grad_norm") == "0.0" for row in rows)

    def warning(self, step: int, grad_norm: float) -> str | None:
        """What to say after step `step` (from 1), if it is to be said now."""
        if grad_norm != 0:
            return None
        self.number += 1
        if self.number & (self.number - 1):  # no power of two
            return None
        return (
            f"the gradient of step {step} is exactly 0: nothing was to be learned from its {self._samples} "
            f"({self.number} of {count(step, 'step')} so far; grad_norm in metrics.csv). Labels may be too sparse."
        )

    def summary(self, steps: int) -> list[str]:
        """A line for the end banner, if there were such steps."""
        if not self.number:
            return []
        return [f"{self.number} of {count(steps, 'step')} had a gradient of exactly 0: no labels to learn from"]
