"""Writes the report of a run, and the GIF that goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam2_training.data.index import VideoIndex
from sam2_training.report.data import DatasetSummary
from sam2_training.report.page import write_report
from sam2_training.vos.config import VosConfig
from sam2_training.vos.measurement import SetMeasurement
from sam2_training.vos.run_pictures import write_gif
from sam2_training.vos.run_report import describe_datasets, report_data


class ReportWriter:
    """Knows what a run trains on and what it is measured on; the rest comes with each report."""

    def __init__(
        self,
        config: VosConfig,
        name: str,
        log_dir: Path,
        training_index: VideoIndex | None,
        sets: Mapping[str, SetMeasurement],
    ) -> None:
        """name: the recipe's, for the title. sets: {"validation": ..., "guard": ...}, as far as there are any."""
        self.config, self.name, self.log_dir = config, name, log_dir
        self.training_index, self.sets = training_index, sets
        self._datasets: list[DatasetSummary] | None = None

    def write(self, facts: Any) -> dict[str, Any]:
        """Writes report.html; the film strips in it. facts: `sam2_training.engine.task.RunFacts`."""
        if self._datasets is None:
            self._datasets = describe_datasets(self.training_index, self.sets)
        data = report_data(self.name, self.config, self.sets, self._datasets, facts)
        write_report(self.log_dir / "report.html", data)
        if self._gif_due(facts):
            write_gif(self.config, self.sets["validation"], facts, self.log_dir / "visualization")
        return {f"validation/{strip.place}": strip.picture for strip in data.strips}

    def _gif_due(self, facts: Any) -> bool:
        """Whether this is the first report after visualization.val_first_batch_every_n_epochs more epochs."""
        wanted = self.config.visualization
        every = wanted.val_first_batch_every_n_epochs * facts.steps_per_epoch
        if not (wanted.enabled and every and facts.state == "running" and facts.history):
            return False
        former = facts.history[-2]["step"] if len(facts.history) > 1 else -every
        return bool(facts.step // every > former // every)
