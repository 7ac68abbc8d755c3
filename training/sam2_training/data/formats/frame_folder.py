"""A folder of frames as one video without masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sam2_training.data.formats.folders import frames_of, join
from sam2_training.data.images import read_image
from sam2_training.data.source import Files, Frame, Video, VideoSource, stamp_of


class FrameFolder(VideoSource):
    """The images of a folder (jpg, jpeg, png, webp) in natural order."""

    on_demand = True

    def __init__(self, folder: Path) -> None:
        """Raises DataError if there is no frame in the folder, or two have one stem."""
        self.location = self.mask_location = str(folder)
        files = tuple(frames_of(self.location).values())
        self._video = Video(folder.resolve().name, files, (), np.zeros((len(files), 0), np.int32))

    def videos(self) -> list[str]:
        return [self._video.name]

    def facts(self, name: str) -> Video:
        return self._video

    def frame(self, video: Video, frame_index: int) -> Frame:
        return read_image(self.where(video, frame_index).image)

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        return Files(join(self.location, video.frame_files[frame_index]), "")

    def stamp(self, video: Video) -> int:
        return stamp_of([self.location])
