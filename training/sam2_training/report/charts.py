"""Charts as SVG text: no script, no outside resource.

Colors come from the page's style, so they follow light and dark.
Values are shown on hovering through <title> elements; series differ in dash pattern as well as in color.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from markupsafe import Markup, escape

from sam2_training.report.axes import Axis, linear_axis, log_axis, number_text, step_axis, tick_labels
from sam2_training.report.data import Chart, Series

WIDTH, HEIGHT = 380, 230
"""Of the drawing, SVG units; the page scales it."""
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 36
"""Margins around the plot, SVG units."""
Point = TypeVar("Point")

NUM_STYLES = 4
"""Line styles in the page's style sheet; more series use them again."""


def chart_svg(chart: Chart) -> Markup:
    """The drawing of a chart as an <svg> element: grid, axes with ticks, bands, lines, dots, hover titles.

    Raises ValueError for a chart without any value, and for a logarithmic one with a value that is not positive.
    """
    steps = [step for line in chart.series for step in line.steps]
    values = [value for line in chart.series for value in (*line.values, *line.low, *line.high) if value is not None]
    if not values or (chart.log_scale and min(values) <= 0):
        raise ValueError(f"chart {chart.title!r} has no values that can be drawn (log_scale={chart.log_scale})")
    x_axis = step_axis(min(steps), max(steps), LEFT, WIDTH - RIGHT)
    make_axis = log_axis if chart.log_scale else linear_axis
    lowest = min(0.0, *values) if chart.from_zero and not chart.log_scale else min(values)
    y_axis = make_axis(lowest, max(values), HEIGHT - BOTTOM, TOP)
    parts = [
        *_grid(x_axis, y_axis),
        *(part for number, line in enumerate(chart.series) for part in _drawn_line(line, number, x_axis, y_axis)),
        *_hover_columns(chart.series, x_axis),
    ]
    opening = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        WIDTH, HEIGHT, describe(chart)
    )
    return opening + Markup("").join(parts) + Markup("</svg>")


def legend_svg(number: int) -> Markup:
    """A short piece of the line of the given series, for a legend."""
    return Markup(
        '<svg class="key" viewBox="0 0 26 10" aria-hidden="true"><path class="line s{}" d="M1 5H25"/></svg>'
    ).format(number % NUM_STYLES)


def describe(chart: Chart) -> str:
    """The chart in words: for each series its first and last value."""
    words = []
    for line in chart.series:
        known = [(s, value) for s, value in zip(line.steps, line.values, strict=True) if value is not None]
        (first_step, first), (last_step, last) = known[0], known[-1]
        words.append(
            f"{line.name} from {number_text(first)} at step {number_text(first_step)} "
            f"to {number_text(last)} at step {number_text(last_step)}"
        )
    unit = f" ({chart.unit})" if chart.unit else ""
    return f"{chart.title}{unit} over steps: {'; '.join(words)}"


def _grid(x_axis: Axis, y_axis: Axis) -> Iterator[Markup]:
    """Horizontal lines with their values, the horizontal axis with its steps, and its name."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick, label in zip(y_axis.ticks, tick_labels(y_axis), strict=True):
        y = _units(y_axis.place(tick))
        yield Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, y, right)
        yield Markup('<text class="tick" x="{}" y="{}" dy="4" text-anchor="end">{}</text>').format(LEFT - 6, y, label)
    yield Markup('<path class="axis" d="M{} {}H{}"/>').format(LEFT, bottom, right)
    for tick, label in zip(x_axis.ticks, tick_labels(x_axis), strict=True):
        x = _units(x_axis.place(tick))
        # The last label must not stick out at the right.
        anchor = "end" if x_axis.place(tick) > right - 14 else "middle"
        yield Markup('<path class="axis" d="M{} {}v4"/>').format(x, bottom)
        yield Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            x, bottom + 17, anchor, label
        )
    yield Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">step</text>').format(
        (LEFT + right) // 2, HEIGHT - 4
    )


def _drawn_line(line: Series, number: int, x_axis: Axis, y_axis: Axis) -> Iterator[Markup]:
    style = f"s{number % NUM_STYLES}"
    points = [
        None if value is None else (_units(x_axis.place(step)), _units(y_axis.place(value)))
        for step, value in zip(line.steps, line.values, strict=True)
    ]
    if line.low:
        yield from _band(line, style, x_axis, y_axis)
    runs = _runs(points)
    path = "".join("M" + "L".join(f"{x} {y}" for x, y in run) for run in runs if len(run) > 1)
    if path:
        yield Markup('<path class="line {}" d="{}"/>').format(style, path)
    for run in runs:
        # A value between two gaps has no line to it: only a dot can show it.
        for x, y in run if line.dots or len(run) == 1 else ():
            yield Markup('<circle class="dot {}" cx="{}" cy="{}" r="2.6"/>').format(style, x, y)


def _band(line: Series, style: str, x_axis: Axis, y_axis: Axis) -> Iterator[Markup]:
    """The area between lowest and highest value, for each stretch without a gap."""
    edges = [
        None if low is None or high is None else (_units(x_axis.place(step)), y_axis.place(low), y_axis.place(high))
        for step, low, high in zip(line.steps, line.low, line.high, strict=True)
    ]
    for run in _runs(edges):
        there = [f"{x} {_units(high)}" for x, _, high in run]
        back = [f"{x} {_units(low)}" for x, low, _ in reversed(run)]
        yield Markup('<path class="band {}" d="M{}Z"/>').format(style, "L".join(there + back))


def _hover_columns(series: Sequence[Series], x_axis: Axis) -> Iterator[Markup]:
    """Invisible columns, one for each step with a value, with the values as title."""
    texts: dict[float, list[str]] = {}
    for line in series:
        for number, (step, value) in enumerate(zip(line.steps, line.values, strict=True)):
            if value is None:
                continue
            text = f"{line.name} {number_text(value)}"
            if line.low:
                low, high = line.low[number], line.high[number]
                assert low is not None
                assert high is not None
                text += f" ({number_text(low)} to {number_text(high)})"
            texts.setdefault(step, []).append(text)
    steps = sorted(texts)
    borders = [x_axis.start, *(x_axis.place((one + two) / 2) for one, two in pairwise(steps)), x_axis.end]
    for step, (left, right) in zip(steps, pairwise(borders), strict=True):
        title = "\n".join([f"step {number_text(round(step))}", *texts[step]])
        yield Markup('<rect class="hover" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            _units(left), TOP, _units(right - left), HEIGHT - BOTTOM - TOP, escape(title)
        )


def _runs(points: Sequence[Point | None]) -> list[list[Point]]:
    """The points between gaps."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _units(value: float) -> str:
    """A coordinate with a tenth of a unit, which no eye misses and which keeps the file small."""
    return f"{value:.1f}".removesuffix(".0")
