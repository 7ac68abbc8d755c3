"""A dataset of any format, written in others: its masks by writers, its frames as image files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from sam2_training.core.files import write_bytes
from sam2_training.core.outputs import below
from sam2_training.data.images import read_bytes, read_frame_header
from sam2_training.data.index import VideoIndex
from sam2_training.data.pairing import FRAME_SUFFIXES
from sam2_training.data.source import Video
from sam2_training.writers.writer import MaskWriter, WrittenFrame, WrittenVideo

IMAGES = "images"


class Conversion:
    """Writes the videos of an index, one after the other."""

    def __init__(self, index: VideoIndex, with_frames: bool) -> None:
        """with_frames: write images/<video>/<frame> as well."""
        self.index, self.with_frames = index, with_frames

    def files(self, writers: Sequence[MaskWriter]) -> list[str]:
        """Paths below the output folder of all that `run` writes. Reads masks where they may overlap."""
        videos = [self._written(self.index.video(number)) for number in range(len(self.index))]
        frames = [f"{IMAGES}/{file}" for video in videos for file in video.image_files] if self.with_frames else []
        return [*frames, *(file for writer in writers for file in writer.files(videos))]

    def run(self, folder: Path, writers: Sequence[MaskWriter], on_frame: Callable[[str], None]) -> None:
        """Writes everything below the folder. on_frame: called with the video's name after each frame.

        Raises DataError for what cannot be read; what could not be kept is in `MaskWriter.losses`.
        """
        for number in range(len(self.index)):
            video = self.index.video(number)
            written = self._written(video)
            for writer in writers:
                writer.begin(written)
            for t in range(video.num_frames):
                if self.with_frames:
                    path = below(folder, IMAGES, written.name, written.frame_files[t])
                    write_bytes(path, self._image(video, t))
                if video.labeled[t].any():
                    frame = self._frame(video, t, written.size)
                    for writer in writers:
                        writer.write(frame)
                on_frame(video.name)
            for writer in writers:
                writer.end()

    def _written(self, video: Video) -> WrittenVideo:
        height, width = video.size or self.index.frame(video, 0).shape[:2]
        files = [self._image_name(video, t) for t in range(video.num_frames)]
        if len({PurePosixPath(file).stem for file in files}) < len(files):  # of several folders
            files = [f"{t:05d}{PurePosixPath(file).suffix}" for t, file in enumerate(files)]
        return WrittenVideo(
            name=video.name,
            frame_files=tuple(files),
            size=(height, width),
            object_ids=video.object_ids,
            object_names=self.index.source.object_names(video.name),
            frames_per_second=self.index.source.frames_per_second(),
            separate=self._needs_separate_files(video, (height, width)),
        )

    def _needs_separate_files(self, video: Video, size: tuple[int, int]) -> bool:
        labeled = video.labeled
        if (labeled.any(1) != labeled.all(1)).any():
            return True
        if len(video.object_ids) < 2 or (any(video.mask_files) and not any(video.object_folders)):
            return False
        frames = np.flatnonzero((video.areas > 0).sum(1) > 1).tolist()
        return any((self._frame(video, t, size).masks.sum(0, dtype=np.uint16) > 1).any() for t in frames)

    def _frame(self, video: Video, frame_index: int, size: tuple[int, int]) -> WrittenFrame:
        labels = self.index.labels(video, frame_index, video.object_ids, size)
        labeled = video.labeled[frame_index]
        return WrittenFrame(
            frame_index, labels.masks, labeled=None if labeled.all() else labeled, ignored=labels.ignored
        )

    def _image_name(self, video: Video, frame_index: int) -> str:
        file = PurePosixPath(video.frame_files[frame_index]).name
        return file if self._is_image(video, frame_index) else f"{PurePosixPath(file).stem}.png"

    def _is_image(self, video: Video, frame_index: int) -> bool:
        """Whether the frame is a file that can be copied; one with an EXIF orientation would be read in two ways."""
        path = self.index.source.where(video, frame_index).image
        return path.lower().endswith(FRAME_SUFFIXES) and read_frame_header(path).orientation <= 1

    def _image(self, video: Video, frame_index: int) -> bytes:
        if self._is_image(video, frame_index):
            return read_bytes(self.index.source.where(video, frame_index).image)
        content = io.BytesIO()
        Image.fromarray(self.index.frame(video, frame_index)).save(content, "PNG")
        return content.getvalue()


def summary(index: VideoIndex, writers: Sequence[MaskWriter]) -> Iterator[str]:
    """Lines on what was written, and on what each format had no place for."""
    yield from index.describe()
    for writer in writers:
        lost = writer.lost()
        if lost:
            yield f"{writer.name} could not keep:"
            yield from (f"  {line}" for line in lost)
