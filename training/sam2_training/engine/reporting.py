"""Has the task write the run's report from what the engine knows of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Generic

from sam2_training.core.errors import RunStatus
from sam2_training.core.ranks import Ranks
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.logging.table import metric_rows, run_columns, samples_column
from sam2_training.engine.plan import RunPlan
from sam2_training.engine.task import BatchT, ModelT, RunSummary, Task
from sam2_training.engine.validation import Validator


class Reporter(Generic[BatchT, ModelT]):
    """The report of a run, rewritten at every validation (without one: at every save) and at the end."""

    def __init__(
        self,
        task: Task[BatchT, ModelT],
        validator: Validator[ModelT] | None,
        plan: RunPlan,
        ranks: Ranks,
        log_dir: Path,
    ) -> None:
        self.task, self.validator, self.plan, self.ranks, self.log_dir = task, validator, plan, ranks, log_dir
        self._columns = run_columns(samples_column(task.sample_noun), task.columns())
        self._path: Path | None = None

    def write(self, log: RunLog, status: RunStatus, step: int, note: str = "") -> None:
        """Writes the report, and during the run its pictures into the log. No failure of it decides anything."""
        if not self.ranks.is_main:
            return
        try:
            report = self.task.write_report(self._summary(status, step, note))
        except Exception as error:
            log.failure("the report cannot be written", error)
            return
        self._path = report.path
        if status == "running":
            for name, picture in report.pictures.items():
                log.picture(name, picture, step)

    def end_summary(self, log: RunLog, status: RunStatus, step: int) -> list[str]:
        """Lines for the end banner: the best weights beside those that the run started from; the report."""
        lines = [f"report      {self._path}"] if self._path is not None else []
        if self.validator is None or not self.validator.history or status != "finished":
            return lines
        try:
            return [*self.validator.validation.comparison_lines(self._summary(status, step, "")), *lines]
        except Exception as error:
            log.failure("the scores before and after cannot be shown", error)
            return lines

    def _summary(self, status: RunStatus, step: int, note: str) -> RunSummary:
        provenance_path = self.log_dir / "provenance.json"
        return RunSummary(
            status=status,
            note=note,
            step=step,
            max_steps=self.plan.total_steps,
            steps_per_epoch=self.plan.steps_per_epoch,
            history=self.validator.finite_history() if self.validator is not None else [],
            metrics=metric_rows(self.log_dir),
            best_step=self.validator.best_step if self.validator is not None else None,
            provenance=json.loads(provenance_path.read_text()) if provenance_path.is_file() else {},
            columns=self._columns,
        )
