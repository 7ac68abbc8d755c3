"""Writes the report of a run, and the GIF that goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sam2_training.core.cadence import passed
from sam2_training.data.index import VideoIndex
from sam2_training.engine.task import RunSummary, WrittenReport
from sam2_training.report.data import DatasetSummary
from sam2_training.report.page import write_report
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.measured_set import MeasuredSet
from sam2_training.vos.metrics.names import VALIDATION
from sam2_training.vos.reporting.data_summary import describe_datasets, label_reports
from sam2_training.vos.reporting.pictures import film_strips, write_gif
from sam2_training.vos.reporting.sections import run_report


class ReportWriter:
    """Writes a run's report, many times during a run; keeps what does not change in between."""

    def __init__(
        self,
        config: VosConfig,
        name: str,
        log_dir: Path,
        training_indexes: Mapping[str, VideoIndex],
        sets: Mapping[str, MeasuredSet],
    ) -> None:
        """name: the recipe's, for the title. training_indexes: {name: videos that are trained on}.

        sets: {"validation": ..., "retention": ...}, if there are any.
        """
        self.config, self.name, self.log_dir = config, name, log_dir
        self.training_indexes, self.sets = training_indexes, sets
        self._datasets: list[DatasetSummary] | None = None

    def write(self, summary: RunSummary) -> WrittenReport:
        """Writes report.html; its film strips also go into other logs."""
        if self._datasets is None:
            self._datasets = describe_datasets(self.training_indexes, self.sets)
        pictured = self.config.visualization.enabled and VALIDATION in self.sets
        strips = film_strips(self.config, self.sets[VALIDATION], summary) if pictured else []
        path = self.log_dir / "report.html"
        labels = label_reports(self.training_indexes, self.sets)
        report = run_report(self.name, self.config, self.sets, self._datasets, strips, summary, labels)
        write_report(path, report)
        if self._gif_due(summary):
            write_gif(self.config, self.sets[VALIDATION], summary, self.log_dir / "visualization")
        return WrittenReport(path, {f"{VALIDATION}/{strip.label}": strip.picture for strip in strips})

    def _gif_due(self, summary: RunSummary) -> bool:
        """Whether this is the first report after visualization.val_first_batch_every_n_epochs more epochs."""
        wanted = self.config.visualization
        every = wanted.val_first_batch_every_n_epochs * summary.steps_per_epoch
        if not (wanted.enabled and summary.status == "running" and summary.history):
            return False
        former = int(summary.history[-2]["step"]) if len(summary.history) > 1 else -every
        return passed(summary.step, former, every)
