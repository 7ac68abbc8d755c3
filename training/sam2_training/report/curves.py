"""Charts from the rows of metrics.csv and of the validations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from sam2_training.report.data import Chart, Series

Rows = Iterable[Mapping[str, Any]]
Value = Callable[[Mapping[str, Any]], float | None]

NOT_LOSSES = ("step", "epoch", "grad_norm", "lr", "clips", "step_seconds", "data_wait_seconds", "memory_mib")
"""Columns of metrics.csv that are no loss; all others are."""
MAX_POINTS = 160
"""Of a drawn line; more steps are put together, with their lowest and highest."""
LOG_RATIO = 30.0
"""A loss whose (averaged) values span more than this is drawn on a logarithmic axis."""
VALIDATION_SCORES = {"val_j_and_f": "J&F", "val_j": "J", "val_f": "F"}
VALIDATION_TOTAL = "val_loss"


def training_charts(metrics: Any, validations: Any = ()) -> list[Chart]:
    """Panels of J&F, losses, gradient norm, learning rate and throughput, those for which there are values.

    metrics: what `engine.metrics_table.read_metrics` returns, or a sequence of mappings with the same columns.
    validations: likewise, with "step" and any of val_j_and_f, val_j, val_f, val_loss, and val_<loss column> for single
    losses; those are drawn into the panel of the same training loss. Values that are None, missing or not finite are
    gaps, and counted in the panel's note.
    """
    rows, checks = _records(metrics), _records(validations)
    losses = [name for name in (rows[0] if rows else ()) if name not in NOT_LOSSES]
    charts = [
        _chart(
            "J&F on the validation set",
            [(title, checks, _column(name)) for name, title in VALIDATION_SCORES.items()],
            from_zero=False,
        )
    ]
    for name in losses:
        validation_name = VALIDATION_TOTAL if name == "total" else f"val_{name}"
        lines = [("training", rows, _column(name)), ("validation", checks, _column(validation_name))]
        charts.append(_chart(_loss_title(name), lines, may_be_log=True))
    charts += [
        _chart("Gradient norm, before clipping", [("gradient norm", rows, _column("grad_norm"))], may_be_log=True),
        _chart("Learning rate", [("learning rate", rows, _column("lr"))]),
        _chart("Throughput", [("throughput", rows, _ratio("clips", "step_seconds"))], "clips/s"),
        _chart("Waiting for data", [("waiting", rows, _ratio("data_wait_seconds", "step_seconds", 100))], "% of time"),
        _chart("Memory", [("memory", rows, _ratio("memory_mib", None, 1 / 1024))], "GiB"),
    ]
    return [chart for chart in charts if chart.series]


def _records(rows: Any) -> list[Mapping[str, Any]]:
    """Rows as mappings, from a DataFrame or from mappings, in order of steps."""
    records: list[Mapping[str, Any]] = rows.to_dict("records") if hasattr(rows, "to_dict") else list(rows)
    return sorted(records, key=lambda row: float(row["step"]))


def _chart(
    title: str,
    lines: Sequence[tuple[str, Sequence[Mapping[str, Any]], Value]],
    unit: str = "",
    may_be_log: bool = False,
    from_zero: bool = True,
) -> Chart:
    series, num_gaps = [], 0
    for name, rows, value in lines:
        values = [value(row) for row in rows]
        if any(number is not None for number in values):
            num_gaps += sum(number is None for number in values)
            series.append(_thinned(name, [float(row["step"]) for row in rows], values))
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
    def value(row: Mapping[str, Any]) -> float | None:
        number = _finite(row.get(name))
        below = 1.0 if divisor is None else _finite(row.get(divisor))
        return None if number is None or not below else factor * number / below

    return value


def _finite(value: Any) -> float | None:
    if value is None or value == "" or not math.isfinite(float(value)):
        return None
    return float(value)


def _loss_title(column: str) -> str:
    return "Loss, total" if column == "total" else f"Loss: {column.removeprefix('loss_')}"
