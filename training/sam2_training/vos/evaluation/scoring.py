"""Scores of one video while it is tracked: masks are compared frame by frame and then forgotten."""

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
)

WAITING_AT_MOST = 8
"""Frames whose masks wait for the scoring thread."""


class ClipScorer:
    """Takes a clip's masks as they come, in a thread of its own; close it after use."""

    def __init__(self, clip: EvaluationClip, protocol: Protocol) -> None:
        self.clip = clip
        self._frames: list[set[int]] = []
        """For each object the frames that count."""
        for n in range(len(clip.object_ids)):
            start = first_frame(clip, n)
            counted = [] if start is None else scored_frames(clip.labeled[:, n], start, clip.num_frames, protocol)
            self._frames.append(set(counted))
        self._protocol = protocol
        self._found: list[dict[int, FrameScore]] = [{} for _ in clip.object_ids]
        self._waiting: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="scores")

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, frame: FrameMasks) -> None:
        """Scores the frame's masks, some time soon; waits if the thread is far behind."""
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
            score_from_frames(object_id, self._found[n], self._reason(n))
            for n, object_id in enumerate(self.clip.object_ids)
        )

    def _score(self, frame: FrameMasks) -> None:
        truth = self.clip.truth(frame.frame_index)
        radius = tolerance_pixels(truth.shape[1], truth.shape[2])
        for object_id, mask in zip(frame.object_ids, frame.masks, strict=True):
            n = self.clip.object_ids.index(object_id)
            if frame.frame_index in self._frames[n]:
                self._found[n][frame.frame_index] = frame_score(mask, truth[n], radius)

    def _reason(self, object_number: int) -> str | None:
        """Why no frame of an object counts, None if one does."""
        if self._frames[object_number]:
            return None
        clip, labeled = self.clip, int(self.clip.labeled[:, object_number].sum())
        start = first_frame(clip, object_number)
        if not labeled:
            return "the object is labeled in no frame"
        if start is None:
            return f"the truth is empty: the object has no pixel in any of its {labeled} labeled frames"
        if clip.num_frames == 1:
            return "the clip has one frame, and the prompted frame does not count"
        if not clip.labeled[start + 1 :, object_number].any():
            return f"no frame after the prompt in frame {start} is labeled"
        return f"only the clip's last frame is labeled after the prompt in frame {start}, and {self._protocol} omits it"
