"""A folder of frames as a video."""

from __future__ import annotations

from pathlib import Path

from sam2_training.data.formats.folders import frames_of, join
from sam2_training.data.images import read_image
from sam2_training.vos.evaluation.frames import Frame


class FrameFolder:
    """The images of a folder (jpg, jpeg, png, webp) in natural order; one is in memory at a time."""

    frames_per_second: float | None = None
    """Images have no time."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError if there is no frame in the folder, or two have one stem."""
        self.name = folder.resolve().name
        self._folder = str(folder)
        self._files = list(frames_of(self._folder).values())

    @property
    def num_frames(self) -> int:
        return len(self._files)

    def read_frame(self, frame_index: int) -> Frame:
        return read_image(join(self._folder, self._files[frame_index]))

    def frame_name(self, frame_index: int) -> str:
        """The file's stem."""
        return Path(self._files[frame_index]).stem

    def close(self) -> None:
        """Nothing is open."""
