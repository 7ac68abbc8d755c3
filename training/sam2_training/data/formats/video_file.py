"""A video file as frames, decoded one after the other."""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np

from sam2_training.core.errors import DataError
from sam2_training.vos.evaluation.frames import Frame

MISCOUNTED_AT_MOST = 2
"""Frames by which the header of an intact file may be off (edit lists)."""


class Mp4Frames:
    """The frames of an mp4 (or another video that OpenCV's FFmpeg decodes), turned as players show them.

    Frames are meant to be read in order; reading an earlier one starts again from the first. One is in memory at a
    time. Close it after use.
    """

    def __init__(self, path: Path) -> None:
        """Reads through the file once, because the number of frames in a header is often wrong.

        Raises DataError for a file that is no video, and for one that ends before the header says it does.
        """
        # Otherwise FFmpeg writes its own words on a damaged file to standard error, beside our one message.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        self.name = path.stem
        self._path = path
        self._capture, self._position = self._opened(), 0
        announced = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second: float | None = rate if math.isfinite(rate) and rate > 0 else None
        self.num_frames = self._count()
        if self.num_frames < announced - MISCOUNTED_AT_MOST:
            raise DataError(
                f"the video is damaged: its header says {announced:.0f} frames, {self.num_frames} can be decoded: "
                f"{path}\nCopy it again, or cut it with a video tool to what can be decoded."
            )

    def read_frame(self, frame_index: int) -> Frame:
        if frame_index < self._position:
            self.close()
            self._capture, self._position = self._opened(), 0
        while self._position < frame_index:
            self._capture.grab()
            self._position += 1
        found, frame = self._capture.read()
        if not found:
            raise DataError(f"frame {frame_index} of {self.num_frames} cannot be decoded: {self._path}")
        self._position += 1
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)

    def frame_name(self, frame_index: int) -> str:
        """The frame's number, from 0, as DAVIS writes it."""
        return f"{frame_index:05d}"

    def close(self) -> None:
        """Lets go of the file."""
        self._capture.release()

    def _opened(self) -> cv2.VideoCapture:
        # FFmpeg only: another backend of OpenCV would take the name for a pattern of image files.
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        cv2.utils.logging.setLogLevel(level)
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
