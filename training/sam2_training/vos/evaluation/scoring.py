"""Scores a video while it is tracked, frame by frame, so that masks need not be kept."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from sam2_training.vos.evaluation.clips import EvaluationClip, first_frame
from sam2_training.vos.evaluation.tracker import FrameMasks
from sam2_training.vos.metrics.boundary import tolerance_pixels
from sam2_training.vos.metrics.scores import (
    FrameScore,
    ObjectScore,
    Protocol,
    frame_score,
    score_from_frames,
    scored_frames,
    why_unscored,
)

WAITING_AT_MOST = 8
"""Frames whose masks wait for the scoring thread."""


class ClipScorer:
    """Scores a video's masks frame by frame, in a thread of its own; close it after use."""

    def __init__(self, clip: EvaluationClip, protocol: Protocol) -> None:
        self.clip = clip
        self._frames: list[set[int]] = []
        """For each object the frames that count."""
        self._reasons: list[str | None] = []
        """For each object why it has none."""
        labeled, visible = clip.labeled, clip.visible
        for n in range(len(clip.object_ids)):
            start = first_frame(clip, n)
            counted = [] if start is None else scored_frames(labeled[:, n], start, clip.num_frames, protocol)
            self._frames.append(set(counted))
            self._reasons.append(why_unscored(labeled[:, n], visible[:, n], start, protocol))
        self._found: list[dict[int, FrameScore]] = [{} for _ in clip.object_ids]
        self._waiting: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="scores")

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, frame: FrameMasks) -> None:
        """Queues the frame's masks for scoring; waits if the thread is far behind."""
        if not any(frame.frame_index in frames for frames in self._frames):
            return
        if len(self._waiting) >= WAITING_AT_MOST:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._score, frame))

    def scores(self) -> tuple[ObjectScore, ...]:
        """One for each object; one without a score says why."""
        while self._waiting:
            self._waiting.popleft().result()
        return tuple(
            score_from_frames(object_id, self._found[n], self._reasons[n])
            for n, object_id in enumerate(self.clip.object_ids)
        )

    def _score(self, frame: FrameMasks) -> None:
        labels = self.clip.labels(frame.frame_index)
        ground_truth = labels.masks
        radius = tolerance_pixels(ground_truth.shape[1], ground_truth.shape[2])
        for object_id, mask in zip(frame.object_ids, frame.masks, strict=True):
            n = self.clip.object_ids.index(object_id)
            if frame.frame_index in self._frames[n]:
                self._found[n][frame.frame_index] = frame_score(
                    labels.without_ignored(mask, n), ground_truth[n], radius
                )
