"""A video file as one video without masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sam2_training.data.source import Files, Frame, Video, VideoSource, stamp_of
from sam2_training.data.video_frames import VideoFrames


class VideoFile(VideoSource):
    """The frames of a video file, turned as players show them. Close it after use."""

    on_demand = True

    def __init__(self, path: Path) -> None:
        """Raises DataError for a file that is not a video, and for one that is not whole: see `read_timeline`."""
        self.location = self.mask_location = str(path)
        self._frames = VideoFrames(self.location)
        num_frames = len(self._frames.files)
        self._video = Video(path.stem, self._frames.files, (), np.zeros((num_frames, 0), np.int32))

    def videos(self) -> list[str]:
        return [self._video.name]

    def facts(self, name: str) -> Video:
        return self._video

    def frames_per_second(self) -> float | None:
        return self._frames.frames_per_second()

    def frame(self, video: Video, frame_index: int) -> Frame:
        return self._frames.read(frame_index)

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        return Files(self.location, "")

    def stamp(self, video: Video) -> int:
        return stamp_of([self.location], self._frames.decoder)

    def close(self) -> None:
        self._frames.close()
