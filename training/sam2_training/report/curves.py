"""Charts from the rows of metrics.csv and of the validations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from sam2_training.core.columns import ColumnKind
from sam2_training.report.data import Chart, Series

Row = Mapping[str, str | int | float | None]
"""{column: value}; text as in a CSV file is understood, and a value that is missing or not finite is a gap."""
Value = Callable[[Row], float | None]

STEP_SECONDS, WAIT_SECONDS = "step_seconds", "data_wait_seconds"
"""Columns of kind time: the seconds of a step, and those of them spent waiting for data."""
TOTAL = "total"
"""The column of the loss that is differentiated; its validation counterpart is called loss."""
MAX_POINTS = 160
"""Of a drawn line; more steps are put together, with their lowest and highest."""
LOG_RATIO = 30.0
"""A loss whose (averaged) values span more than this is drawn on a logarithmic axis."""


def score_chart(title: str, validations: Sequence[Row], lines: Mapping[str, str]) -> list[Chart]:
    """A panel of scores over the validations; none if there are no values.

    validations: rows with "step" and the columns to draw. lines: {column: name in the legend}.
    """
    checks = _by_step(validations)
    chart = _chart(title, [(name, checks, _column(column)) for column, name in lines.items()], from_zero=False)
    return [chart] if chart.series else []


def training_charts(
    metrics: Sequence[Row],
    kinds: Mapping[str, ColumnKind],
    validations: Sequence[Row] = (),
    validation_prefix: str = "val_",
) -> list[Chart]:
    """Panels of losses, gradient norm, learning rate, throughput and memory: those for which there are values.

    metrics: a row a step. kinds: {column: kind}; a column without a kind is not drawn. validations: rows with "step"
    and, for some losses, <validation_prefix><column> (of the total: <validation_prefix>loss), which go into the panel
    of the same training loss. Values that are missing or not finite are gaps, and counted in the panel's note.
    """
    rows, checks = _by_step(metrics), _by_step(validations)

    def columns(kind: ColumnKind) -> list[str]:
        return [name for name in (rows[0] if rows else ()) if kinds.get(name) == kind]

    charts = []
    for name in columns("loss"):
        validation_name = validation_prefix + ("loss" if name == TOTAL else name)
        lines = [("training", rows, _column(name)), ("validation", checks, _column(validation_name))]
        charts.append(_chart(_loss_title(name), lines, may_be_log=True))
    for name in columns("gradient"):
        lines = [("gradient norm", rows, _column(name))]
        charts.append(_chart("Gradient norm, before clipping", lines, may_be_log=True))
    for name in columns("rate"):
        charts.append(_chart("Learning rate", [("learning rate", rows, _column(name))]))
    for name in columns("count"):
        charts.append(_chart("Throughput", [("throughput", rows, _ratio(name, STEP_SECONDS))], f"{name}/s"))
    charts.append(_chart("Waiting for data", [("waiting", rows, _ratio(WAIT_SECONDS, STEP_SECONDS, 100))], "% of time"))
    for name in columns("memory"):
        charts.append(_chart("Memory", [("memory", rows, _ratio(name, None, 1 / 1024))], "GiB"))
    return [chart for chart in charts if chart.series]


def _by_step(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: float(row["step"] or 0))


def _chart(
    title: str,
    lines: Sequence[tuple[str, Sequence[Row], Value]],
    unit: str = "",
    may_be_log: bool = False,
    from_zero: bool = True,
) -> Chart:
    series, num_gaps = [], 0
    for name, rows, value in lines:
        values = [value(row) for row in rows]
        if any(number is not None for number in values):
            num_gaps += sum(number is None for number in values)
            series.append(_thinned(name, [float(row["step"] or 0) for row in rows], values))
    log = may_be_log and _spans_much(series)
    note = f"{num_gaps} value{'s are' if num_gaps > 1 else ' is'} missing or not finite" if num_gaps else ""
    return Chart(title, tuple(series), unit, log, from_zero, note)


def _thinned(name: str, steps: Sequence[float], values: Sequence[float | None]) -> Series:
    """The series itself if it is short, else the mean, lowest and highest of equal runs of steps."""
    if len(steps) <= MAX_POINTS:
        return Series(name, tuple(steps), tuple(values), dots=len(steps) <= 40)
    cuts = [round(place * len(steps) / MAX_POINTS) for place in range(MAX_POINTS + 1)]
    middles, means, lows, highs = [], [], [], []
    for start, stop in pairwise(cuts):
        known = [value for value in values[start:stop] if value is not None]
        middles.append((steps[start] + steps[stop - 1]) / 2)
        means.append(math.fsum(known) / len(known) if known else None)
        lows.append(min(known) if known else None)
        highs.append(max(known) if known else None)
    return Series(name, tuple(middles), tuple(means), tuple(lows), tuple(highs))


def _spans_much(series: Sequence[Series]) -> bool:
    values = [value for line in series for value in (*line.values, *line.low) if value is not None]
    return bool(values) and min(values) > 0 and max(values) / min(values) > LOG_RATIO


def _column(name: str) -> Value:
    return lambda row: _finite(row.get(name))


def _ratio(name: str, divisor: str | None, factor: float = 1.0) -> Value:
    def value(row: Row) -> float | None:
        number = _finite(row.get(name))
        below = 1.0 if divisor is None else _finite(row.get(divisor))
        return None if number is None or not below else factor * number / below

    return value


def _finite(value: str | float | None) -> float | None:
    if value is None or value == "" or not math.isfinite(float(value)):
        return None
    return float(value)


def _loss_title(column: str) -> str:
    return "Loss, total" if column == TOTAL else f"Loss: {column.removeprefix('loss_')}"
