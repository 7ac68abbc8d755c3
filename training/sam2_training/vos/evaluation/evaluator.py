"""Evaluates a network on whole videos: prompts, tracking and scores of every clip, divided over ranks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import torch

from sam2_training.core.errors import DataError
from sam2_training.core.ranks import Ranks
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.core.text import some
from sam2_training.data.source import FrameLabels
from sam2_training.vos.evaluation.clips import EvaluationClip, first_frame
from sam2_training.vos.evaluation.interactive import track_interactively
from sam2_training.vos.evaluation.prompt_spec import PromptSpec
from sam2_training.vos.evaluation.prompts import Click, Mask, Prompt, corrective_click, prompt_from_ground_truth
from sam2_training.vos.evaluation.result import ClipResult, EvaluationResult
from sam2_training.vos.evaluation.scoring import ClipScorer
from sam2_training.vos.evaluation.tracker import FrameMasks, VideoTracker
from sam2_training.vos.metrics.scores import Protocol
from sam2_training.vos.model.tracker import TrainableSAM2

OnClip = Callable[[int, int, str], None]
"""(done, total, name): after each clip; both count this rank's own clips."""
OnMasks = Callable[[EvaluationClip, FrameMasks], None]
"""Each frame's masks, in order, on the rank that tracked them; not called for frames before a clip's first prompt."""


def evaluate(
    model: TrainableSAM2,
    clips: Sequence[EvaluationClip],
    ranks: Ranks,
    spec: PromptSpec,
    protocol: Protocol = "davis",
    *,
    autocast_dtype: torch.dtype | None = None,
    on_clip: OnClip | None = None,
    on_masks: OnMasks | None = None,
    heartbeat: HeartbeatCallback = no_heartbeat,
    num_threads: int = 1,
) -> EvaluationResult:
    """The scores of all clips, equal on all ranks; every rank must call this with the same clips.

    model: on ranks.device; its weights and modes and the random number generators stay as they are. Each object
    starts in the first frame that shows it. heartbeat: called after each frame, and while this rank waits for the
    others; what it raises ends the evaluation on all. num_threads: that read frames ahead. Raises DataError if there
    is no clip or two have one name, and, on every rank, the first expected failure of any rank.
    """
    _check(clips)
    tracker = VideoTracker(model, ranks.device, autocast_dtype, num_threads=num_threads)
    mine = divide([clip.num_frames for clip in clips], ranks.world_size)[ranks.rank]

    def evaluate_mine(heartbeat: HeartbeatCallback) -> dict[int, ClipResult]:
        def on_frame(clip: EvaluationClip, frame: FrameMasks) -> None:
            heartbeat()
            if on_masks is not None:
                on_masks(clip, frame)

        found = {}
        for done, number in enumerate(mine, 1):
            found[number] = evaluate_clip(tracker, clips[number], spec, protocol, on_frame)
            if on_clip is not None:
                on_clip(done, len(mine), clips[number].name)
        return found

    merged = {
        number: result
        for part in ranks.collect_with_heartbeat(evaluate_mine, heartbeat)
        for number, result in part.items()
    }
    return EvaluationResult(str(spec), protocol, tuple(merged[number] for number in range(len(clips))))


def divide(lengths: Sequence[int], num_ranks: int) -> list[list[int]]:
    """For each rank the numbers of its clips, in its order: longest first, each to the rank with the least to do."""
    shares: list[list[int]] = [[] for _ in range(num_ranks)]
    loads = [0] * num_ranks
    for number in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        rank = loads.index(min(loads))
        shares[rank].append(number)
        loads[rank] += lengths[number]
    return shares


def evaluate_clip(
    tracker: VideoTracker,
    clip: EvaluationClip,
    spec: PromptSpec,
    protocol: Protocol = "davis",
    on_masks: OnMasks | None = None,
) -> ClipResult:
    """One clip's scores. Raises DataError for files that cannot be used."""
    began = time.monotonic()
    prompts, labels = _first_prompts(clip, spec)
    if spec.kind == "interactive":
        frames = track_interactively(tracker, clip, prompts, spec.count)
    else:
        frames = tracker.track(clip, prompts, _clicker(spec, clip.object_ids, labels))
    with closing(ClipScorer(clip, protocol)) as scorer:
        for frame in frames:
            if on_masks is not None:
                on_masks(clip, frame)
            scorer.add(frame)
        result = ClipResult(clip.name, clip.num_frames, scorer.scores(), clip.object_folders)
    return replace(result, seconds=time.monotonic() - began)


def _check(clips: Sequence[EvaluationClip]) -> None:
    if not clips:
        raise DataError("there is no video to evaluate")
    names = [clip.name for clip in clips]
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise DataError(f"two videos to evaluate have the same name: {some(twice)}")


def _first_prompts(clip: EvaluationClip, spec: PromptSpec) -> tuple[list[Prompt], dict[int, FrameLabels]]:
    """Each object's prompt on its first frame and the labels there, for objects that some frame shows."""
    prompts, labels = [], {}
    for n, object_id in enumerate(clip.object_ids):
        start = first_frame(clip, n)
        if start is not None:
            labels[object_id] = clip.labels(start)
            prompts.append(prompt_from_ground_truth(spec, object_id, start, labels[object_id].masks[n]))
    return prompts, labels


def _clicker(
    spec: PromptSpec, object_ids: Sequence[int], labels: dict[int, FrameLabels]
) -> Callable[[int, int, Mask], Click | None] | None:
    """Simulates the clicks after the first on an object's first frame; None if there are none."""
    if spec.kind != "click" or spec.count == 1:
        return None
    left = dict.fromkeys(labels, spec.count - 1)

    def click(object_id: int, frame_index: int, predicted: Mask) -> Click | None:
        if left[object_id] == 0:
            return None
        left[object_id] -= 1
        own, n = labels[object_id], object_ids.index(object_id)
        return corrective_click(own.masks[n], own.without_ignored(predicted, n))

    return click
