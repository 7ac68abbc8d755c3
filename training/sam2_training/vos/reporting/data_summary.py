"""The data summary: numbers and histograms of a set of videos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sam2_training.data.index import VideoIndex
from sam2_training.data.label_report import LabelReport
from sam2_training.report.data import DatasetSummary, Histogram
from sam2_training.vos.evaluation.measured_set import MeasuredSet

AREA_EDGES_PERCENT = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
"""Bounds of the bins of object sizes: per cent of the frame's area, two bins a decade."""
MAX_LENGTH_BINS = 8
OPENED_VIDEOS = 500
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
    more: dict[str, str | int | float] | None = None,
    notes: Sequence[str] = (),
) -> DatasetSummary:
    """Totals and three histograms: frames per clip, sizes of objects, states of labels.

    clip_lengths: frames of each video. object_areas: for each visible object in a frame its share of the frame's
    area, 0 to 1. visible, absent, unlabeled: numbers of (object, frame) pairs. more and notes: shown after the
    totals.
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
    histograms = (_length_histogram(clip_lengths), _size_histogram(object_areas), states)
    return DatasetSummary(name, counted | (more or {}), histograms, notes)


def _length_histogram(lengths: Sequence[int]) -> Histogram:
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


def _size_histogram(shares: Sequence[float]) -> Histogram:
    edges = (-math.inf, *AREA_EDGES_PERCENT, math.inf)
    counts = [sum(low <= 100 * share < high for share in shares) for low, high in pairwise(edges)]
    labels = [
        f"under {edges[1]:g}",
        *(f"{low:g}–{high:g}" for low, high in pairwise(AREA_EDGES_PERCENT)),
        f"over {edges[-2]:g}",
    ]
    return Histogram("Sizes of objects", labels, counts, "% of the frame", "number of masks")


def describe_datasets(
    training_indexes: Mapping[str, VideoIndex], sets: Mapping[str, MeasuredSet]
) -> list[DatasetSummary]:
    """Summaries of training, validation and retention sets; a generated training set is left out.

    training_indexes: {name: videos}.

    Opens a file of each video, but of no more than OPENED_VIDEOS of the training set: there may be tens of thousands
    on a slow store.
    """
    found = []
    for name, training_index in training_indexes.items():
        if training_index.source.on_demand:
            continue
        areas = [training_index.table.areas_of(number) for number in range(len(training_index))]
        opened = range(0, len(areas), 1 + (len(areas) - 1) // OPENED_VIDEOS)
        pixels = {number: _num_pixels(training_index, number) for number in opened}
        found.append(_summary(name, areas, pixels, training_index))
    for name, videos in sets.items():
        areas = [clip.video.areas for clip in videos.clips]
        pixels = {number: int(np.prod(clip.read_frame(0).shape[:2])) for number, clip in enumerate(videos.clips)}
        found.append(_summary(f"{name} set", areas, pixels, videos.clips[0].index))
    return found


def label_reports(
    training_indexes: Mapping[str, VideoIndex], sets: Mapping[str, MeasuredSet]
) -> dict[str, LabelReport]:
    """{name: label report} of each dataset; videos that are held out are in the training set's."""
    found = {name: index.label_report for name, index in training_indexes.items()}
    for name, videos in sets.items():
        report = videos.clips[0].index.label_report
        if report not in found.values():
            found[f"{name} set"] = report
    return found


def _num_pixels(index: VideoIndex, number: int) -> int:
    """Width times height of a video's frames."""
    video = index.video(number)
    if video.size is not None:
        return video.size[0] * video.size[1]
    return int(np.prod(index.frame(video, 0).shape[:2]))


def _summary(
    name: str, areas: Sequence[npt.NDArray[np.integer]], num_pixels: Mapping[int, int], index: VideoIndex
) -> DatasetSummary:
    """The summary of a set of videos.

    areas: for each video [T, N], pixels where visible, 0 absent, -1 unlabeled. num_pixels: {number of a video: pixels
    of a frame} for the videos whose objects' sizes are counted. index: whose remarks are shown.
    """
    shares: list[float] = []
    for number, pixels in num_pixels.items():
        shares += (areas[number][areas[number] > 0] / pixels).tolist()
    if len(num_pixels) < len(areas):
        name += f" (sizes of objects: of {len(num_pixels):,} of the {len(areas):,} videos)"
    return summarize_dataset(
        name,
        [len(video) for video in areas],
        shares,
        num_objects=sum(video.shape[1] for video in areas),
        visible=sum(int((video > 0).sum()) for video in areas),
        absent=sum(int((video == 0).sum()) for video in areas),
        unlabeled=sum(int((video < 0).sum()) for video in areas),
        notes=[*(f"left out: {line}" for line in index.skipped), *index.pairing_remarks()],
    )
