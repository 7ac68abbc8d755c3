"""Where the frames of a video are: files in a folder, files that a document lists, or a video file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import natural_key, some
from sam2_training.data.config import Orientation
from sam2_training.data.content import VideoContent
from sam2_training.data.formats.listing import frames_of, join, list_folders, list_names
from sam2_training.data.frame_headers import size_of_frames
from sam2_training.data.images import read_image
from sam2_training.data.name_list import lines_of
from sam2_training.data.pairing import LeftOut, is_of_system
from sam2_training.data.recent import Recent
from sam2_training.data.source import Frame, stamp_of

if TYPE_CHECKING:
    from sam2_training.data.timeline import Timeline

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
LIST_SUFFIX = ".txt"
KEPT_VIDEOS = 4
"""Videos whose open files, and parsed annotations, are kept."""
KEPT_TIMELINES = 4096
"""Video files whose timelines are kept, at some kilobytes each, so that a loader worker reads through a file once."""


class Frames(ABC):
    """The frames of one video, in order. Whatever is wrong with a file is a DataError that names it."""

    location: str
    """The folder or file that they are in."""
    files: tuple[str, ...]
    """F names, as `Video.frame_files`."""
    left_out: tuple[LeftOut, ...] = ()
    """Files beside them that are not used."""
    decimals: bool = False
    """Whether their names hold decimals: see `pairing.name_key`."""
    decoder: str = ""
    """What decodes a video file, with its version."""

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
    """The frames of videos below one folder, which each have a folder of images or a video file of their name there.

    In place of the folder, root may be one video file, or a text file that lists video files, one a line, by paths from
    its own folder.
    """

    def __init__(self, root: str, orientation: Orientation | None = None) -> None:
        """orientation: of image files; a video file's frames are turned as players show them."""
        self.root, self.orientation = root, orientation
        self._timelines: Recent[tuple[str, int], Timeline] = Recent(KEPT_TIMELINES)
        self._files: dict[str, dict[str, str]] = {}

    def names(self) -> list[str]:
        """Names of the videos, in natural order. Raises DataError if two are of one name."""
        if self.root_is_file:
            return sorted(self._listed, key=natural_key)
        entries = list_names(self.root)
        folders, files = list_folders(self.root, entries), self._files_in("", entries)
        both = [name for name in folders if name in files]
        if both:
            raise _twice(join(self.root, both[0]), self.file_of(both[0]) or "")
        return sorted([*folders, *files], key=natural_key)

    def file_of(self, name: str) -> str | None:
        """The path of a video that is a file; None if there is none of this name."""
        if self.root_is_file:
            return self._listed.get(name)
        parent, _, last = name.rpartition("/")
        file = self._files_in(parent).get(last)
        return None if file is None else join(self.root, parent, file) if parent else join(self.root, file)

    def of_video(self, name: str) -> Frames:
        """All frames of a video of this name. Raises DataError if there is none, or a folder and a file."""
        folder, file = join(self.root, name), self.file_of(name)
        if file is not None:
            if not self.root_is_file and g_pathmgr.isdir(folder):
                raise _twice(folder, file)
            return self._of_file(file)
        if self.root_is_file or not g_pathmgr.isdir(folder):
            raise DataError(
                f"video {name} has no folder of frames, expected {folder}\nGive as dataset.img_folder the folder that "
                f"has it, or a video file of its name, such as {name}.mp4."
            )
        found = frames_of(folder)
        frames = ImageFrames(name, folder, found.names, self.orientation, found.left_out)
        frames.decimals = found.decimals
        return frames

    def of_files(self, name: str, files: Sequence[str]) -> Frames:
        """The frames of a video that are these image files, paths below the root."""
        return ImageFrames(name, self.root, files, self.orientation)

    @cached_property
    def root_is_file(self) -> bool:
        """Whether the root is a video file or a list of them, by its suffix."""
        return self.root.lower().endswith((*VIDEO_SUFFIXES, LIST_SUFFIX)) and not g_pathmgr.isdir(self.root)

    def _of_file(self, path: str) -> Frames:
        # Imported where a video file is read: FFmpeg's libraries take a while to load.
        from sam2_training.data.timeline import read_timeline
        from sam2_training.data.video_frames import VideoFrames

        local = g_pathmgr.get_local_path(path)
        timeline = self._timelines.get((local, stamp_of([local])), lambda: read_timeline(local))
        return VideoFrames(local, timeline)

    def _files_in(self, parent: str, entries: Sequence[str] | None = None) -> dict[str, str]:
        """{name of a video: its file} in a folder below the root."""
        if parent not in self._files:
            folder = join(self.root, parent) if parent else self.root
            if entries is None:
                entries = list_names(folder) if g_pathmgr.isdir(folder) else []
            files = [name for name in entries if is_video_file(name) and not is_of_system(name)]
            self._files[parent] = _by_name([join(folder, file) for file in files], last_only=True)
        return self._files[parent]

    @cached_property
    def _listed(self) -> dict[str, str]:
        if is_video_file(self.root):
            return _by_name([self.root])
        folder = self.root.rpartition("/")[0]
        lines = [line for line in lines_of(self.root, "dataset.img_folder") if line and not line.startswith("#")]
        other = [line for line in lines if not is_video_file(line)]
        if other or not lines:
            raise DataError(
                f"the list names {some(other)}, expected video files ({', '.join(VIDEO_SUFFIXES)}): {self.root}\n"
                "Give a folder with one folder of images or one video file per video, or a text file with the path of "
                "one video file a line."
            )
        return _by_name([join(folder, line) for line in lines])


def video_decoder() -> str:
    """What decodes video files, with its version."""
    from sam2_training.data.video_frames import DECODER

    return DECODER


def is_video_file(name: str) -> bool:
    """By its suffix."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def _by_name(paths: Sequence[str], last_only: bool = False) -> dict[str, str]:
    """{file's name without suffix: path, or only its last part}. Raises DataError if two files are of one name."""
    found: dict[str, str] = {}
    for path in paths:
        last = path.rpartition("/")[2]
        name = last.rpartition(".")[0]
        if name in found:
            raise _twice(found[name], path)
        found[name] = last if last_only else path
    return found


def _twice(one: str, other: str) -> DataError:
    return DataError(f"two videos of one name, {one} and {other}\nKeep one of them, or rename one.")


def frame_root(img_folder: str | None, beside: str) -> str:
    """Where the frames are: img_folder, or, where that is not set, the folder that the annotations are in.

    Raises DataError if img_folder does not exist.
    """
    is_file = img_folder is not None and FrameLibrary(img_folder).root_is_file and g_pathmgr.exists(img_folder)
    if img_folder is not None and not is_file and not g_pathmgr.isdir(img_folder):
        raise DataError(
            f"dataset.img_folder does not exist: {img_folder}\n"
            "Correct it, or set dataset.img_folder=null if the frames lie beside the annotations."
        )
    return (img_folder or beside).rstrip("/") or "/"
