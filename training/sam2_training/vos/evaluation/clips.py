"""Whole videos with their true masks, read frame by frame: from folders, or generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.core.text import some
from sam2_training.data.config import SyntheticConfig
from sam2_training.data.formats.synthetic import synthetic_video
from sam2_training.data.images import read_image, read_mask, size_mismatch
from sam2_training.data.index import VideoIndex, build_index
from sam2_training.data.table import UNLABELED, Video
from sam2_training.vos.config import VosDatasetConfig
from sam2_training.vos.evaluation.frames import Frame, FrameSource


class EvaluationClip(FrameSource, Protocol):
    """One video of T frames with N objects; nothing of it is kept in memory."""

    @property
    def object_ids(self) -> tuple[int, ...]:
        """N ids, ascending."""
        ...

    @property
    def frame_names(self) -> tuple[str, ...]:
        """T file stems."""
        ...

    @property
    def labeled(self) -> npt.NDArray[np.bool_]:
        """[T, N]: whether a mask says if the object is there; no frame is absent for want of a mask."""
        ...

    @property
    def visible(self) -> npt.NDArray[np.bool_]:
        """[T, N]: whether the object is labeled and has a pixel."""
        ...

    def truth(self, frame_index: int) -> npt.NDArray[np.bool_]:
        """True masks [N, H, W] of a frame in which an object is labeled; empty for one that is not."""
        ...


def first_frame(clip: EvaluationClip, object_number: int) -> int | None:
    """The first frame in which an object is labeled and visible, where tracking starts; None if there is none."""
    frames = np.flatnonzero(clip.visible[:, object_number])
    return int(frames[0]) if len(frames) else None


@dataclass(frozen=True)
class FolderClip:
    """A video of an index. A file that is not what it must be is a DataError that names it."""

    index: VideoIndex
    video: Video

    @property
    def name(self) -> str:
        return self.video.name

    @property
    def num_frames(self) -> int:
        return len(self.video.frame_files)

    @property
    def object_ids(self) -> tuple[int, ...]:
        return self.video.object_ids

    @property
    def frame_names(self) -> tuple[str, ...]:
        return tuple(PurePosixPath(file).stem for file in self.video.frame_files)

    @property
    def labeled(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.video.areas != UNLABELED, np.bool_)

    @property
    def visible(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.video.areas > 0, np.bool_)

    def read_frame(self, frame_index: int) -> Frame:
        return read_image(self.index.image_path(self.video, frame_index))

    def truth(self, frame_index: int) -> npt.NDArray[np.bool_]:
        masks = np.zeros((len(self.object_ids), *self._size), np.bool_)
        if not any(self.video.object_folders):
            ids = self._read_mask(frame_index, 0)
            for n, object_id in enumerate(self.object_ids):
                masks[n] = ids == object_id
            return masks
        for n in np.flatnonzero(self.video.areas[frame_index] != UNLABELED).tolist():
            masks[n] = self._read_mask(frame_index, n) != 0
        return masks

    @cached_property
    def _size(self) -> tuple[int, int]:
        height, width = self.read_frame(0).shape[:2]
        return height, width

    def _read_mask(self, frame_index: int, object_number: int) -> npt.NDArray[np.integer]:
        path = self.index.mask_path(self.video, frame_index, object_number)
        mask = read_mask(path)
        if mask.shape != self._size:
            image_path = self.index.image_path(self.video, frame_index)
            raise size_mismatch(path, mask, image_path, read_image(image_path))
        return mask


@dataclass(frozen=True)
class SyntheticClip:
    """A generated video; made when it is first read."""

    config: SyntheticConfig
    seed: int
    video_index: int

    @property
    def name(self) -> str:
        return f"synthetic-{self.video_index}"

    @property
    def num_frames(self) -> int:
        return self.config.num_frames

    @property
    def object_ids(self) -> tuple[int, ...]:
        return tuple(range(1, self.config.num_objects + 1))

    @property
    def frame_names(self) -> tuple[str, ...]:
        return tuple(f"{t:05d}" for t in range(self.num_frames))

    @property
    def labeled(self) -> npt.NDArray[np.bool_]:
        return np.ones((self.num_frames, len(self.object_ids)), np.bool_)

    @property
    def visible(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self._made[1].any((2, 3)), np.bool_)

    def read_frame(self, frame_index: int) -> Frame:
        return np.asarray(self._made[0][frame_index], np.uint8)

    def truth(self, frame_index: int) -> npt.NDArray[np.bool_]:
        return np.asarray(self._made[1][frame_index], np.bool_)

    @property
    def _made(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        return _generate(self.seed, self.video_index, self.config)


@lru_cache(maxsize=1)
def _generate(
    seed: int, video_index: int, config: SyntheticConfig
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Frames and masks of the clip that is being evaluated; one at a time, whatever their number."""
    return synthetic_video(seed, video_index, config)


def open_clips(
    dataset: VosDatasetConfig, seed: int, cache_dir: Path | None, heartbeat: HeartbeatCallback = no_heartbeat
) -> list[EvaluationClip]:
    """Every video of a dataset, whole, in natural order.

    seed: of generated videos; for clips that training has not seen give another than the run's. Raises DataError for
    what `build_index` refuses: missing folders and listed videos, unreadable masks, videos that show no object.
    """
    if dataset.dataset_type == "synthetic":
        made = dataset.synthetic
        return [SyntheticClip(made, seed, number) for number in range(made.num_videos)]
    return folder_clips(build_index(dataset, 1, cache_dir, heartbeat))


def folder_clips(index: VideoIndex) -> list[EvaluationClip]:
    """Every video of an index, in its order."""
    return [FolderClip(index, index.video(number)) for number in range(index.num_videos)]


def select_clips(clips: Sequence[EvaluationClip], names: Sequence[str], source: str) -> list[EvaluationClip]:
    """The clips with these names, in the clips' order. source: who names them, for the message.

    Raises DataError if a name is not there, or if there is no name.
    """
    known = {clip.name for clip in clips}
    missing = [name for name in dict.fromkeys(names) if name not in known]
    if missing:
        raise DataError(
            f"{source} names {len(missing)} of {len(set(names))} videos that are not in the dataset: "
            f"{some(missing, 10)}\n"
            f"It has {len(known)}, such as {', '.join(sorted(known)[:3])}. Correct the list, or add the videos."
        )
    if not names:
        raise DataError(f"{source} names no video")
    wanted = set(names)
    return [clip for clip in clips if clip.name in wanted]
