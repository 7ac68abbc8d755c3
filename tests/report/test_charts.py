"""Axes and drawings: round ticks, everything inside the frame, a title for every value."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from sam2_training.report.axes import (
    linear_axis,
    log_axis,
    number_text,
    step_axis,
    tick_labels,
)
from sam2_training.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, chart_svg
from sam2_training.report.data import Chart, Series


def drawing(*series: Series, **options: bool) -> ElementTree.Element:
    return ElementTree.fromstring(chart_svg(Chart("a <chart>", series, **options)))


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.512, 0.788, ["0.5", "0.6", "0.7", "0.8"]),
        (0, 23_000, ["0", "10k", "20k", "30k"]),
        (0, 4.7e-6, ["0", "2e-6", "4e-6", "6e-6"]),
        (20.91, 20.93, ["20.910", "20.915", "20.920", "20.925", "20.930"]),
        (7, 7, ["6.6", "6.8", "7.0", "7.2", "7.4"]),
        (0, 0, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
    ],
)
def test_linear_ticks_are_round_distinct_and_span_the_values(low: float, high: float, labels: list[str]) -> None:
    axis = linear_axis(low, high, 0, 100)
    assert tick_labels(axis) == labels
    assert axis.low <= low
    assert high <= axis.high


def test_log_axis_places_equal_ratios_at_equal_distances() -> None:
    axis = log_axis(0.001, 10, 200, 0)
    assert axis.place(0.01) - axis.place(0.1) == pytest.approx(axis.place(0.1) - axis.place(1))
    assert tick_labels(axis) == ["0.001", "0.01", "0.1", "1", "10"]
    assert tick_labels(log_axis(0.2, 3.0, 0, 1)) == ["0.2", "0.5", "1", "2"]
    assert tick_labels(log_axis(90, 20_000, 0, 1)) == ["100", "300", "1,000", "3,000", "10k"]


def test_step_axis_has_whole_steps_and_starts_at_zero_when_close_to_it() -> None:
    assert step_axis(1, 1200, 0, 100).ticks == (0, 500, 1000)
    assert step_axis(1, 3, 0, 100).ticks == (1, 2, 3)
    assert step_axis(5000, 6000, 0, 1).ticks == (5000, 5250, 5500, 5750, 6000)
    assert len(set(step_axis(1, 1, 0, 100).ticks)) == 3


@pytest.mark.parametrize("log_scale", [False, True])
def test_drawing_stays_inside_its_frame(log_scale: bool) -> None:
    values = (5.0, 0.004, None, 3.0, 0.9)
    svg = drawing(Series("x", (1, 2, 3, 4, 50_000), values, dots=True), log_scale=log_scale)
    circles = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in svg.iter("circle")]
    assert len(circles) == 4
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in circles)
    assert circles[0][1] < circles[1][1], "larger values are higher up"


def test_every_value_has_a_title_and_gaps_have_none() -> None:
    svg = drawing(Series("one", (1, 2, 3), (0.5, None, 0.25)), Series("two", (1, 3), (7.0, 8.0)))
    titles = [title.text for title in svg.iter("title")]
    assert titles == ["step 1\none 0.5\ntwo 7", "step 3\none 0.25\ntwo 8"]


def test_gaps_break_the_line_and_a_lone_value_is_a_dot() -> None:
    svg = drawing(Series("one", (1, 2, 3, 4, 5, 6), (1.0, 2.0, None, 3.0, None, 4.0)))
    (path,) = [p.get("d", "") for p in svg.iter("path") if "line" in p.get("class", "")]
    assert len(re.findall("M", path)) == 1
    assert len(list(svg.iter("circle"))) == 2


def points_of(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


@pytest.mark.parametrize("log_scale", [False, True])
def test_a_band_reaches_from_the_lowest_to_the_highest_value(log_scale: bool) -> None:
    steps, low, high = (1, 2, 3), (1.0, 2.0, 1.5), (4.0, 9.0, 30.0)
    mean = Series("mean", steps, (2.0, 3.0, 5.0), low, high)
    edges = Series("high", steps, high, dots=True), Series("low", steps, low, dots=True)
    svg = drawing(mean, *edges, log_scale=log_scale)
    (band,) = [points_of(p.get("d", "")) for p in svg.iter("path") if "band" in p.get("class", "")]
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in svg.iter("circle")]
    assert band == [*dots[:3], *reversed(dots[3:])]


@pytest.mark.parametrize("log_scale", [False, True])
def test_the_axis_makes_room_for_a_whole_band(log_scale: bool) -> None:
    line = Series("mean", (1, 2, 3), (2.0, 2.1, 2.2), (0.2, 0.3, 0.4), (20.0, 30.0, 40.0))
    svg = drawing(line, log_scale=log_scale)
    (band,) = [points_of(p.get("d", "")) for p in svg.iter("path") if "band" in p.get("class", "")]
    assert len(band) == 6
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in band)


def test_words_say_what_the_drawing_shows() -> None:
    svg = drawing(Series("J&F", (0, 10), (0.25, 0.5)))
    assert svg.get("aria-label") == "a <chart> over steps: J&F from 0.25 at step 0 to 0.5 at step 10"


def test_amounts_start_at_zero_where_asked() -> None:
    line = Series("x", (1, 2), (40.0, 41.0), dots=True)
    free, zero = drawing(line), drawing(line, from_zero=True)
    assert [t.text for t in zero.iter("text")].count("0") == 1
    assert "0" not in [t.text for t in free.iter("text")]


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        drawing(Series("x", (1,), (None,)))
    with pytest.raises(ValueError, match="log_scale=True"):
        drawing(Series("x", (1,), (0.0,)), log_scale=True)


def test_numbers_read_well() -> None:
    assert [number_text(v) for v in (1200, 0.12345, 1.5e-5, 12345.6, 0)] == [
        "1,200",
        "0.1235",
        "1.5e-05",
        "12,346",
        "0",
    ]
