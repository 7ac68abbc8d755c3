"""When the state is saved, and what happens when saving fails."""

from __future__ import annotations

import time
from typing import Any

from torch import nn

from sam2_training.core.errors import CheckpointError
from sam2_training.core.ranks import Ranks
from sam2_training.engine.checkpoint.store import CheckpointStore, SaveFailed
from sam2_training.engine.config import CheckpointConfig
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.plan import Order


class SavePolicy:
    """Saves by steps, by time, at epoch ends and at the end; survives a few failed saves in a row."""

    def __init__(
        self, config: CheckpointConfig, order: Order, total_steps: int, ranks: Ranks, every_n_epochs: int = 1
    ) -> None:
        self.every_n_epochs = every_n_epochs
        self.config, self.order, self.total_steps, self.ranks = config, order, total_steps, ranks
        self.failed_in_a_row = 0
        self.last_save_seconds = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether to save after `step`; the same answer on every rank."""
        epochs_done, steps_since = self.order.epoch_of(step)
        if step == self.total_steps or (steps_since == 0 and epochs_done % self.every_n_epochs == 0):
            return True
        if self.config.every_n_steps is not None and step % self.config.every_n_steps == 0:
            return True
        if self.config.every_n_minutes is None:
            return False
        elapsed_minutes = (time.monotonic() - self.last_save_seconds) / 60
        return self.ranks.any_says(elapsed_minutes >= self.config.every_n_minutes)

    def save(self, store: CheckpointStore, step: int, model: nn.Module, state: dict[str, Any], log: RunLog) -> None:
        """Saves. Raises CheckpointError on all ranks after too many failures in a row, or if the last save fails."""
        self.last_save_seconds = time.monotonic()
        try:
            store.save(step, model.state_dict(), state)
        except SaveFailed as error:  # on every rank together
            self._count_failure(step, error, log)
        else:
            self.failed_in_a_row = 0

    def _count_failure(self, step: int, failure: SaveFailed, log: RunLog) -> None:
        self.failed_in_a_row += 1
        log.warning(f"step {step} could not be saved ({self.failed_in_a_row} in a row): {failure}")
        if self.failed_in_a_row >= self.config.max_failed_saves or step == self.total_steps:
            raise CheckpointError(
                f"{self.failed_in_a_row} save(s) in a row failed, the last one: {failure}. Older checkpoints are "
                "untouched; free some space and start again, the run continues from the newest one."
            )
