"""The data summary: what a set of videos holds, as facts and histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from sam2_training.report.data import DatasetSummary, Histogram

AREA_EDGES_PERCENT = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
"""Bounds of the bins of object sizes: per cent of the frame's area, two bins a decade."""
MAX_LENGTH_BINS = 8
NICE_WIDTHS = (1, 2, 5)


def summarize_dataset(
    name: str,
    clip_lengths: Sequence[int],
    object_areas: Sequence[float],
    *,
    num_objects: int,
    visible: int,
    absent: int,
    unlabeled: int,
    facts: dict[str, str | int | float] | None = None,
) -> DatasetSummary:
    """Facts and three histograms: frames a clip, sizes of objects, states of labels.

    clip_lengths: frames of each video. object_areas: for each visible object in a frame its share of the frame's
    area, 0 to 1. visible, absent, unlabeled: numbers of (object, frame) pairs. facts: shown after the counts.
    """
    counted: dict[str, str | int | float] = {
        "videos": len(clip_lengths),
        "frames": sum(clip_lengths),
        "objects": num_objects,
    }
    states = Histogram(
        "Labels of objects in frames",
        ("visible", "absent", "unlabeled"),
        (visible, absent, unlabeled),
        note="absent: the frame is labeled and the object is not in it; unlabeled frames give no loss",
    )
    histograms = (_lengths(clip_lengths), _areas(object_areas), states)
    return DatasetSummary(name, counted | (facts or {}), histograms)


def _lengths(lengths: Sequence[int]) -> Histogram:
    width = _bin_width(min(lengths, default=0), max(lengths, default=0))
    first = min(lengths, default=0) // width
    last = max(lengths, default=0) // width
    counts = [sum(length // width == number for length in lengths) for number in range(first, last + 1)]
    labels = [
        str(number) if width == 1 else f"{number * width}–{(number + 1) * width - 1}"
        for number in range(first, last + 1)
    ]
    return Histogram("Clip lengths", tuple(labels), tuple(counts), "frames", "number of clips")


def _bin_width(low: int, high: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, ... that needs at most MAX_LENGTH_BINS bins."""
    for power in range(12):
        for nice in NICE_WIDTHS:
            width = nice * 10**power
            if high // width - low // width < MAX_LENGTH_BINS:
                return int(width)
    raise ValueError(f"clip lengths from {low} to {high} frames")


def _areas(shares: Sequence[float]) -> Histogram:
    edges = (-math.inf, *AREA_EDGES_PERCENT, math.inf)
    counts = [sum(low <= 100 * share < high for share in shares) for low, high in pairwise(edges)]
    labels = [
        f"under {edges[1]:g}",
        *(f"{low:g}–{high:g}" for low, high in pairwise(AREA_EDGES_PERCENT)),
        f"over {edges[-2]:g}",
    ]
    return Histogram("Sizes of objects", labels, counts, "% of the frame", "number of masks")
