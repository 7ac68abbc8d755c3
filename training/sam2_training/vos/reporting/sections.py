"""What the report of a run shows, gathered from its files: scores before and after, curves, film strips, the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from iopath.common.file_io import g_pathmgr
from PIL import Image

from sam2_training.data.index import VideoIndex
from sam2_training.engine.task import RunSummary
from sam2_training.report.curves import training_charts
from sam2_training.report.data import (
    DatasetSummary,
    ReportData,
    ScoreRow,
    Scores,
    ScoreTable,
    worse_warnings,
)
from sam2_training.report.summary import summarize_dataset
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.clips import EvaluationClip, FolderClip
from sam2_training.vos.evaluation.measured_set import MeasuredSet
from sam2_training.vos.evaluation.result import EvaluationResult
from sam2_training.vos.metrics.scores import MeanScore, ObjectScore
from sam2_training.vos.reporting.pictures import film_strips

RELOAD_SECONDS = 60
SHOWN_ROWS = 12
"""Objects that the terminal's table lists; the report and the CSV have all."""
OPENED_VIDEOS = 500


def report_data(
    name: str,
    config: VosConfig,
    sets: Mapping[str, MeasuredSet],
    datasets: Sequence[DatasetSummary],
    summary: RunSummary,
) -> ReportData:
    """Everything the report shows now. datasets: of `describe_datasets`."""
    metrics = summary.metrics
    comparison = score_table("validation", sets["validation"], summary) if "validation" in sets else None
    retention = score_table("retention", sets["retention"], summary) if "retention" in sets else None
    warnings = [line for table in (comparison, retention) if table is not None for line in worse_warnings(table)]
    seconds = sum(float(row["step_seconds"]) for row in metrics) if metrics else None
    running = summary.status == "running"
    pictured = config.visualization.enabled and "validation" in sets
    return ReportData(
        title=name,
        state=summary.status,
        step=summary.step,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        state_note=summary.note,
        max_steps=summary.max_steps,
        elapsed_seconds=seconds,
        comparison=comparison,
        comparison_missing=_why_no_comparison(config, sets),
        retention=retention,
        warnings=warnings,
        strips=film_strips(config, sets["validation"], summary) if pictured else (),
        charts=training_charts(metrics, summary.history),
        datasets=datasets,
        provenance=summary.provenance,
        reload_seconds=RELOAD_SECONDS if running else None,
    )


def _why_no_comparison(config: VosConfig, sets: Mapping[str, MeasuredSet]) -> str:
    if "validation" not in sets:
        return (
            "No videos were set aside: dataset.val_fraction or val_dataset would tell what this training is worth. "
            "training/evaluate.py compares the weights with any others."
        )
    if config.trainer.limit_val_batches == 0:
        return "Validation is switched off (trainer.limit_val_batches=0)."
    return "No validation has run yet."


def score_table(name: str, videos: MeasuredSet, summary: RunSummary) -> ScoreTable | None:
    """The starting weights beside the best (before the first step: beside themselves); None without both."""
    if not summary.history:
        return None
    last_step = int(summary.history[-1]["step"])
    after_step = summary.best_step if summary.best_step is not None else last_step
    before, after = videos.result_of(0), videos.result_of(after_step)
    if after is None:
        return None
    rows = []
    known = {clip.video: clip for clip in before.clips} if before is not None else {}
    for clip in after.clips:
        former = {score.object_id: score for score in known[clip.video].objects} if clip.video in known else {}
        rows += [
            ScoreRow(clip.video, score.object_id, _scores(former.get(score.object_id)), _scores(score))
            for score in clip.objects
        ]
    return ScoreTable(
        name=f"{name} set",
        rows=rows,
        before=_mean(before.mean()) if before is not None else Scores(reason="the starting weights were not measured"),
        after=_mean(after.mean()),
        protocol=_protocol(after, len(rows)),
        before_name="starting weights",
        after_name=f"{'best' if summary.best_step is not None else 'newest'}, step {after_step:,}",
    )


def comparison_lines(table: ScoreTable) -> list[str]:
    """A table for the terminal: video, object, J&F before and after; the first rows and the mean."""
    width = max([len(row.video) for row in table.rows] + [len("mean of all objects")]) + 2
    lines = [f"# {table.name}: J&F of the {table.before_name} and of the {table.after_name}"]
    for row in table.rows[:SHOWN_ROWS]:
        label = f"{row.video:<{width}}{row.object_id:>5}"
        lines.append(f"{label}  {_number(row.before)}  {_number(row.after)}  {_delta(row.delta)}")
    if len(table.rows) > SHOWN_ROWS:
        lines.append(f"... and {len(table.rows) - SHOWN_ROWS} more objects, in the report")
    label = f"{'mean of all objects':<{width}}{'':>5}"
    return [*lines, f"{label}  {_number(table.before)}  {_number(table.after)}  {_delta(table.delta)}"]


def _number(scores: Scores) -> str:
    return f"{'–':>6}" if scores.j_and_f is None else f"{scores.j_and_f:6.3f}"


def _delta(delta: float | None) -> str:
    return f"{'–':>7}" if delta is None else f"{delta:+7.3f}"


def _scores(score: ObjectScore | None) -> Scores:
    if score is None:
        return Scores(reason="not measured")
    return Scores(score.j, score.f, score.j_and_f, score.reason or "" if score.j is None else "")


def _mean(mean: MeanScore) -> Scores:
    reason = "" if mean.j_and_f is not None else "no object has a score"
    return Scores(mean.j, mean.f, mean.j_and_f, reason)


def _protocol(result: EvaluationResult, num_objects: int) -> str:
    rule = {
        "davis": "DAVIS rule: an object's first frame and the video's last are left out",
        "sav": "SA-V rule: an object's first frame is left out",
    }[result.protocol]
    counts = f"{_count(len(result.clips), 'video')}, {_count(num_objects, 'object')}"
    return f"{counts}, prompt: {result.prompt}. {rule}; mean over objects."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def describe_datasets(training_index: VideoIndex | None, sets: Mapping[str, MeasuredSet]) -> list[DatasetSummary]:
    """Summaries of training, validation and retention set.

    Opens a file of each video, but of no more than OPENED_VIDEOS of the training set: there may be tens of thousands
    on a slow store.
    """
    found = []
    if training_index is not None:
        areas = [training_index.table.areas_of(number) for number in range(len(training_index))]
        opened = range(0, len(areas), 1 + (len(areas) - 1) // OPENED_VIDEOS)
        pixels = {number: _num_pixels(training_index.image_path(training_index.video(number), 0)) for number in opened}
        found.append(_summary("training set", areas, pixels))
    for name, videos in sets.items():
        areas = [np.where(clip.labeled, _areas(clip), -1) for clip in videos.clips]
        pixels = {number: int(np.prod(clip.read_frame(0).shape[:2])) for number, clip in enumerate(videos.clips)}
        found.append(_summary(f"{name} set", areas, pixels))
    return found


def _areas(clip: EvaluationClip) -> npt.NDArray[np.int64]:
    """[T, N]: pixels of each object in each frame, as the index knows them, or counted for a generated clip."""
    if isinstance(clip, FolderClip):
        return np.asarray(clip.video.areas, np.int64)
    return np.stack([clip.truth(t).sum(axis=(1, 2), dtype=np.int64) for t in range(clip.num_frames)])


def _num_pixels(path: str) -> int:
    """Width times height of an image file, from its header."""
    with g_pathmgr.open(path, "rb") as file, Image.open(file) as image:
        width, height = image.size
    return int(width * height)


def _summary(name: str, areas: Sequence[npt.NDArray[Any]], num_pixels: Mapping[int, int]) -> DatasetSummary:
    """areas: for each video [T, N], pixels where visible, 0 absent, -1 unlabeled. num_pixels: of a frame of those
    videos that objects' sizes are counted in."""
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
    )
