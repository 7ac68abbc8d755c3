"""Early stopping by the rules of Lightning's EarlyStopping, as a function of plain state."""

from __future__ import annotations

import math
from typing import Any

from sam2_training.core.text import count
from sam2_training.engine.config import EarlyStoppingConfig, Mode, mode_of


def is_better(value: float, than: float, mode: Mode, min_delta: float = 0.0) -> bool:
    """Whether a metric has improved by more than min_delta. NaN is never better."""
    return value > than + min_delta if mode == "max" else value < than - min_delta


class EarlyStopping:
    """Watches one metric over the validations of a run; its state is a few numbers in the checkpoint."""

    def __init__(self, config: EarlyStoppingConfig) -> None:
        self.config = config
        self.best: float | None = None
        self.waited = 0
        """Validations in a row without improvement."""
        self.latest: float | None = None

    def update(self, values: dict[str, float]) -> None:
        """Takes the values of a validation. If the metric is missing, that counts as no improvement."""
        if self.config.monitor is None:
            return
        self.latest = values.get(self.config.monitor)
        better = self.latest is not None and (
            self.best is None or is_better(self.latest, self.best, self._mode, self.config.min_delta)
        )
        if better and self.latest is not None and math.isfinite(self.latest):
            self.best, self.waited = self.latest, 0
        else:
            self.waited += 1

    def reason(self) -> str | None:
        """Why training ends here; None if it continues. Asked again after a resume, perhaps with another patience."""
        metric, config = self.config.monitor, self.config
        if metric is None:
            return None
        if self.latest is not None:
            if config.check_finite and not math.isfinite(self.latest):
                return f"{metric} is {self.latest} (early_stopping.check_finite)"
            threshold = config.stopping_threshold
            if threshold is not None and is_better(self.latest, threshold, self._mode):
                return f"{metric} = {self.latest:.4f} is better than early_stopping.stopping_threshold={threshold:g}"
            limit = config.divergence_threshold
            if limit is not None and is_better(limit, self.latest, self._mode):
                return f"{metric} = {self.latest:.4f} is worse than early_stopping.divergence_threshold={limit:g}"
        if self.waited >= config.patience:
            best = "" if self.best is None else f", best {self.best:.4f}"
            return f"{metric} has not improved in {count(self.waited, 'validation')}{best} (early_stopping.patience)"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Plain values for the checkpoint."""
        return {"monitor": self.config.monitor, "best": self.best, "waited": self.waited, "latest": self.latest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a `state_dict`, unless it is of another metric than the one watched now."""
        if state["monitor"] == self.config.monitor:
            self.best, self.waited, self.latest = state["best"], int(state["waited"]), state["latest"]

    @property
    def _mode(self) -> Mode:
        return mode_of(self.config.monitor or "", self.config.mode)
