"""Scores before and after, for the report and for the terminal."""

from __future__ import annotations

from sam2_training.core.text import count
from sam2_training.engine.task import RunSummary
from sam2_training.pictures.palette import hex_color
from sam2_training.report.data import ScoreRow, Scores, ScoreTable
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.measured_set import MeasuredSet
from sam2_training.vos.evaluation.result import EvaluationResult
from sam2_training.vos.metrics.names import TITLES
from sam2_training.vos.metrics.scores import MeanScore, ObjectScore

SHOWN_ROWS = 12
"""Objects that the terminal's table lists; the report and the CSV have all."""


def compared_step(summary: RunSummary) -> int:
    """The step whose weights are compared with the starting ones: the best, or the newest if none are better."""
    return summary.best_step or _newest_step(summary)


def start_stays_best(config: VosConfig, summary: RunSummary) -> list[str]:
    """A sentence if the starting weights are still the best by the first of checkpoint.monitor."""
    if summary.best_step != 0 or _newest_step(summary) == 0:
        return []
    metric = config.checkpoint.monitor[0]
    first, newest = (_text(summary.history[place].get(metric)) for place in (0, -1))
    return [
        f"No validation was better than that of the starting weights: {metric} {first}, after step "
        f"{_newest_step(summary):,} {newest}. The starting weights stay the best ones."
    ]


def score_table(name: str, videos: MeasuredSet, summary: RunSummary) -> ScoreTable | None:
    """Scores of a set with the starting and the best weights; None if the set has not been measured yet."""
    if not summary.history:
        return None
    after_step = compared_step(summary)
    before, after = videos.result_of(0), videos.result_of(after_step)
    if after is None:
        return None
    rows = []
    known = {clip.video: clip for clip in before.clips} if before is not None else {}
    for clip in after.clips:
        former = {score.object_id: score for score in known[clip.video].objects} if clip.video in known else {}
        folders = clip.object_folders or [""] * len(clip.objects)
        rows += [
            ScoreRow(
                clip.video,
                f"{score.object_id} ({folder})" if folder else str(score.object_id),
                _scores(former.get(score.object_id)),
                _scores(score),
                hex_color(score.object_id),
            )
            for score, folder in zip(clip.objects, folders, strict=True)
        ]
    return ScoreTable(
        name=f"{name} set",
        metrics=tuple(TITLES.values()),
        rows=rows,
        before=_mean(before.mean()) if before is not None else Scores(reason="the starting weights were not measured"),
        after=_mean(after.mean()),
        protocol=_protocol(after, len(rows)),
        before_name="starting weights",
        after_name=f"{'best' if summary.best_step else 'newest'}, step {after_step:,}",
    )


def comparison_lines(table: ScoreTable) -> list[str]:
    """A table for the terminal: video, object, J&F before and after; the first rows and the mean."""
    width = max([len(row.group) for row in table.rows] + [len("mean of all objects")]) + 2
    lines = [f"# {table.name}: J&F of the {table.before_name} and of the {table.after_name}"]
    for row in table.rows[:SHOWN_ROWS]:
        label = f"{row.group:<{width}}{row.item:>5}"
        lines.append(f"{label}  {_number(row.before)}  {_number(row.after)}  {_delta(row.delta)}")
    if len(table.rows) > SHOWN_ROWS:
        lines.append(f"... and {len(table.rows) - SHOWN_ROWS} more objects, in the report")
    label = f"{'mean of all objects':<{width}}{'':>5}"
    return [*lines, f"{label}  {_number(table.before)}  {_number(table.after)}  {_delta(table.delta)}"]


def _newest_step(summary: RunSummary) -> int:
    return int(summary.history[-1]["step"]) if summary.history else 0


def _text(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3f}"


def _number(scores: Scores) -> str:
    return f"{'–':>6}" if scores.main is None else f"{scores.main:6.3f}"


def _delta(delta: float | None) -> str:
    return f"{'–':>7}" if delta is None else f"{delta:+7.3f}"


def _scores(score: ObjectScore | None) -> Scores:
    if score is None:
        return Scores(reason="not measured")
    return Scores(_values(score), score.reason or "" if score.j is None else "")


def _values(scores: ObjectScore | MeanScore) -> list[float | None]:
    return [getattr(scores, name) for name in TITLES]


def _mean(mean: MeanScore) -> Scores:
    reason = "" if mean.j_and_f is not None else "no object has a score"
    return Scores(_values(mean), reason)


def _protocol(result: EvaluationResult, num_objects: int) -> str:
    protocol = {
        "davis": "DAVIS protocol: an object's first frame and the video's last do not count",
        "sav": "SA-V protocol: an object's first frame does not count",
    }[result.protocol]
    counts = f"{count(len(result.clips), 'video')}, {count(num_objects, 'object')}"
    return f"{counts}, prompt: {result.prompt}. {protocol}; mean over objects."
