"""J, F and J&F of predicted masks by the protocols of DAVIS and SA-V, and IoU, Dice and presence accuracy.

J is region similarity (intersection over union), F boundary accuracy, J&F their mean: Perazzi et al., CVPR 2016;
means over objects as in Pont-Tuset et al., "The 2017 DAVIS Challenge", 2017. A frame where neither mask has a pixel
counts J = F = 1. What cannot be computed is None with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2_training.core.errors import DataError
from sam2_training.vos.metrics.boundary import Scratch, boundary_f

Protocol = Literal["davis", "sav"]
"""Which frames count: see `scored_frames`."""


@dataclass(frozen=True)
class FrameScore:
    """The score of one object in one frame."""

    j: float
    f: float
    dice: float
    in_ground_truth: bool
    """Whether the ground truth has a pixel."""
    in_prediction: bool
    """Whether the prediction has a pixel."""


@dataclass(frozen=True)
class ObjectScore:
    """An object's scores over a clip. `j is None` tells that it has none; each number that is None is explained."""

    object_id: int
    frames: tuple[int, ...]
    """Indices of the frames that were scored."""
    j_per_frame: tuple[float, ...]
    """One for each of `frames`."""
    f_per_frame: tuple[float, ...]
    j: float | None
    """Mean over `frames`, as are f, j_and_f and presence_accuracy."""
    f: float | None
    j_and_f: float | None
    iou: float | None
    """Mean over the `frames` in which ground truth or prediction shows the object: an empty frame is no success."""
    dice: float | None
    """Twice the intersection by the sum of the areas; mean over the same frames as iou."""
    presence_accuracy: float | None
    """Fraction of `frames` in which prediction and ground truth agree whether the object is there."""
    reason: str | None
    """Why numbers are absent; None when all are there. An object that neither ground truth nor prediction shows in any
    of `frames` has j and f (1 by the rule for empty frames) but no iou and dice."""


@dataclass(frozen=True)
class MeanScore:
    """Means over objects; each number over the objects that have it, None when none has."""

    j: float | None
    f: float | None
    j_and_f: float | None
    iou: float | None
    dice: float | None
    presence_accuracy: float | None
    num_objects: int
    """How many objects j, f and j_and_f are the mean of."""
    num_without_score: int
    """Objects left out because they have no j."""


def region_similarity(mask: NDArray[np.bool_], ground_truth: NDArray[np.bool_]) -> float:
    """J of one frame: intersection over union, 1 where both are empty. mask, ground_truth: bool [H, W]."""
    return _overlap(mask.view(np.uint8), ground_truth.view(np.uint8), Scratch())[0]


def frame_score(
    mask: NDArray[np.bool_], ground_truth: NDArray[np.bool_], radius: int, scratch: Scratch | None = None
) -> FrameScore:
    """One frame's score. mask, ground_truth: bool [H, W], not checked; radius: tolerance of F in pixels
    (`tolerance_pixels`).

    For callers that do not keep a clip's masks: score frame by frame, then `score_from_frames`. scratch: working
    memory to use again, of this thread alone.
    """
    scratch = scratch or Scratch()
    ours, theirs = mask.view(np.uint8), ground_truth.view(np.uint8)
    shown = cv2.bitwise_or(ours, theirs, dst=scratch.array("shown", *mask.shape))
    left, top, width, height = cv2.boundingRect(shown)
    # One pixel more on each side, where the image has it, leaves every outline as it is in the whole image: outlines
    # are at most a pixel outside a mask, and only their points are ever compared. Nothing shown: one corner pixel.
    rows, columns = slice(max(top - 1, 0), top + height + 1), slice(max(left - 1, 0), left + width + 1)
    ours, theirs = ours[rows, columns], theirs[rows, columns]
    j, dice = _overlap(ours, theirs, scratch)
    in_ground_truth, in_prediction = cv2.countNonZero(theirs) > 0, cv2.countNonZero(ours) > 0
    return FrameScore(j, boundary_f(ours, theirs, radius, scratch), dice, in_ground_truth, in_prediction)


def scored_frames(labeled: NDArray[np.bool_], first_frame: int, num_frames: int, protocol: Protocol) -> list[int]:
    """Indices of the frames that count, in order. labeled: [T]; first_frame: where the object was prompted.

    "davis": labeled frames after the prompt, but for the clip's last frame (the semi-supervised rule of DAVIS 2017).
    "sav": labeled frames after the prompt, the clip's last included. (The evaluation published with SA-V leaves out
    the last annotated frame too unless it is told otherwise.)
    Raises DataError if `labeled` is not one value a frame, ValueError for a frame or protocol that is none.
    """
    if protocol not in get_args(Protocol):
        raise ValueError(f"protocol {protocol!r} is unknown; choose from {', '.join(get_args(Protocol))}")
    if np.shape(labeled) != (num_frames,):
        raise DataError(
            f"the clip has {num_frames} frames, but the list of labeled frames has the shape {np.shape(labeled)}. "
            "Give one value for each frame."
        )
    if not 0 <= first_frame < num_frames:
        raise ValueError(f"first_frame={first_frame} is no frame of a clip of {num_frames}")
    end = num_frames - 1 if protocol == "davis" else num_frames
    return [frame for frame in range(first_frame + 1, end) if labeled[frame]]


def why_unscored(
    labeled: NDArray[np.bool_], visible: NDArray[np.bool_], first_frame: int | None, protocol: Protocol
) -> str | None:
    """Why no frame of an object counts; None if one does.

    labeled, visible: bool [T]: frames with a ground truth, and those in which it has a pixel. first_frame: where the
    object was prompted; None if it is visible nowhere.
    """
    num_labeled = int(labeled.sum())
    if not num_labeled:
        return "the object is labeled in no frame"
    if first_frame is None or not visible.any():
        return f"the ground truth is empty: the object has no pixel in any of its {num_labeled} labeled frames"
    if scored_frames(labeled, first_frame, len(labeled), protocol):
        return None
    if len(labeled) == 1:
        return "the video has one frame, and the prompted frame does not count"
    if not labeled[first_frame + 1 :].any():
        return f"no frame after the prompt in frame {first_frame} is labeled"
    return (
        f"only the video's last frame is labeled after the prompt in frame {first_frame}, and the protocol {protocol} "
        "leaves it out"
    )


def score_from_frames(object_id: int, scores: Mapping[int, FrameScore], reason: str | None = None) -> ObjectScore:
    """An object's score from its frames': {frame index: score} of the frames that count (`scored_frames`).

    reason: why there are none, which stands in the result when `scores` is empty.
    """
    if not scores:
        reason = reason or "no frame counts"
        return ObjectScore(object_id, (), (), (), None, None, None, None, None, None, reason)
    frames = tuple(sorted(scores))
    ordered = [scores[frame] for frame in frames]
    shown = [score for score in ordered if score.in_ground_truth or score.in_prediction]
    j, f = _mean([score.j for score in ordered]), _mean([score.f for score in ordered])
    return ObjectScore(
        object_id=object_id,
        frames=frames,
        j_per_frame=tuple(score.j for score in ordered),
        f_per_frame=tuple(score.f for score in ordered),
        j=j,
        f=f,
        j_and_f=_mean([j, f]),
        iou=_mean([score.j for score in shown]),
        dice=_mean([score.dice for score in shown]),
        presence_accuracy=_mean([float(score.in_ground_truth == score.in_prediction) for score in ordered]),
        reason=None
        if shown
        else "no IoU and Dice: neither ground truth nor prediction shows the object in a scored frame",
    )


def mean_score(scores: Sequence[ObjectScore]) -> MeanScore:
    """The mean over objects, each counting the same whatever the length of its clip, as in DAVIS.

    Objects without a score are left out and counted.
    """
    scored = [score for score in scores if score.j is not None]
    return MeanScore(
        j=_mean([score.j for score in scored]),
        f=_mean([score.f for score in scored]),
        j_and_f=_mean([score.j_and_f for score in scored]),
        iou=_mean([score.iou for score in scored]),
        dice=_mean([score.dice for score in scored]),
        presence_accuracy=_mean([score.presence_accuracy for score in scored]),
        num_objects=len(scored),
        num_without_score=len(scores) - len(scored),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are there; None if none is."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _overlap(mask: NDArray[np.uint8], ground_truth: NDArray[np.uint8], scratch: Scratch) -> tuple[float, float]:
    """Intersection over union, and twice the intersection over the sum of the areas; 1 and 1 where both are empty."""
    total = cv2.countNonZero(mask) + cv2.countNonZero(ground_truth)
    both = cv2.countNonZero(cv2.bitwise_and(mask, ground_truth, dst=scratch.array("both", *mask.shape)))
    return (both / (total - both), 2 * both / total) if total else (1.0, 1.0)
