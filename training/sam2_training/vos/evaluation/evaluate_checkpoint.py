"""Evaluates a checkpoint, and a baseline, on one set of videos."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import torch

from sam2_training.core.outputs import OutputFolder
from sam2_training.core.progress_bar import Progress
from sam2_training.core.ranks import Ranks
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.core.terminal import can_show
from sam2_training.core.text import some
from sam2_training.report.data import WORSE_TOLERANCE
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.comparison import Requirement, compared_rows, means, table_lines, worse_objects
from sam2_training.vos.evaluation.evaluation_set import EvaluationSet
from sam2_training.vos.evaluation.evaluator import OnMasks, divide, evaluate
from sam2_training.vos.evaluation.files import (
    SCORES_CSV,
    SCORES_JSON,
    MaskFolder,
    remove_scores,
    result_files,
    write_scores_csv,
    write_scores_json,
)
from sam2_training.vos.evaluation.prompt_spec import PromptSpec
from sam2_training.vos.evaluation.result import EvaluationResult
from sam2_training.vos.evaluation.tracker import FrameMasks
from sam2_training.vos.metrics.scores import Protocol
from sam2_training.vos.model.adapter_files import load_result
from sam2_training.vos.model.build import build_for_inference
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.model.weights import file_sha256


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate, and how."""

    config: VosConfig
    videos: EvaluationSet
    checkpoint: str
    baseline: str | None
    spec: PromptSpec
    protocol: Protocol
    output: OutputFolder
    """For scores and masks; checked."""
    ranks: Ranks
    """Who shares the videos."""
    autocast_dtype: torch.dtype | None
    heartbeat: HeartbeatCallback = no_heartbeat
    """Called after each frame, and while this rank waits for others."""


@dataclass(frozen=True)
class Evaluated:
    """The scores of the checkpoint and, if there is one, of the baseline on the same videos."""

    result: EvaluationResult
    baseline: EvaluationResult | None
    files: dict[str, dict[str, str]]
    """{"checkpoint", "baseline": {"path", "sha256"}}"""

    def means(self) -> dict[str, float]:
        return means(self.result, self.baseline)


def run_evaluation(request: EvaluationRequest) -> Evaluated:
    """Evaluates baseline and checkpoint; writes the checkpoint's masks. Every rank calls it and has all results.

    Raises CheckpointError and DataError.
    """
    ranks = request.ranks
    paths = {"checkpoint": request.checkpoint, **({"baseline": request.baseline} if request.baseline else {})}
    model = build_for_inference(request.config)
    for path in reversed(paths.values()):  # a file that cannot be used is found before anything is tracked
        load_result(model, path, request.config.model)
    files = {name: {"path": path, "sha256": file_sha256(path)} for name, path in paths.items()}
    ranks.on_main(lambda: _begin_results(request))
    model.to(ranks.device)
    folder = MaskFolder(request.output.folder)
    results: dict[str, EvaluationResult] = {}
    lengths = [clip.num_frames for clip in request.videos.clips]
    mine = sum(lengths[number] for number in divide(lengths, ranks.world_size)[ranks.rank])
    unit = "frames" if ranks.world_size == 1 else f"frames of process 1 of {ranks.world_size}"
    # The shares are about equal: the main rank's progress stands for all.
    stream = ranks.choose(sys.stderr, io.StringIO())
    with Progress(mine * len(paths), unit, stream, request.config.trainer.enable_progress_bar) as progress:
        for number, (name, path) in enumerate(paths.items()):
            if number:
                load_result(model, path, request.config.model)
            write = folder.write if name == "checkpoint" else None
            results[name] = _evaluate(request, model, _Counter(progress, number * mine), write)
    return Evaluated(results["checkpoint"], results.get("baseline"), files)


def write_results(
    request: EvaluationRequest,
    evaluated: Evaluated,
    requirements: Sequence[Requirement],
    provenance: Mapping[str, object],
) -> None:
    """Writes scores.csv (a line an object) and scores.json (everything, per frame too) into the output folder."""
    numbers, videos = evaluated.means(), request.videos
    write_scores_csv(request.output.folder / SCORES_CSV, compared_rows(evaluated.result, evaluated.baseline))
    values: dict[str, object] = {
        "split": videos.split,
        "dataset_section": videos.section,
        "num_videos": len(videos.clips),
        "protocol": request.protocol,
        "prompt": str(request.spec),
        "resolution": request.config.model.image_size,
        "autocast": None if request.autocast_dtype is None else str(request.autocast_dtype).removeprefix("torch."),
        **evaluated.files,
        "mean": numbers,
        "requirements": [{"condition": str(one), "holds": one.holds(numbers)} for one in requirements],
        "result": evaluated.result.to_json(),
        "baseline_result": None if evaluated.baseline is None else evaluated.baseline.to_json(),
        "provenance": provenance,
    }
    write_scores_json(request.output.folder / SCORES_JSON, values)


def report_lines(evaluated: Evaluated, stream: TextIO) -> list[str]:
    """The table for a stream, and a warning where the checkpoint is worse than the baseline."""
    lines = table_lines(evaluated.result, evaluated.baseline, "–" if can_show(stream, "–") else "-")
    worse = worse_objects(evaluated.result, evaluated.baseline) if evaluated.baseline is not None else []
    if worse:
        lines.append(f"Worse than the baseline by more than {WORSE_TOLERANCE:g} J&F: {some(worse)}.")
    return lines


def _begin_results(request: EvaluationRequest) -> None:
    request.output.record(result_files(request.videos.clips))
    remove_scores(request.output.folder)


class _Counter:
    """Counts frames of one evaluation for the progress display."""

    def __init__(self, progress: Progress, start: int) -> None:
        self.progress, self.start, self.finished = progress, start, 0

    def frame(self, clip: EvaluationClip, frame: FrameMasks) -> None:
        self.progress.reach(self.start + self.finished + frame.frame_index + 1, clip.name)

    def clip(self, clip: EvaluationClip) -> None:
        """The clip is done; frames that were not tracked, before the first prompt, count as well."""
        self.finished += clip.num_frames
        self.progress.reach(self.start + self.finished, clip.name)


def _evaluate(
    request: EvaluationRequest, model: TrainableSAM2, counter: _Counter, write: OnMasks | None
) -> EvaluationResult:
    clips = {clip.name: clip for clip in request.videos.clips}

    def on_masks(clip: EvaluationClip, frame: FrameMasks) -> None:
        if write is not None:
            write(clip, frame)
        counter.frame(clip, frame)

    return evaluate(
        model,
        request.videos.clips,
        request.ranks,
        request.spec,
        request.protocol,
        autocast_dtype=request.autocast_dtype,
        heartbeat=request.heartbeat,
        num_threads=request.config.num_measuring_threads,
        on_clip=lambda done, total, name: counter.clip(clips[name]),
        on_masks=on_masks,
    )
