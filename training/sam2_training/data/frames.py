"""Where the frames of a video are: files in a folder, or files that a document lists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.data.config import Orientation
from sam2_training.data.content import VideoContent
from sam2_training.data.formats.listing import frames_of, join, list_folders, list_names
from sam2_training.data.frame_headers import size_of_frames
from sam2_training.data.images import read_image
from sam2_training.data.pairing import LeftOut
from sam2_training.data.source import Frame


class Frames(ABC):
    """The frames of one video, in order. Whatever is wrong with a file is a DataError that names it."""

    location: str
    """The folder or file that they are in."""
    files: tuple[str, ...]
    """F names, as `Video.frame_files`."""
    left_out: tuple[LeftOut, ...] = ()
    """Files beside them that are not used."""

    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(H, W) of all frames, as they are read. Raises DataError if they differ."""

    @abstractmethod
    def read(self, frame_index: int) -> Frame:
        """Pixels of a frame; called from threads."""

    @abstractmethod
    def path(self, frame_index: int) -> str:
        """The file of a frame, for messages."""

    @abstractmethod
    def stamp_paths(self) -> list[str]:
        """Files and folders whose modification times change when the frames do."""

    @abstractmethod
    def add_to(self, content: VideoContent) -> None:
        """Adds what tells these frames from others."""

    def frames_per_second(self) -> float | None:
        """None if it is not known."""
        return None

    def close(self) -> None:  # noqa: B027 - image files are not held open
        """Releases open files, if there are any."""


class ImageFrames(Frames):
    """Frames that are image files below one folder."""

    def __init__(
        self,
        name: str,
        location: str,
        files: Sequence[str],
        orientation: Orientation | None = None,
        left_out: tuple[LeftOut, ...] = (),
    ) -> None:
        """name: the video's, for messages. files: paths below location. orientation: see `size_of_frames`."""
        self.name, self.location, self.files, self.left_out = name, location, tuple(files), left_out
        self.orientation = orientation

    def size(self) -> tuple[int, int]:
        return size_of_frames(self.name, self._paths(), self.orientation)

    def read(self, frame_index: int) -> Frame:
        return read_image(self.path(frame_index), self.orientation == "shown")

    def path(self, frame_index: int) -> str:
        return join(self.location, self.files[frame_index])

    def stamp_paths(self) -> list[str]:
        """Its folders, and some files, which show that all were written anew."""
        folders = dict.fromkeys(path.rpartition("/")[0] for path in self._paths())
        number = len(self.files)
        return [*folders, *(self.path(t) for t in sorted({0, number // 2, number - 1}))]

    def add_to(self, content: VideoContent) -> None:
        content.add_frames(self._paths())

    def _paths(self) -> list[str]:
        return [join(self.location, file) for file in self.files]


class FrameLibrary:
    """The frames of videos below one folder, which each have a folder of images there."""

    def __init__(self, root: str, orientation: Orientation | None = None) -> None:
        self.root, self.orientation = root, orientation

    def names(self) -> list[str]:
        """Names of the videos, in natural order."""
        return list_folders(self.root, list_names(self.root))

    def of_video(self, name: str) -> Frames:
        """All frames of a video of this name. Raises DataError if there is none."""
        folder = join(self.root, name)
        if not g_pathmgr.isdir(folder):
            raise DataError(
                f"video {name} has no folder of frames, expected {folder}\nGive its parent as dataset.img_folder."
            )
        found = frames_of(folder)
        return ImageFrames(name, folder, found.names, self.orientation, found.left_out)

    def of_files(self, name: str, files: Sequence[str]) -> Frames:
        """The frames of a video that are these image files, paths below the root."""
        return ImageFrames(name, self.root, files, self.orientation)


def frame_root(img_folder: str | None, beside: str) -> str:
    """The folder of the frames: img_folder, or, where that is not set, the one that the annotations are in.

    Raises DataError if img_folder does not exist.
    """
    if img_folder is not None and not g_pathmgr.isdir(img_folder):
        raise DataError(
            f"dataset.img_folder does not exist: {img_folder}\n"
            "Correct it, or set dataset.img_folder=null if the frames lie beside the annotations."
        )
    return (img_folder or beside).rstrip("/") or "/"
