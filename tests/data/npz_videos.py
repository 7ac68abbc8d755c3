"""A format in one file: each video is <img_folder>/<name>.npz with all frames, masks and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sam2_training.core.errors import DataError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.source import UNLABELED, Files, Frame, Masks, Video, VideoSource, stamp_of


class NpzVideos(VideoSource):
    """frames [T, H, W, 3] uint8, masks [H, W, T, N] bool, labeled [T, N] bool, ids [N]."""

    def __init__(self, folder: str) -> None:
        self.location = self.mask_location = folder

    def videos(self) -> list[str]:
        return sorted(path.stem for path in Path(self.location).glob("*.npz"))

    def facts(self, name: str) -> Video:
        masks, labeled, ids = (self._array(name, key) for key in ("masks", "labeled", "ids"))
        areas = np.where(labeled, masks.sum((0, 1)), UNLABELED).astype(np.int32)
        return Video(name, tuple(f"{t:03d}" for t in range(len(areas))), tuple(ids.tolist()), areas)

    def frame(self, video: Video, frame_index: int) -> Frame:
        return self._array(video.name, "frames")[frame_index]

    def masks(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> Masks:
        columns = [video.object_ids.index(object_id) for object_id in object_ids]
        return self._array(video.name, "masks")[:, :, frame_index, columns].transpose(2, 0, 1)

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        return Files(self._path(video.name), self._path(video.name))

    def stamp(self, video: Video) -> int:
        return stamp_of([self._path(video.name)])

    def _path(self, name: str) -> str:
        return f"{self.location}/{name}.npz"

    def _array(self, name: str, key: str) -> np.ndarray:
        try:
            with np.load(self._path(name)) as file:
                return file[key]
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"the video cannot be read ({error}): {self._path(name)}") from error


def open_source(config: DatasetConfig, seed: int) -> NpzVideos:
    """The files of config.img_folder."""
    return NpzVideos(config.img_folder or "")
