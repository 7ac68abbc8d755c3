"""Which frames and objects of a video make a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.data.source import UNLABELED, Video
from sam2_training.vos.clips.config import VosDatasetConfig

Problem = Literal["short", "empty"]


@dataclass(frozen=True)
class ClipPlan:
    """A clip that is drawn, not yet read."""

    frame_indices: tuple[int, ...]
    """T positions in the video, in clip order; a position may repeat at the end."""
    object_ids: tuple[int, ...]
    """N ids, ascending."""
    labels_used: tuple[bool, ...]
    """Whether each of the T frames counts as labeled, where it is (dataset.gt_stride)."""


@dataclass(frozen=True)
class _Choice:
    weight: float
    interval: int
    reverse: bool
    starts: npt.NDArray[np.int64]
    """Valid positions of the clip's earliest frame among the candidate frames."""


@dataclass(frozen=True)
class RandomUniformSampler:
    """Clips of `num_frames` frames, `frame_interval` apart, whose first frame shows an object.

    A start is valid if the clip fits into the video and the first frame in clip order (the last in time, if time runs
    backwards) is labeled and shows an object. Interval and direction are drawn first, from those that have a valid
    start; then one of all valid starts is drawn, each as likely; then up to `max_num_objects` of the objects visible
    in the first frame. Only every `gt_stride`-th labeled frame counts as labeled. There is no retry, so a video
    without a valid start is an error at indexing time, not a surprise in epoch 7.

    A video is short if no clip of the smallest interval fits. With short_videos=repeat_last its clip runs from the
    first frame that shows an object (in clip order) to the video's end, and its last frame is repeated.
    """

    num_frames: int
    max_num_objects: int
    reverse_time_prob: float = 0.0
    frame_interval: tuple[int, int] = (1, 1)
    frame_selection: Literal["all", "annotated"] = "all"
    short_videos: Literal["error", "skip", "repeat_last"] = "error"
    gt_stride: int = 1

    @classmethod
    def of(cls, config: VosDatasetConfig, num_frames: int, max_num_objects: int) -> RandomUniformSampler:
        """The sampler that a configuration describes."""
        return cls(
            num_frames=num_frames,
            max_num_objects=max_num_objects,
            reverse_time_prob=config.reverse_time_prob,
            frame_interval=config.frame_interval,
            frame_selection=config.frame_selection,
            short_videos=config.short_videos,
            gt_stride=config.gt_stride,
        )

    def sample(self, video: Video, rng: np.random.Generator) -> ClipPlan:
        """A clip drawn with rng. Raises DataError if `problem` finds one (other than "short" with repeat_last)."""
        areas = self._used(video.areas)
        candidates = self._candidates(areas)
        visible = _shows_any(areas[candidates])
        if self._is_short(len(visible)) and self.short_videos == "repeat_last" and visible.any():
            order = self._short_order(visible, rng)
        else:
            order = self._uniform_order(video, visible, rng)
        frames = candidates[order]
        shown = np.flatnonzero(areas[frames[0]] > 0)
        count = min(len(shown), self.max_num_objects)
        chosen = np.sort(rng.choice(shown, count, replace=False))
        used = (areas[frames] != UNLABELED).any(axis=1)
        return ClipPlan(tuple(frames.tolist()), tuple(video.object_ids[n] for n in chosen), tuple(used.tolist()))

    def problem(self, areas: npt.NDArray[np.int32]) -> Problem | None:
        """Why no clip can be drawn from a video with these areas [F, N], or None.

        "short": too few frames, whatever short_videos says; "empty": long enough, but without a valid start.
        """
        areas = self._used(areas)
        visible = _shows_any(areas[self._candidates(areas)])
        if self._is_short(len(visible)):
            return "short" if visible.any() or self.short_videos == "skip" else "empty"
        return None if self._choices(visible) else "empty"

    @property
    def shortest_video(self) -> int:
        """Frames that a video needs for a clip of the smallest interval."""
        return (self.num_frames - 1) * self.frame_interval[0] + 1

    def _is_short(self, num_candidates: int) -> bool:
        return num_candidates < self.shortest_video

    def _used(self, areas: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The areas [F, N] with every labeled frame unlabeled but each `gt_stride`-th, the first among them."""
        if self.gt_stride == 1:
            return areas
        labeled = np.flatnonzero((areas != UNLABELED).any(axis=1))
        kept = labeled[:: self.gt_stride]
        used = np.full_like(areas, UNLABELED)
        used[kept] = areas[kept]
        return used

    def _candidates(self, areas: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Positions of the frames that a clip may use."""
        if self.frame_selection == "all":
            return np.arange(len(areas))
        return np.flatnonzero((areas >= 0).any(axis=1))

    def _choices(self, visible: npt.NDArray[np.bool_]) -> list[_Choice]:
        """Every interval and direction that has a valid start; weights are not normalized."""
        found = []
        low, high = self.frame_interval
        for interval in range(low, high + 1):
            span = (self.num_frames - 1) * interval
            num_starts = len(visible) - span
            if num_starts <= 0:
                break
            for reverse, weight in ((False, 1 - self.reverse_time_prob), (True, self.reverse_time_prob)):
                starts = np.flatnonzero(visible[span:] if reverse else visible[:num_starts])
                if weight > 0 and len(starts):
                    found.append(_Choice(weight, interval, reverse, starts))
        return found

    def _uniform_order(
        self, video: Video, visible: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        choices = self._choices(visible)
        if not choices:
            raise DataError(f"video {video.name}: no clip of {self.num_frames} frames starts with a visible object")
        weights = np.array([choice.weight for choice in choices])
        choice = choices[int(rng.choice(len(choices), p=weights / weights.sum()))]
        start = int(rng.choice(choice.starts))
        order = start + choice.interval * np.arange(self.num_frames)
        return order[::-1] if choice.reverse else order

    def _short_order(self, visible: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        in_clip_order = np.arange(len(visible))
        if rng.random() < self.reverse_time_prob:
            in_clip_order = in_clip_order[::-1]
        first = int(np.flatnonzero(visible[in_clip_order])[0])
        played = in_clip_order[first :: self.frame_interval[0]][: self.num_frames]
        return np.concatenate([played, np.repeat(played[-1:], self.num_frames - len(played))])


def _shows_any(areas: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """[F]: whether any object is visible in each frame."""
    return np.asarray((areas > 0).any(axis=1), np.bool_)
