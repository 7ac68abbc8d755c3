"""The best weights of a run: checkpoints/best_<metric>.pt for each monitored metric."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from sam2_training.core.files import sha256_of
from sam2_training.core.ranks import Ranks
from sam2_training.engine.checkpoint import files
from sam2_training.engine.config import CheckpointConfig, Mode, mode_of
from sam2_training.engine.early_stopping import is_better
from sam2_training.engine.weights import RunWeights

log = logging.getLogger(__name__)


class BestWeights:
    """Keeps the weights of the best validations, in files of {"model": weights, "step", "metric", "value"}.

    What the task saves beside weights (`Task.saved_form`) is in them too. A file is written under a temporary name,
    read back, and only then renamed; its SHA-256 lies beside it. A full disk is logged and training continues; the
    former best stays.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, ranks: Ranks) -> None:
        self.folder, self.config, self.ranks = folder, config, ranks
        self.ranking: dict[str, list[tuple[float, int]]] = {metric: [] for metric in config.monitor}
        """{metric: (value, step) of the best validations, best first}; as many as files are kept, at least one."""

    def best_step(self, metric: str) -> int | None:
        """The step of the best validation so far, the earliest of equals; None if the metric has not been measured."""
        ranking = self.ranking.get(metric)
        return ranking[0][1] if ranking else None

    def path(self, metric: str) -> Path:
        """The file with the best weights of a metric."""
        return self.folder / f"best_{metric}.pt"

    def update(self, step: int, values: dict[str, float], weights: RunWeights[Any]) -> list[str]:
        """Keeps the weights of a validation where they are among the best; returns the metrics that they lead in.

        Called on all ranks with equal values.
        """
        leading = []
        for metric, ranking in self.ranking.items():
            value = values.get(metric)
            if value is None or not math.isfinite(value):
                continue
            place = self._place(ranking, value, mode_of(metric, self.config.mode))
            ranking.insert(place, (value, step))
            keep = len(ranking) if self.config.save_top_k == -1 else max(self.config.save_top_k, 1)
            dropped, ranking[keep:] = ranking[keep:], []
            if place == 0:
                leading.append(metric)
            if self.config.save_top_k != 0 and place < keep and self.ranks.is_main:
                self._write(metric, value, step, weights, dropped)
        return leading

    def state_dict(self) -> dict[str, Any]:
        """Plain values for the checkpoint."""
        return {metric: [list(entry) for entry in ranking] for metric, ranking in self.ranking.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a `state_dict`; metrics that were not monitored then start empty."""
        for metric in self.ranking:
            self.ranking[metric] = [(float(value), int(step)) for value, step in state.get(metric, [])]
        self.ranks.on_main(self._set_damaged_aside)

    @staticmethod
    def _place(ranking: list[tuple[float, int]], value: float, mode: Mode) -> int:
        """The rank of a value: behind those that are as good."""
        return sum(not is_better(value, other, mode) for other, _ in ranking)

    def _write(
        self, metric: str, value: float, step: int, weights: RunWeights[Any], dropped: list[tuple[float, int]]
    ) -> None:
        content = weights.result() | {"step": step, "metric": metric, "value": value}
        best, several = self.path(metric), self.config.save_top_k != 1
        path = self._numbered(metric, step) if several else best
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.replace_checkpoint(path, content)
            if several and self.ranking[metric][0][1] == step:
                files.write_hashes(best, files.recorded_hashes(path))
                files.point_to(best, path)
            for old in (self._numbered(metric, old_step) for _, old_step in dropped):
                files.remove(old)
                files.remove(files.hash_path(old))
        except OSError as error:
            log.warning("the best weights (%s, step %d) could not be saved: %s", metric, step, error)

    def _set_damaged_aside(self) -> None:
        """Renames weights of earlier starts whose hash does not match; there are none again until the next best."""
        for path in sorted(self.folder.glob("best_*.pt")):
            expected = files.recorded_hashes(path)
            if expected and sha256_of(path) not in expected:
                aside = files.set_aside_with_hash(path, "corrupt")
                log.warning("%s is damaged (its SHA-256 does not match): renamed %s", path, aside.name)

    def _numbered(self, metric: str, step: int) -> Path:
        return self.folder / f"best_{metric}_step_{step:08d}.pt"
