"""A report as plain values: a heading, a few numbers, and sections that the task supplies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Scores:
    """Scores from 0 to 1, the main one first; None for one that cannot be computed, and then `reason` says why."""

    values: Sequence[float | None] = ()
    """In the order of `ScoreTable.metrics`; empty: none can be computed."""
    reason: str = ""

    @property
    def main(self) -> float | None:
        """The score by which sets of weights are compared."""
        return self.at(0)

    def at(self, number: int) -> float | None:
        """The score with this number in the table's order."""
        return self.values[number] if number < len(self.values) else None


@dataclass(frozen=True)
class ScoreRow:
    """One scored item, such as an object, with two sets of weights."""

    group: str
    """What it belongs to, such as its video."""
    item: str
    before: Scores
    after: Scores
    color: str | None = None
    """The item's color in pictures, such as "#e69f00"."""

    @property
    def delta(self) -> float | None:
        """The main score after minus before; None unless both are there."""
        return difference(self.before, self.after)


@dataclass(frozen=True)
class ScoreTable:
    """A set of data, scored with two sets of weights."""

    name: str
    """Such as "validation set"."""
    metrics: tuple[str, ...]
    """Titles of the scores, the main one first."""
    rows: Sequence[ScoreRow]
    before: Scores
    """Over the whole set."""
    after: Scores
    row_titles: tuple[str, str] = ("Video", "Object")
    """What a row's group and item are."""
    protocol: str = ""
    """How it was measured, one or two sentences."""
    before_name: str = "before"
    """Which weights, such as "sam2.1_hiera_t.pt"."""
    after_name: str = "after"
    """Which weights, such as "best, step 1,200"."""

    @property
    def delta(self) -> float | None:
        """The main score after minus before; None unless both are there."""
        return difference(self.before, self.after)

    def worse_rows(self, tolerance: float = 0.0) -> list[ScoreRow]:
        """Rows whose main score, in three digits, fell by more than `tolerance`, the worst first."""
        fallen = [(row.delta, row) for row in self.rows if row.delta is not None and round(row.delta, 3) < -tolerance]
        return [row for _, row in sorted(fallen, key=lambda pair: pair[0])]


@dataclass(frozen=True)
class Series:
    """One line of a chart. Steps ascend; a value of None is a gap."""

    name: str
    steps: Sequence[float]
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    """Where a value stands for several steps: their lowest, else empty; `high` likewise."""
    high: Sequence[float | None] = ()
    dots: bool = False
    """Mark each value: for a few values only, such as validations."""


@dataclass(frozen=True)
class Chart:
    """One panel: values over optimizer steps."""

    title: str
    series: Sequence[Series]
    unit: str = ""
    """Of the vertical axis; "" for a plain number."""
    log_scale: bool = False
    from_zero: bool = False
    """The vertical axis starts at 0 (unless logarithmic): for amounts, whose small changes should look small."""
    note: str = ""
    """Shown below, such as what was left out."""


@dataclass(frozen=True)
class Histogram:
    """counts[i] values fall into the i-th bin, or have the i-th label."""

    title: str
    labels: Sequence[str]
    counts: Sequence[int]
    unit: str = ""
    """What the labels measure, such as "frames"."""
    note: str = ""


@dataclass(frozen=True)
class DatasetSummary:
    """Size and distributions of one dataset."""

    name: str
    totals: Mapping[str, str | int | float] = field(default_factory=dict)
    """Shown as a list: number of videos, frames, objects, ..."""
    histograms: Sequence[Histogram] = ()
    notes: Sequence[str] = ()
    """Sentences on what is not used and what should be checked."""


@dataclass(frozen=True)
class ReportPicture:
    """A picture with its caption."""

    label: str
    """Why this one is shown, such as "best"."""
    title: str
    """What it is of, such as a video's name."""
    caption: str
    picture: npt.NDArray[np.uint8]
    """RGB [H, W, 3]."""
    alt: str
    """What it shows, for readers who cannot see it."""


@dataclass(frozen=True)
class WarningSection:
    """Sentences that a reader must not miss."""

    kind: ClassVar[str] = "warnings"
    sentences: Sequence[str]
    heading: str = "Look at this first"
    anchor: str = "warnings"
    link: str = ""
    """In the page's navigation; "": not there."""


@dataclass(frozen=True)
class NoteSection:
    """Sentences for whoever wants to know."""

    kind: ClassVar[str] = "notes"
    heading: str
    anchor: str
    link: str
    sentences: Sequence[str]


@dataclass(frozen=True)
class PictureSection:
    """Pictures, one below the other."""

    kind: ClassVar[str] = "pictures"
    heading: str
    anchor: str
    link: str
    pictures: Sequence[ReportPicture]
    noun: str = "picture"
    """What they are, such as "film strip"."""


@dataclass(frozen=True)
class ScoreSection:
    """Scores before and after, or why there are none."""

    kind: ClassVar[str] = "scores"
    heading: str
    anchor: str
    link: str
    table: ScoreTable | None
    missing: str = ""
    """Shown while there is no table."""


@dataclass(frozen=True)
class ChartSection:
    """Charts side by side."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]
    heading: str = "Curves"
    anchor: str = "curves"
    link: str = "Curves"


@dataclass(frozen=True)
class DataSection:
    """Summaries of the datasets."""

    kind: ClassVar[str] = "data"
    datasets: Sequence[DatasetSummary]
    heading: str = "Data"
    anchor: str = "data"
    link: str = "Data"


@dataclass(frozen=True)
class ProvenanceSection:
    """Where the run came from: code, configuration, machine."""

    kind: ClassVar[str] = "provenance"
    values: Mapping[str, object]
    """As in provenance.json."""
    heading: str = "Provenance"
    anchor: str = "provenance"
    link: str = "Provenance"


Section = WarningSection | NoteSection | PictureSection | ScoreSection | ChartSection | DataSection | ProvenanceSection


@dataclass(frozen=True)
class Headline:
    """The result in one line: the main score before and after; the section of scores says why it is missing."""

    metric: str
    table: ScoreTable | None


@dataclass(frozen=True)
class Report:
    """All that `page.write_report` shows. What is not known yet stays at its default and is said to be missing."""

    title: str
    """The configuration's name."""
    status: str
    """running, finished, stopped or failed."""
    step: int
    """Optimizer steps done."""
    written: str
    """When this was gathered, ISO 8601 with time zone."""
    note: str = ""
    """A sentence on why the run stopped, or what happens next."""
    max_steps: int | None = None
    elapsed_seconds: float | None = None
    """Training time, all starts together."""
    headline: Headline | None = None
    sections: Sequence[Section] = ()
    """In order; a section without content is left out by whoever makes the report."""
    reload_seconds: int | None = None
    """While running: the page reloads itself after so many seconds. None: it does not."""


def difference(before: Scores, after: Scores) -> float | None:
    """The main score after minus before; None unless both are there."""
    if before.main is None or after.main is None:
        return None
    return after.main - before.main


WORSE_TOLERANCE = 0.005
"""Scores that fell by no more than this are not warned of: half a point of a score from 0 to 100."""


def worse_warnings(tables: Sequence[ScoreTable], tolerance: float = WORSE_TOLERANCE, at_most: int = 10) -> list[str]:
    """For each set a sentence if its main score fell by more than `tolerance`, and one for each row whose score did.

    The worst of a set come first; beyond `at_most` of its rows the rest are counted, not named. The last sentence names
    the tolerance.
    """
    sentences = [sentence for table in tables for sentence in _worse_in(table, tolerance, at_most)]
    if sentences and tolerance:
        sentences.append(f"Falls of {tables[0].metrics[0]} by up to {tolerance:g} are not listed here.")
    return sentences


def _worse_in(table: ScoreTable, tolerance: float, at_most: int) -> Iterator[str]:
    name, metric, item = table.name[:1].upper() + table.name[1:], table.metrics[0], table.row_titles[1].lower()
    if table.delta is not None and round(table.delta, 3) < -tolerance:
        yield f"{name}: mean {metric} {_change(table.before, table.after)}"
    worse = table.worse_rows(tolerance)
    for row in worse[:at_most]:
        yield f"{name}: {row.group}, {item} {row.item}: {metric} {_change(row.before, row.after)}"
    if len(worse) > at_most:
        yield f"{name}: {len(worse) - at_most} more {item}s got worse; the table shows them"


def _change(before: Scores, after: Scores) -> str:
    delta = difference(before, after)
    assert before.main is not None
    assert after.main is not None
    assert delta is not None
    return f"{before.main:.3f} → {after.main:.3f} (−{-delta:.3f})"
