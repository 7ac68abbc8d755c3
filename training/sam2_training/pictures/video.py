"""Moving pictures: an overlay as mp4, and as animated GIF."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sam2_training.core.errors import DataError, TrainingError
from sam2_training.core.files import replacing, utf8_path, write_bytes
from sam2_training.pictures.overlay import NO_PREDICTION, Frame, Masks, fitting_size, overlay, resized

CODEC = "mp4v"
"""MPEG-4 part 2: OpenCV's own build encodes it without further software."""
GIF_BOX = (480, 360)
"""Largest width and height of a GIF, pixels: it has no compression to speak of."""
GIF_TICK_SECONDS = 0.01


def write_mp4(path: Path, frames: Iterable[Frame], frames_per_second: float) -> int:
    """Writes uint8 RGB frames [H, W, 3] as mp4 and returns how many; one frame at a time is in memory.

    The file appears under its name when it is whole. An odd width or height gets one black line, because the codec
    wants even ones. Raises TrainingError if the video cannot be written, DataError for no frames or mixed sizes.
    """
    writer, size, count = None, (0, 0), 0
    with replacing(path, ".tmp.mp4") as unfinished:
        try:
            for frame in frames:
                if writer is None:
                    size = (frame.shape[1], frame.shape[0])
                    writer = _opened_writer(unfinished, path, size, frames_per_second)
                if (frame.shape[1], frame.shape[0]) != size:
                    raise DataError(
                        f"frame {count} of {path} is {frame.shape[1]}x{frame.shape[0]}, the first is "
                        f"{size[0]}x{size[1]}: a video has one size. Resize the frames."
                    )
                even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)))
                writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
                count += 1
        finally:
            if writer is not None:
                writer.release()
        if not count:
            raise DataError(f"{path} cannot be written: no frame was given")
        _check_written(unfinished, path)
    return count


def write_overlay_gif(
    path: Path, frames: Sequence[Frame], masks: Sequence[Masks], object_ids: Sequence[int], frames_per_second: float
) -> None:
    """Writes frames [H, W, 3] with masks [N, H, W] drawn on them as an endless GIF, whole or not at all.

    Shrunk into 480x360 pixels. GIF counts time in hundredths of a second; more than 50 frames a second are shown
    slower, because viewers do not follow. Raises DataError when no frame is given.
    """
    if not frames:
        raise DataError(f"{path} cannot be written: no frame was given")
    width, height = frames[0].shape[1], frames[0].shape[0]
    size = (width, height) if width <= GIF_BOX[0] and height <= GIF_BOX[1] else fitting_size((width, height), GIF_BOX)
    images = []
    for frame, frame_masks in zip(frames, masks, strict=True):
        drawn = resized(frame, frame_masks, *size)
        small = overlay(*drawn, object_ids, numbers=len(object_ids) > 1, empty_note=NO_PREDICTION)
        images.append(Image.fromarray(small).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))
    ticks = max(2, round(1 / frames_per_second / GIF_TICK_SECONDS))
    content = io.BytesIO()
    images[0].save(content, "GIF", save_all=True, append_images=images[1:], duration=10 * ticks, loop=0)
    write_bytes(path, content.getvalue())


def _opened_writer(unfinished: Path, path: Path, size: tuple[int, int], frames_per_second: float) -> cv2.VideoWriter:
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    with utf8_path(unfinished) as name:
        writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*CODEC), frames_per_second, even)
    if not writer.isOpened():
        raise TrainingError(
            f"no video writer for {path} ({even[0]}x{even[1]}, {frames_per_second:g} frames/s, codec {CODEC}): "
            "this OpenCV cannot encode it, or the folder cannot be written. Use the opencv-python-headless of "
            "requirements.lock, or leave the video out; masks and contact sheet do not need it."
        )
    return writer


def _check_written(unfinished: Path, path: Path) -> None:
    """OpenCV reports no failed write (a full disk); the file tells."""
    size = unfinished.stat().st_size if unfinished.exists() else 0
    with utf8_path(unfinished) as name:
        reader = cv2.VideoCapture(name)
    readable = reader.isOpened() and reader.read()[0]
    reader.release()
    if not readable:
        raise TrainingError(f"{path} could not be written: {size} bytes, not a video. Is the disk full?")
