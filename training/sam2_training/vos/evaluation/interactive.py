"""Simulated interactive annotation: track, click on the worst frame, track again.

Works like stock's predictor with `add_all_frames_to_correct_as_cond=True`, which is how SAM 2 is trained: a frame with
a click becomes a conditioning frame, and the prediction for the click uses the memory that the network had when it
tracked that frame. (With stock's default, False, the next propagation discards a correction.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.prompts import Click, Mask, Prompt, corrective_click
from sam2_training.vos.evaluation.tracked_objects import TrackedObjects
from sam2_training.vos.evaluation.tracker import FrameMasks, TrackingSession, VideoTracker, check_prompts
from sam2_training.vos.metrics.scores import region_similarity
from sam2_training.vos.sam2.inference import inference_settings


@dataclass
class Worst:
    """An object's labeled frame with the lowest J in a pass; of equal ones the earliest."""

    j: float
    frame_index: int
    predicted: Mask
    ground_truth: Mask
    snapshot: TrackedObjects

    def click(self) -> Click | None:
        return corrective_click(self.ground_truth, self.predicted)


def track_interactively(
    tracker: VideoTracker, clip: EvaluationClip, prompts: Sequence[Prompt], rounds: int
) -> Iterator[FrameMasks]:
    """Masks of the last pass, as `VideoTracker.track` gives them; `rounds` passes with one click each come before it.

    prompts: one for each object. Each round clicks on every object's labeled frame of lowest J, on what is wrong
    there; an object without any error gets no click.
    """
    check_prompts(clip, prompts)
    order = {prompt.object_id: n for n, prompt in enumerate(prompts)}
    tracks = [TrackedObjects((prompt.object_id,), [[prompt]]) for prompt in prompts]
    with inference_settings(tracker.model), closing(tracker.open(clip)) as session:
        for _ in range(rounds):
            worst = _worst_frames(session, tracks, clip)
            clicks = {object_id: found.click() for object_id, found in worst.items()}
            for track in tracks:
                object_id = track.object_ids[0]
                click = clicks.get(object_id)
                if click is not None:
                    found = worst[object_id]
                    session.correct(track, found.snapshot, found.frame_index, click)
                track.rewind()
            if not any(clicks.values()):
                break
        for frame_index, predictions in session.run(tracks):
            yield session.masks(frame_index, predictions, order)


def _worst_frames(session: TrackingSession, tracks: Sequence[TrackedObjects], clip: EvaluationClip) -> dict[int, Worst]:
    """Runs one pass: each object's worst frame by object id, with its track as it was then."""
    worst: dict[int, Worst] = {}
    for frame_index, predictions in session.run(tracks):
        if not clip.labeled[frame_index].any():
            continue
        labels = clip.labels(frame_index)
        for track, prediction in predictions:
            object_id = track.object_ids[0]
            n = clip.object_ids.index(object_id)
            if not clip.labeled[frame_index, n]:
                continue
            predicted = labels.without_ignored(session.at_video_size(prediction.low_res)[0], n)
            ground_truth = labels.masks[n]
            j = region_similarity(predicted, ground_truth)
            if object_id not in worst or j < worst[object_id].j:
                worst[object_id] = Worst(j, frame_index, predicted, np.asarray(ground_truth), track.snapshot())
    return worst
