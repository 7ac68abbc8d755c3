"""Scores of whole clips held in memory, made of the functions that score frame by frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sam2_training.vos.metrics import scores
from sam2_training.vos.metrics.boundary import TOLERANCE, Scratch, tolerance_pixels
from sam2_training.vos.metrics.scores import (
    ObjectScore,
    Protocol,
    frame_score,
    score_from_frames,
    scored_frames,
    why_unscored,
)

Masks = NDArray[np.bool_]
"""[T, H, W]"""


def score_object(
    object_id: int,
    masks: Masks,
    truth: Masks,
    labeled: NDArray[np.bool_],
    first_frame: int,
    protocol: Protocol = "davis",
) -> ObjectScore:
    """The score of one object over the frames that count, as an evaluation computes it."""
    frames = scored_frames(labeled, first_frame, len(masks), protocol)
    visible = truth.any((1, 2)) & labeled
    reason = why_unscored(labeled, visible, first_frame if visible.any() else None, protocol)
    radius, scratch = tolerance_pixels(truth.shape[1], truth.shape[2]), Scratch()
    counted = {} if reason else {t: frame_score(masks[t], truth[t], radius, scratch) for t in frames}
    return score_from_frames(object_id, counted, reason)


def region_similarity(masks: Masks, truth: Masks) -> NDArray[np.float64]:
    """J of each frame, [T]."""
    return np.array([scores.region_similarity(*pair) for pair in zip(masks, truth, strict=True)], np.float64)


def boundary_accuracy(masks: Masks, truth: Masks, tolerance: float = TOLERANCE) -> NDArray[np.float64]:
    """F of each frame, [T]. tolerance: fraction of the image's diagonal."""
    radius = tolerance_pixels(truth.shape[1], truth.shape[2], tolerance)
    scratch = Scratch()
    return np.array([frame_score(*pair, radius, scratch).f for pair in zip(masks, truth, strict=True)], np.float64)
