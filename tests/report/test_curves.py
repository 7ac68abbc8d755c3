"""Charts and summaries from rows: nothing invented, nothing lost, gaps stay gaps."""

from __future__ import annotations

import math

import pandas
import pytest
from sam2_training.report.curves import MAX_POINTS, training_charts
from sam2_training.report.summary import summarize_dataset

from tests.report.sample_report import metrics, validations


def test_panels_of_a_run() -> None:
    charts = {chart.title: chart for chart in training_charts(metrics(), validations())}
    assert list(charts) == [
        "J&F on the validation set", "Loss, total", "Loss: mask", "Loss: dice", "Loss: iou", "Loss: class",
        "Gradient norm, before clipping", "Learning rate", "Throughput", "Waiting for data", "Memory",
    ]  # fmt: skip
    assert [line.name for line in charts["J&F on the validation set"].series] == ["J&F", "J", "F"]
    assert [line.name for line in charts["Loss, total"].series] == ["training", "validation"]
    assert charts["Loss, total"].log_scale
    assert not charts["Learning rate"].log_scale
    assert charts["Throughput"].unit == "clips/s"
    assert "1 value is missing" in charts["Loss, total"].note


def test_a_data_frame_gives_the_same_as_a_list() -> None:
    rows = metrics(50)
    assert repr(training_charts(pandas.DataFrame(rows))) == repr(training_charts(rows))


def test_short_runs_are_drawn_as_they_are() -> None:
    rows = [{"step": step, "total": value} for step, value in ((3, 0.5), (1, 2.0), (2, math.nan))]
    (chart,) = training_charts(rows)
    (line,) = chart.series
    assert line.steps == (1.0, 2.0, 3.0)
    assert line.values == (2.0, None, 0.5)
    assert line.low == ()


def test_long_runs_keep_mean_and_extremes() -> None:
    rows = [{"step": step, "total": 1.0} for step in range(1, 10_001)]
    rows[5000]["total"] = 77.0
    (line,) = training_charts(rows)[0].series
    assert len(line.steps) == MAX_POINTS
    assert max(value for value in line.high if value is not None) == 77.0
    assert min(value for value in line.low if value is not None) == 1.0
    means = [value for value in line.values if value is not None]
    assert sum(means) / len(means) == pytest.approx((9_999 + 77) / 10_000, rel=1e-3)


def test_a_value_that_is_nowhere_has_no_panel() -> None:
    rows = [{"step": 1, "total": 1.0, "lr": None, "clips": 4, "step_seconds": 0.0}]
    assert [chart.title for chart in training_charts(rows)] == ["Loss, total"]
    assert training_charts([]) == []
    absent = [{"step": 0, "val_j_and_f": None, "val_loss": 0.5}]
    assert [chart.title for chart in training_charts(rows, absent)] == ["Loss, total"]


def test_throughput_and_waiting_are_ratios() -> None:
    rows = [{"step": 1, "clips": 8, "step_seconds": 2.0, "data_wait_seconds": 0.5, "memory_mib": 2048}]
    values = {chart.title: chart.series[0].values for chart in training_charts(rows)}
    assert values == {"Throughput": (4.0,), "Waiting for data": (25.0,), "Memory": (2.0,)}


def test_summary_counts_everything_once() -> None:
    lengths, areas = [5, 6, 90, 41], [0.00005, 0.02, 0.0299, 0.03, 0.6]
    summary = summarize_dataset("set", lengths, areas, num_objects=6, visible=5, absent=2, unlabeled=7)
    assert summary.facts == {"videos": 4, "frames": 142, "objects": 6}
    clip_lengths, sizes, labels = summary.histograms
    assert sum(clip_lengths.counts) == 4
    assert clip_lengths.labels[0] == "0–19"
    assert clip_lengths.counts[0] == 2
    assert dict(zip(sizes.labels, sizes.counts, strict=True))["1–3"] == 2
    assert sizes.counts[0] == 1
    assert sizes.counts[-1] == 1
    assert sum(sizes.counts) == 5
    assert labels.counts == (5, 2, 7)


def test_summary_of_equal_lengths_and_of_nothing() -> None:
    same = summarize_dataset("set", [8, 8], [], num_objects=0, visible=0, absent=0, unlabeled=0)
    assert same.histograms[0].labels == ("8",)
    none = summarize_dataset("set", [], [], num_objects=0, visible=0, absent=0, unlabeled=0)
    assert sum(none.histograms[0].counts) == 0
