"""Charts from rows: nothing invented, nothing lost, gaps stay gaps."""

from __future__ import annotations

import math

import pytest
from sam2_training.report.curves import MAX_POINTS, score_chart, training_charts

from tests.report.sample_report import KINDS, charts, metrics, validations


def test_panels_of_a_run() -> None:
    found = {chart.title: chart for chart in charts()}
    assert list(found) == [
        "J&F on the validation set", "Loss, total", "Loss: mask", "Loss: dice", "Loss: iou", "Loss: class",
        "Gradient norm, before clipping", "Learning rate", "Throughput", "Waiting for data", "Memory",
    ]  # fmt: skip
    assert [line.name for line in found["J&F on the validation set"].series] == ["J&F", "J", "F"]
    assert [line.name for line in found["Loss, total"].series] == ["training", "validation"]
    assert found["Loss, total"].log_scale
    assert not found["Learning rate"].log_scale
    assert found["Throughput"].unit == "clips/s"
    assert "1 value is missing" in found["Loss, total"].note


def test_a_column_of_another_kind_is_not_drawn_as_a_loss() -> None:
    rows = [{**row, "ema_decay": 0.99, "queue": 3} for row in metrics(50)]
    plain = training_charts(metrics(50), KINDS, validations(50))
    assert training_charts(rows, {**KINDS, "ema_decay": "step"}, validations(50)) == plain
    more = training_charts(rows, {**KINDS, "queue": "loss"}, validations(50))
    assert {chart.title for chart in more} - {chart.title for chart in plain} == {"Loss: queue"}


def test_numbers_may_be_text_as_in_a_csv_file() -> None:
    as_text = [{name: repr(float(value)) for name, value in row.items()} for row in metrics(50)]
    assert repr(training_charts(as_text, KINDS)) == repr(training_charts(metrics(50), KINDS))


def test_short_runs_are_drawn_as_they_are() -> None:
    rows = [{"step": step, "total": value} for step, value in ((3, 0.5), (1, 2.0), (2, math.nan))]
    (chart,) = training_charts(rows, KINDS)
    (line,) = chart.series
    assert line.steps == (1.0, 2.0, 3.0)
    assert line.values == (2.0, None, 0.5)
    assert line.low == ()


def test_long_runs_keep_mean_and_extremes() -> None:
    rows = [{"step": step, "total": 1.0} for step in range(1, 10_001)]
    rows[5000]["total"] = 77.0
    (line,) = training_charts(rows, KINDS)[0].series
    assert len(line.steps) == MAX_POINTS
    assert max(value for value in line.high if value is not None) == 77.0
    assert min(value for value in line.low if value is not None) == 1.0
    means = [value for value in line.values if value is not None]
    assert sum(means) / len(means) == pytest.approx((9_999 + 77) / 10_000, rel=1e-3)


def test_a_value_that_is_nowhere_has_no_panel() -> None:
    rows = [{"step": 1, "total": 1.0, "lr": None, "clips": 4, "step_seconds": 0.0}]
    assert [chart.title for chart in training_charts(rows, KINDS)] == ["Loss, total"]
    assert training_charts([], KINDS) == []
    absent = [{"step": 0, "val_j_and_f": None, "val_loss": 0.5}]
    assert [chart.title for chart in training_charts(rows, KINDS, absent)] == ["Loss, total"]
    assert score_chart("J&F", absent, {"val_j_and_f": "J&F"}) == []


def test_throughput_and_waiting_are_ratios() -> None:
    rows = [{"step": 1, "clips": 8, "step_seconds": 2.0, "data_wait_seconds": 0.5, "memory_mib": 2048}]
    values = {chart.title: chart.series[0].values for chart in training_charts(rows, KINDS)}
    assert values == {"Throughput": (4.0,), "Waiting for data": (25.0,), "Memory": (2.0,)}
