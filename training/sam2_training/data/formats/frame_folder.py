"""A folder of frames as one video without masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sam2_training.data.config import Orientation
from sam2_training.data.formats.listing import frames_of, join
from sam2_training.data.frame_headers import size_of_frames
from sam2_training.data.images import read_image
from sam2_training.data.pairing import REASONS, left_out_line
from sam2_training.data.source import Files, Frame, Video, VideoSource, stamp_of


class FrameFolder(VideoSource):
    """The images of a folder (jpg, jpeg, png, webp) in natural order."""

    on_demand = True

    def __init__(self, folder: Path, orientation: Orientation | None = None) -> None:
        """orientation, and what raises DataError besides what `pairing.frames_among` refuses: see `size_of_frames`."""
        self.location = self.mask_location = str(folder)
        self._shown = orientation == "shown"
        frames = frames_of(self.location)
        no_areas = np.zeros((len(frames.files), 0), np.int32)
        name, paths = folder.resolve().name, [join(self.location, file) for file in frames.names]
        size = size_of_frames(name, paths, orientation)
        self._video = Video(name, frames.names, (), no_areas, size=size, left_out=frames.left_out)

    def videos(self) -> list[str]:
        return [self._video.name]

    def facts(self, name: str) -> Video:
        return self._video

    def beside(self, names: Sequence[str]) -> list[str]:
        files = {reason: [one.name for one in self._video.left_out if one.reason == reason] for reason in REASONS}
        return [left_out_line(reason, len(found), found[:5]) for reason, found in files.items() if found]

    def frame(self, video: Video, frame_index: int) -> Frame:
        return read_image(self.where(video, frame_index).image, self._shown)

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        return Files(join(self.location, video.frame_files[frame_index]), "")

    def stamp(self, video: Video) -> int:
        return stamp_of([self.location])
