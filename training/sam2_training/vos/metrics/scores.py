"""J, F and J&F of predicted masks by the rules of DAVIS and SA-V, and IoU, Dice and presence accuracy.

J is region similarity (intersection over union), F boundary accuracy, J&F their mean: Perazzi et al., CVPR 2016;
means over objects as in Pont-Tuset et al., "The 2017 DAVIS Challenge", 2017. A frame where neither mask has a pixel
counts J = F = 1. What cannot be computed is None with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2_training.core.errors import DataError
from sam2_training.vos.metrics.boundary import TOLERANCE, Scratch, boundary_f, tolerance_pixels

Protocol = Literal["davis", "sav"]
"""Which frames count: see `scored_frames`."""


@dataclass(frozen=True)
class FrameScore:
    """What one frame says about one object."""

    j: float
    f: float
    dice: float
    in_truth: bool
    """Whether the truth has a pixel."""
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
    """Mean over those of `frames` in which truth or prediction shows the object: no frame is right for being empty."""
    dice: float | None
    """Twice the intersection by the sum of the areas; mean over the same frames as iou."""
    presence_accuracy: float | None
    """Fraction of `frames` in which prediction and truth agree whether the object is there."""
    reason: str | None
    """Why numbers are absent; None when all are there. An object that neither truth nor prediction shows in any of
    `frames` has j and f (1 by the rule for empty frames) but no iou and dice."""


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class ObjectTrack:
    """One object's masks in a clip, as `score_object` takes them."""

    object_id: int
    masks: NDArray[np.bool_]
    """Predicted, [T, H, W]."""
    truth: NDArray[np.bool_]
    """[T, H, W]; looked at in labeled frames only."""
    labeled: NDArray[np.bool_]
    """Frames that have a truth, [T]."""
    first_frame: int
    """Index of the frame in which the object was prompted."""


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


def region_similarity(masks: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """J of each frame, [T]: intersection over union, 1 where both are empty. masks, truth: [T, H, W].

    Raises DataError if the sizes differ, TypeError if the values are not bool.
    """
    _check_masks(masks, truth, "the clip")
    scratch = Scratch()
    pairs = zip(masks.view(np.uint8), truth.view(np.uint8), strict=True)
    return np.array([_overlap(mask, true, scratch)[0] for mask, true in pairs], np.float64)


def boundary_accuracy(
    masks: NDArray[np.bool_], truth: NDArray[np.bool_], tolerance: float = TOLERANCE
) -> NDArray[np.float64]:
    """F of each frame, [T]: see `boundary_f`. masks, truth: [T, H, W]; tolerance: fraction of the image's diagonal.

    Raises DataError if the sizes differ, TypeError if the values are not bool, ValueError for a tolerance that is not
    in [0, 1).
    """
    _check_masks(masks, truth, "the clip")
    radius = tolerance_pixels(masks.shape[1], masks.shape[2], tolerance)
    scratch = Scratch()
    pairs = zip(masks, truth, strict=True)
    return np.array([frame_score(mask, true, radius, scratch).f for mask, true in pairs], np.float64)


def frame_score(
    mask: NDArray[np.bool_], truth: NDArray[np.bool_], radius: int, scratch: Scratch | None = None
) -> FrameScore:
    """One frame's score. mask, truth: bool [H, W], not checked; radius: tolerance of F in pixels (`tolerance_pixels`).

    For callers that do not keep a clip's masks: score frame by frame, then `score_from_frames`. scratch: working
    memory to use again, of this thread alone.
    """
    scratch = scratch or Scratch()
    ours, theirs = mask.view(np.uint8), truth.view(np.uint8)
    shown = cv2.bitwise_or(ours, theirs, dst=scratch.array("shown", *mask.shape))
    left, top, width, height = cv2.boundingRect(shown)
    # One pixel more on each side, where the image has it, leaves every outline as it is in the whole image: outlines
    # are at most a pixel outside a mask, and only their points are ever compared. Nothing shown: one corner pixel.
    rows, columns = slice(max(top - 1, 0), top + height + 1), slice(max(left - 1, 0), left + width + 1)
    ours, theirs = ours[rows, columns], theirs[rows, columns]
    j, dice = _overlap(ours, theirs, scratch)
    in_truth, in_prediction = cv2.countNonZero(theirs) > 0, cv2.countNonZero(ours) > 0
    return FrameScore(j, boundary_f(ours, theirs, radius, scratch), dice, in_truth, in_prediction)


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


def score_object(
    object_id: int,
    masks: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    labeled: NDArray[np.bool_],
    first_frame: int,
    protocol: Protocol = "davis",
) -> ObjectScore:
    """The object's score over the frames that count (`scored_frames`).

    masks (predicted), truth: bool [T, H, W]; labeled: bool [T], frames with a truth; first_frame: index of the frame
    in which the object was prompted. An object has no score, and a reason, if no frame counts or if its truth is
    empty in every labeled frame. Raises DataError if the sizes differ, TypeError if the masks are not bool, and what
    `scored_frames` raises.
    """
    return score_video([ObjectTrack(object_id, masks, truth, labeled, first_frame)], protocol)[0]


def score_video(tracks: Sequence[ObjectTrack], protocol: Protocol = "davis", num_threads: int = 1) -> list[ObjectScore]:
    """The score of each object, in the order given; the same numbers, to the last bit, for any number of threads.

    Frames are divided over `num_threads` threads. OpenCV lets them run side by side, but its steps here are short: at
    854x480 (0.2 to 0.5 ms a frame and object) two threads gain little or nothing, at 1920x1080 about a quarter.
    Raises what `score_object` raises, and ValueError for less than one thread.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads={num_threads} is less than 1")
    reasons = [_why_unscored(track, protocol) for track in tracks]
    work = [
        (index, frame)
        for index, (track, reason) in enumerate(zip(tracks, reasons, strict=True))
        if reason is None
        for frame in scored_frames(track.labeled, track.first_frame, len(track.masks), protocol)
    ]

    def share(start: int) -> list[FrameScore]:
        scratch = Scratch()
        return [_score_at(tracks[index], frame, scratch) for index, frame in work[start::num_threads]]

    if num_threads == 1:
        shares = [share(0)]
    else:
        with ThreadPoolExecutor(num_threads) as pool:
            shares = list(pool.map(share, range(num_threads)))
    by_object: list[dict[int, FrameScore]] = [{} for _ in tracks]
    for position, (index, frame) in enumerate(work):
        by_object[index][frame] = shares[position % num_threads][position // num_threads]
    return [
        score_from_frames(track.object_id, frames, reason)
        for track, frames, reason in zip(tracks, by_object, reasons, strict=True)
    ]


def score_from_frames(object_id: int, scores: Mapping[int, FrameScore], reason: str | None = None) -> ObjectScore:
    """An object's score from its frames': {frame index: score} of the frames that count (`scored_frames`).

    reason: why there are none, which stands in the result when `scores` is empty.
    """
    if not scores:
        reason = reason or "no frame counts"
        return ObjectScore(object_id, (), (), (), None, None, None, None, None, None, reason)
    frames = tuple(sorted(scores))
    ordered = [scores[frame] for frame in frames]
    shown = [score for score in ordered if score.in_truth or score.in_prediction]
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
        presence_accuracy=_mean([float(score.in_truth == score.in_prediction) for score in ordered]),
        reason=None if shown else "no IoU and Dice: neither truth nor prediction shows the object in a scored frame",
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


def _overlap(mask: NDArray[np.uint8], truth: NDArray[np.uint8], scratch: Scratch) -> tuple[float, float]:
    """Intersection over union, and twice the intersection over the sum of the areas; 1 and 1 where both are empty."""
    total = cv2.countNonZero(mask) + cv2.countNonZero(truth)
    both = cv2.countNonZero(cv2.bitwise_and(mask, truth, dst=scratch.array("both", *mask.shape)))
    return (both / (total - both), 2 * both / total) if total else (1.0, 1.0)


def _score_at(track: ObjectTrack, frame: int, scratch: Scratch) -> FrameScore:
    """The track's score in one frame."""
    radius = tolerance_pixels(track.truth.shape[1], track.truth.shape[2])
    return frame_score(track.masks[frame], track.truth[frame], radius, scratch)


def _why_unscored(track: ObjectTrack, protocol: Protocol) -> str | None:
    """Why the object has no score, None if it has one. Raises for input that cannot be scored at all."""
    _check_masks(track.masks, track.truth, f"object {track.object_id}")
    num_frames = len(track.masks)
    frames = scored_frames(track.labeled, track.first_frame, num_frames, protocol)
    labeled = np.flatnonzero(track.labeled)
    if not len(labeled):
        return "the object is labeled in no frame"
    if not any(track.truth[frame].any() for frame in labeled):
        return f"the truth is empty: the object has no pixel in any of its {len(labeled)} labeled frames"
    if frames:
        return None
    if num_frames == 1:
        return "the clip has one frame, and the prompted frame does not count"
    if labeled[-1] <= track.first_frame:
        return f"no frame after the prompt in frame {track.first_frame} is labeled"
    return (
        f"the only labeled frame after the prompt in frame {track.first_frame} is the clip's last, "
        "which DAVIS leaves out"
    )


def _check_masks(masks: NDArray[np.bool_], truth: NDArray[np.bool_], whose: str) -> None:
    """Raises unless both are bool [T, H, W] of the same, non-empty size."""
    for name, values in (("masks", masks), ("truth", truth)):
        if values.dtype != np.bool_:
            raise TypeError(f"{name} of {whose}: expected bool, found {values.dtype}; compare with 0 first")
    if masks.shape != truth.shape:
        raise DataError(
            f"{whose}: the predicted masks are {_size(masks)}, the truth is {_size(truth)}. "
            "Predict at the size of the truth, or resize the predictions (nearest neighbor) before scoring."
        )
    if masks.ndim != 3 or 0 in masks.shape[1:]:
        raise DataError(f"{whose}: expected masks [T, H, W] with pixels, found the shape {masks.shape}.")


def _size(masks: NDArray[np.bool_]) -> str:
    """The size in words: height x width, and the number of frames."""
    if masks.ndim != 3:
        return f"of shape {masks.shape}"
    frames, height, width = masks.shape
    return f"{height}x{width} ({frames} {'frame' if frames == 1 else 'frames'})"
