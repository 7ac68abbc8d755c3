"""What the report of a run says of before and after: which weights, which numbers, what is missing and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sam2_training.engine.task import RunSummary
from sam2_training.report.data import Report, ScoreSection, ScoreTable, WarningSection
from sam2_training.tasks import load_config
from sam2_training.vos.evaluation.result import ClipResult, EvaluationResult
from sam2_training.vos.metrics.scores import ObjectScore
from sam2_training.vos.reporting.score_tables import comparison_lines, score_table, start_stays_best
from sam2_training.vos.reporting.sections import run_report

CONFIG = load_config("sam2.1_training/demo", ["visualization.enabled=false"]).config


class Measured:
    """Stands for a set of videos; the scores of its one object by step."""

    def __init__(self, scores: dict[int, float]) -> None:
        self.scores = scores

    def result_of(self, step: int) -> EvaluationResult | None:
        if step not in self.scores:
            return None
        j = self.scores[step]
        score = ObjectScore(1, (1,), (j,), (j,), j, j, j, j, j, 1.0, None)
        return EvaluationResult("mask", "davis", (ClipResult("surf", 3, (score,)),))


def facts(best_step: int | None, *steps: int, **changes: Any) -> RunSummary:
    history = [{"step": step, "val_j_and_f": 0.5} for step in steps]
    made = RunSummary("running", "", max(steps, default=0), 9, 3, history, [], best_step, {})
    return replace(made, **changes)


def shown(measured: dict[str, Any], known: RunSummary) -> Report:
    return run_report("demo", CONFIG, measured, [], [], known)


def tables(report: Report) -> list[ScoreTable | None]:
    return [section.table for section in report.sections if isinstance(section, ScoreSection)]


def test_before_are_the_starting_weights_and_after_the_best_ones() -> None:
    table = score_table("validation", Measured({0: 0.1, 3: 0.6, 6: 0.5}), facts(3, 0, 3, 6))  # type: ignore[arg-type]
    assert table is not None
    assert (table.before.main, table.after.main) == (0.1, 0.6)
    assert table.delta == pytest.approx(0.5)
    assert [(row.group, row.before.main, row.after.main) for row in table.rows] == [("surf", 0.1, 0.6)]
    assert (table.before_name, table.after_name) == ("starting weights", "best, step 3")
    assert comparison_lines(table)[-1].split() == ["mean", "of", "all", "objects", "0.100", "0.600", "+0.500"]


def test_without_a_best_one_the_newest_are_shown_and_starting_weights_may_be_missing() -> None:
    table = score_table("validation", Measured({3: 0.6, 6: 0.5}), facts(None, 3, 6))  # type: ignore[arg-type]
    assert table is not None
    assert (table.before.main, table.after.main) == (None, 0.5)
    assert table.before.reason == "the starting weights were not measured"
    assert table.after_name == "newest, step 6"
    assert table.delta is None


def test_a_run_that_made_its_network_worse_says_so_and_shows_the_newest_beside_the_start() -> None:
    known = replace(facts(0, 0, 3, 6), history=[{"step": s, "val_j_and_f": j} for s, j in ((0, 0.082), (6, 0.017))])
    report = shown({"validation": Measured({0: 0.082, 3: 0.05, 6: 0.017})}, known)
    (table,) = tables(report)
    assert table is not None
    assert (table.before.main, table.after.main, table.after_name) == (0.082, 0.017, "newest, step 6")
    (warnings,) = [section.sentences for section in report.sections if isinstance(section, WarningSection)]
    assert warnings[0] == (
        "No validation was better than that of the starting weights: val_j_and_f 0.082, after step 6 0.017. "
        "The starting weights stay the best ones."
    )
    assert not [one for one in (facts(None, 0, 3), facts(3, 0, 3), facts(0, 0)) if start_stays_best(CONFIG, one)]


def test_what_got_worse_is_warned_of_in_both_sets() -> None:
    sets = {"validation": Measured({0: 0.1, 3: 0.6}), "retention": Measured({0: 0.9, 3: 0.4})}
    report = shown(sets, facts(3, 0, 3))
    assert [table.name for table in tables(report) if table] == ["validation set", "retention set"]
    (warnings,) = [section.sentences for section in report.sections if isinstance(section, WarningSection)]
    assert [line.split(":")[0] for line in warnings[:-1]] == ["Retention set"] * 2
    assert "0.900" in warnings[0]
    assert "0.400" in warnings[0]


def test_a_history_from_before_the_retention_set_had_its_name_is_understood() -> None:
    """Earlier versions called it the guard set; a checkpoint of theirs holds such rows."""
    known = facts(3, 0, 3)
    history = [{**row, "guard_j_and_f": 0.9, "guard_loss": 1.0} for row in known.history]
    data = shown({"validation": Measured({0: 0.1, 3: 0.6})}, replace(known, history=history))
    plain = shown({"validation": Measured({0: 0.1, 3: 0.6})}, known)
    assert data.sections == plain.sections


def test_why_there_is_no_comparison_is_said() -> None:
    without = shown({}, facts(None))
    nothing_yet = shown({"validation": Measured({})}, facts(None))
    for report, sentence in ((without, "No videos were held out"), (nothing_yet, "No validation has run yet.")):
        (section,) = [section for section in report.sections if isinstance(section, ScoreSection)]
        assert section.table is None
        assert report.headline is not None
        assert sentence in section.missing


def test_only_a_running_training_reloads_its_page() -> None:
    assert shown({}, facts(None)).reload_seconds
    assert shown({}, facts(None, status="failed", note="loss is not finite")).reload_seconds is None
    assert shown({}, facts(None, status="failed", note="loss is not finite")).note == "loss is not finite"


def test_time_is_that_of_all_steps_together() -> None:
    rows = [{"step": str(step), "step_seconds": "2.5", "total": "1.0"} for step in (1, 2)]
    assert shown({}, facts(None, metrics=rows)).elapsed_seconds == 5.0
