"""What a report says, as plain values: nothing here knows of files, models or HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import RunStatus

StripPlace = Literal["best", "median", "worst"]


@dataclass(frozen=True)
class Scores:
    """J, F and their mean, each from 0 to 1; None where it cannot be computed, and then `reason` says why."""

    j: float | None = None
    f: float | None = None
    j_and_f: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class ScoreRow:
    """One object of one video, with two sets of weights."""

    video: str
    object_id: int
    before: Scores
    after: Scores

    @property
    def delta(self) -> float | None:
        """J&F after minus before; None unless both are there."""
        return difference(self.before, self.after)


@dataclass(frozen=True)
class ScoreTable:
    """A set of videos, examined with two sets of weights."""

    name: str
    """Such as "validation set" or "retention set"."""
    rows: Sequence[ScoreRow]
    before: Scores
    """Over the whole set, by its protocol's way to average."""
    after: Scores
    protocol: str = ""
    """A sentence on how it was measured: rule, prompt, split."""
    before_name: str = "before"
    """Which weights, such as "sam2.1_hiera_t.pt"."""
    after_name: str = "after"
    """Which weights, such as "best, step 1,200"."""

    @property
    def delta(self) -> float | None:
        """Mean J&F after minus before; None unless both are there."""
        return difference(self.before, self.after)

    def worse_rows(self, tolerance: float = 0.0) -> list[ScoreRow]:
        """Objects whose J&F fell by more than `tolerance`, the worst first."""
        fallen = [(row.delta, row) for row in self.rows if row.delta is not None and row.delta < -tolerance]
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
    """Mark each value: for few ones, such as validations."""


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
    """How often: counts[i] values fall into the i-th bin, or have the i-th label."""

    title: str
    labels: Sequence[str]
    counts: Sequence[int]
    unit: str = ""
    """What the labels measure, such as "frames"."""
    note: str = ""


@dataclass(frozen=True)
class DatasetSummary:
    """What one set of videos holds."""

    name: str
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    """Shown as a list: number of videos, frames, objects, ..."""
    histograms: Sequence[Histogram] = ()


@dataclass(frozen=True)
class ReportStrip:
    """A film strip of one clip."""

    place: StripPlace
    video: str
    caption: str
    """Which clip this is, and its scores."""
    picture: npt.NDArray[np.uint8]
    """RGB [H, W, 3]."""
    alt: str
    """What is to be seen, for those who do not see it."""


@dataclass(frozen=True)
class ReportData:
    """All that `page.write_report` shows. What is not known yet is left at its default and is said to be missing."""

    title: str
    """The configuration's name."""
    state: RunStatus
    step: int
    """Optimizer steps done."""
    written: str
    """When this was gathered, ISO 8601 with time zone."""
    state_note: str = ""
    """A sentence on why it stopped, or what happens next."""
    max_steps: int | None = None
    elapsed_seconds: float | None = None
    """Time trained, all starts together."""
    comparison: ScoreTable | None = None
    """The validation set before and after."""
    comparison_missing: str = "No validation has run yet."
    """Why there is no comparison, while there is none."""
    retention: ScoreTable | None = None
    """A second set, that must not get worse."""
    warnings: Sequence[str] = ()
    strips: Sequence[ReportStrip] = ()
    charts: Sequence[Chart] = ()
    datasets: Sequence[DatasetSummary] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """As in provenance.json."""
    reload_seconds: int | None = None
    """While running: the page loads itself anew after so many seconds. None: it does not."""


def difference(before: Scores, after: Scores) -> float | None:
    """J&F after minus before; None unless both are there."""
    if before.j_and_f is None or after.j_and_f is None:
        return None
    return after.j_and_f - before.j_and_f


def worse_warnings(table: ScoreTable, tolerance: float = 0.0, at_most: int = 10) -> list[str]:
    """A sentence for the set if its mean J&F fell by more than `tolerance`, and one for each object whose did.

    The worst come first; beyond `at_most` objects the rest are counted, not named.
    """
    sentences = []
    name = table.name[:1].upper() + table.name[1:]
    if table.delta is not None and table.delta < -tolerance:
        sentences.append(f"{name}: mean J&F {_change(table.before, table.after)}")
    worse = table.worse_rows(tolerance)
    for row in worse[:at_most]:
        sentences.append(f"{name}: {row.video}, object {row.object_id}: J&F {_change(row.before, row.after)}")
    if len(worse) > at_most:
        sentences.append(f"{name}: {len(worse) - at_most} more objects got worse; the table shows them")
    return sentences


def _change(before: Scores, after: Scores) -> str:
    delta = difference(before, after)
    assert before.j_and_f is not None
    assert after.j_and_f is not None
    assert delta is not None
    return f"{before.j_and_f:.3f} → {after.j_and_f:.3f} (−{-delta:.3f})"
