"""The one interface through which masks of videos are written, whatever the format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from sam2_training.core.text import count
from sam2_training.pictures.mask_png import IdMap, id_map

Bool = npt.NDArray[np.bool_]
Loss = Literal[
    "pixels that several objects share, given to one of them",
    "frames with pixels of which nothing is known, written as background",
    "frames without labels, left out",
    "frames without labels, written as empty",
    "objects of which a frame of others says nothing, written as absent there",
    "names of objects",
]
"""What a format has no place for."""


@dataclass(frozen=True)
class WrittenVideo:
    """A video whose masks are written: F frames of (H, W), N objects."""

    name: str
    frame_files: tuple[str, ...]
    """F names of image files in the video's folder."""
    size: tuple[int, int]
    object_ids: tuple[int, ...]
    """N ids from 1, ascending."""
    object_names: Mapping[int, str] = field(default_factory=dict)
    frames_per_second: float | None = None
    separate: bool = False
    """Whether objects overlap, or are labeled in frames in which others are not: one file of ids cannot say that."""

    @property
    def frame_names(self) -> tuple[str, ...]:
        """F names without suffix."""
        return tuple(PurePosixPath(file).stem for file in self.frame_files)

    @property
    def image_files(self) -> tuple[str, ...]:
        """F paths below a folder of all videos' frames."""
        return tuple(f"{self.name}/{file}" for file in self.frame_files)


@dataclass(frozen=True, eq=False)
class WrittenFrame:
    """A frame in which something is labeled."""

    index: int
    masks: Bool
    """[N, H, W]; objects may overlap."""
    presence: npt.NDArray[np.floating] | None = None
    """[N]: where masks overlap in a format that has one object a pixel, the highest wins; None: the last one."""
    labeled: Bool | None = None
    """[N]: whose mask is known; None: all are."""
    ignored: Bool | None = None
    """[N, H, W]: pixels of which nothing is known; not in the object's mask."""

    @property
    def ignored_for_any(self) -> Bool | None:
        """[H, W]: pixels of which nothing is known for an object; None if there are none."""
        if self.ignored is None or not self.ignored.any():
            return None
        return np.asarray(self.ignored.any(0), np.bool_)

    def is_labeled(self, number: int) -> bool:
        return self.labeled is None or bool(self.labeled[number])


class MaskWriter(ABC):
    """Writes the masks of videos, one after the other, each frame by frame in order.

    For each video `begin`, `write` for its labeled frames, `end`, all within a `with` block, after which all files are
    there; if it ends in an error, none is left half. Object ids are written as given.
    """

    name: str
    """As in `WRITERS`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.losses: Counter[Loss] = Counter()
        """How much of what could not be kept."""
        self.video: WrittenVideo
        self.open_files = ExitStack()
        """Files of the video that was begun last; removed after an error."""

    @abstractmethod
    def files(self, videos: Sequence[WrittenVideo]) -> list[str]:
        """Paths below the folder of all that is written for these videos."""

    def begin(self, video: WrittenVideo) -> None:
        """Starts a video."""
        self.video = video

    @abstractmethod
    def write(self, frame: WrittenFrame) -> None:
        """Adds a labeled frame of the video that was begun last."""

    def end(self) -> None:  # noqa: B027 - files of frames are complete
        """Completes the video."""

    def close(self) -> None:  # noqa: B027 - files of videos are complete
        """Completes what all videos share; after that all files are there."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open_files.__exit__(kind, error, trace)
        if error is None:
            self.close()

    def lost(self) -> list[str]:
        """A line for everything that could not be kept."""
        return [f"{loss}: {count(number, _UNITS[loss])}" for loss, number in self.losses.items() if number]

    def count_partly_labeled(self, frame: WrittenFrame) -> None:
        """For formats that have a place for labeled frames, and none for labeled objects."""
        unlabeled = 0 if frame.labeled is None else int((~frame.labeled).sum())
        self.losses["objects of which a frame of others says nothing, written as absent there"] += unlabeled

    def count_ignored(self, frame: WrittenFrame) -> None:
        """For formats that have no place for pixels of which nothing is known."""
        has_some = frame.ignored_for_any is not None
        self.losses["frames with pixels of which nothing is known, written as background"] += has_some

    def ids_of(self, frame: WrittenFrame) -> IdMap:
        """The one object of each pixel [H, W], 0 for none; counts what overlaps."""
        shared = int(np.count_nonzero(frame.masks.sum(0, dtype=np.uint16) > 1))
        self.losses["pixels that several objects share, given to one of them"] += shared
        return id_map(frame.masks, self.video.object_ids, frame.presence)


_UNITS: dict[Loss, str] = {
    "pixels that several objects share, given to one of them": "pixel",
    "frames with pixels of which nothing is known, written as background": "frame",
    "frames without labels, left out": "frame",
    "frames without labels, written as empty": "frame",
    "objects of which a frame of others says nothing, written as absent there": "mask",
    "names of objects": "name",
}
