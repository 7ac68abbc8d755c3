"""Has the wing write the run's report, with what the loop knows of the run."""

from __future__ import annotations

import json
from pathlib import Path

from sam2_training.core.ranks import Ranks
from sam2_training.engine.logging.run_log import RunLog
from sam2_training.engine.logging.table import metric_rows
from sam2_training.engine.task import RunFacts, RunState, Task
from sam2_training.engine.validation import Validator


class Reporter:
    """The report of a run, rewritten at every validation (without one: at every save) and at the end."""

    def __init__(
        self, task: Task, validator: Validator | None, max_steps: int, steps_per_epoch: int, ranks: Ranks, log_dir: Path
    ) -> None:
        self.task, self.validator = task, validator
        self.max_steps, self.steps_per_epoch = max_steps, steps_per_epoch
        self.ranks, self.log_dir = ranks, log_dir

    def write(self, log: RunLog, state: RunState, step: int, note: str = "") -> None:
        """Writes the report, and its pictures into the log while the run goes on; a full disk is said and borne."""

        def write() -> None:
            try:
                pictures = self.task.write_report(self._facts(state, step, note))
            except OSError as error:
                log.warning(f"the report cannot be written: {error}. Training goes on.")
                return
            if state == "running":
                for name, picture in pictures.items():
                    log.picture(name, picture, step)

        self.ranks.on_main(write)

    def end_summary(self, state: RunState, step: int) -> list[str]:
        """Lines for the end banner: the best weights beside those that the training started from; the report."""
        lines = [f"report      {self.log_dir / 'report.html'}"]
        if self.validator is None or not self.validator.history or state != "finished":
            return lines
        return [*self.validator.validation.comparison_lines(self._facts(state, step, "")), *lines]

    def _facts(self, state: RunState, step: int, note: str) -> RunFacts:
        provenance_path = self.log_dir / "provenance.json"
        return RunFacts(
            state=state,
            note=note,
            step=step,
            max_steps=self.max_steps,
            steps_per_epoch=self.steps_per_epoch,
            history=self.validator.finite_history() if self.validator is not None else [],
            metrics=metric_rows(self.log_dir),
            best_step=self.validator.best_step if self.validator is not None else None,
            provenance=json.loads(provenance_path.read_text()) if provenance_path.is_file() else {},
        )
