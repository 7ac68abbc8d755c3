"""A video file as one video without masks, decoded frame after frame."""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np

from sam2_training.core.current_work import working_on
from sam2_training.core.errors import DataError
from sam2_training.core.files import endless_kind, utf8_path
from sam2_training.data.images import LARGEST_PIXELS
from sam2_training.data.source import Files, Frame, Video, VideoSource, stamp_of

MISCOUNTED_AT_MOST = 2
"""Frames by which the header of an intact file may be off (edit lists)."""


class VideoFile(VideoSource):
    """The frames of an mp4 (or another video that OpenCV's FFmpeg decodes), turned as players show them.

    Frames are meant to be read in order, by one thread; reading an earlier one starts again from the first. Close it
    after use. Frames are named by their number, from 0, as DAVIS writes it.
    """

    on_demand = True

    def __init__(self, path: Path) -> None:
        """Reads through the file once, because the number of frames in a header is often wrong.

        Raises DataError for a file that is not a video, for frames of more than LARGEST_PIXELS, and for a file that
        ends before the header says it does.
        """
        kind = endless_kind(path)
        if kind:
            raise DataError(f"this is {kind}, expected a video file: {path}\nGive a folder of images, or an mp4.")
        # Otherwise FFmpeg prints its own messages on a damaged file to standard error, beside ours.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        self.location = self.mask_location = str(path)
        self._path = path
        self._capture, self._position = self._opened(), 0
        announced = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._rate = self._capture.get(cv2.CAP_PROP_FPS)
        width, height = (int(self._capture.get(of)) for of in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > LARGEST_PIXELS:
            raise DataError(
                f"the video's frames are {height}x{width} (height x width), expected at most {LARGEST_PIXELS:,} "
                f"pixels: {path}\nResize it."
            )
        num_frames = self._count()
        if num_frames < announced - MISCOUNTED_AT_MOST:
            raise DataError(
                f"the video is damaged: its header says {announced:.0f} frames, {num_frames} can be decoded: "
                f"{path}\nCopy it again, or cut it with a video tool to what can be decoded."
            )
        names = tuple(f"{t:05d}" for t in range(num_frames))
        self._video = Video(path.stem, names, (), np.zeros((num_frames, 0), np.int32))

    def videos(self) -> list[str]:
        return [self._video.name]

    def facts(self, name: str) -> Video:
        return self._video

    def frames_per_second(self) -> float | None:
        return self._rate if math.isfinite(self._rate) and self._rate > 0 else None

    def frame(self, video: Video, frame_index: int) -> Frame:
        if frame_index < self._position:
            self.close()
            self._capture, self._position = self._opened(), 0
        while self._position < frame_index:
            with working_on(str(self._path)):
                self._capture.grab()
            self._position += 1
        with working_on(str(self._path)):
            found, frame = self._capture.read()
        if not found:
            raise DataError(f"frame {frame_index} of {video.num_frames} cannot be decoded: {self._path}")
        self._position += 1
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        return Files(self.location, "")

    def stamp(self, video: Video) -> int:
        return stamp_of([self.location])

    def close(self) -> None:
        self._capture.release()

    def _opened(self) -> cv2.VideoCapture:
        # FFmpeg only: another backend of OpenCV would take the name for a pattern of image files.
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        with working_on(str(self._path)), utf8_path(self._path) as name:
            capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        cv2.utils.logging.setLogLevel(level)
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # the default of today's OpenCV
        if not capture.isOpened():
            raise DataError(
                f"this is neither a folder of frames nor a video that can be decoded: {self._path}\n"
                "Give a folder of images, or an mp4 (H.264 or MPEG-4)."
            )
        return capture

    def _count(self) -> int:
        count = 0
        while self._capture.grab():
            count += 1
        self._position = count
        if not count:
            raise DataError(f"no frame of the video can be decoded: {self._path}")
        return count
