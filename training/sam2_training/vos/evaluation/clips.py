"""Whole videos, read frame by frame, with their masks where they have some."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sam2_training.data.index import VideoIndex
from sam2_training.data.source import Frame, FrameLabels, Masks, Video


@dataclass(frozen=True, eq=False)
class EvaluationClip:
    """One video of T frames with N objects, whole; no pixel of it is kept in memory."""

    index: VideoIndex
    number: int
    """The video's place in the index."""

    @property
    def name(self) -> str:
        return self.index.names[self.number]

    @property
    def num_frames(self) -> int:
        return self.index.table.num_frames_of(self.number)

    @cached_property
    def video(self) -> Video:
        """Frames, objects and areas."""
        return self.index.video(self.number)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """N ids, ascending."""
        return self.video.object_ids

    @property
    def object_folders(self) -> tuple[str, ...]:
        """N folders of the objects' masks, if they are not named by the ids; otherwise ()."""
        folders = self.video.object_folders
        named = [folder.isdecimal() and int(folder) == of for folder, of in zip(folders, self.object_ids, strict=False)]
        return folders if any(folders) and not all(named) else ()

    @property
    def frame_names(self) -> tuple[str, ...]:
        """T file stems."""
        return self.video.frame_names

    @property
    def labeled(self) -> npt.NDArray[np.bool_]:
        """[T, N]: whether a mask says if the object is there; no frame is absent for want of a mask."""
        return self.video.labeled

    @property
    def visible(self) -> npt.NDArray[np.bool_]:
        """[T, N]: whether the object is labeled and has a pixel."""
        return self.video.visible

    def read_frame(self, frame_index: int) -> Frame:
        """Pixels of a frame. Raises DataError."""
        return self.index.frame(self.video, frame_index)

    def ground_truth(self, frame_index: int) -> Masks:
        """True masks [N, H, W] of a frame; empty for objects that are not labeled there. Raises DataError."""
        return self.labels(frame_index).masks

    def labels(self, frame_index: int) -> FrameLabels:
        """True masks of a frame, and the pixels that take no part. Raises DataError."""
        return self.index.labels(self.video, frame_index, self.object_ids, self._size)

    @cached_property
    def _size(self) -> tuple[int, int]:
        if self.video.size is not None:
            return self.video.size
        height, width = self.read_frame(0).shape[:2]
        return height, width


def first_frame(clip: EvaluationClip, object_number: int) -> int | None:
    """The first frame in which an object is labeled and visible, where tracking starts; None if there is none."""
    frames = np.flatnonzero(clip.visible[:, object_number])
    return int(frames[0]) if len(frames) else None


def clips_of(index: VideoIndex) -> list[EvaluationClip]:
    """Every video of an index, in its order."""
    return [EvaluationClip(index, number) for number in range(len(index))]
