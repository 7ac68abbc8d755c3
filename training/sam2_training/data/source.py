"""The one interface through which videos with masks are read, whatever their format."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.core.shared_work import HeartbeatCallback
from sam2_training.data.labels import LabelRules
from sam2_training.data.pairing import LeftOut

Frame = npt.NDArray[np.uint8]
"""RGB [H, W, 3]."""
Masks = npt.NDArray[np.bool_]
"""[N, H, W]; objects may overlap."""

LARGEST_ID = 65535
"""Object ids are 1 to this, in every format: masks are written as files of ids, 0 is the background, and a PNG has 16
bits a pixel. A format whose objects have other names numbers them."""
UNLABELED = -1
"""In `Video.areas`: no mask says whether the object is there."""


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """What a frame's mask files say of N objects."""

    masks: Masks
    ignored: Masks | None = None
    """[N, H, W]: pixels of which nothing is known for the object; never in its mask. None: there are none."""

    def without_ignored(self, mask: npt.NDArray[np.bool_], number: int) -> npt.NDArray[np.bool_]:
        """A predicted mask [H, W] of object `number` in the pixels that take part; the same array if all do."""
        return mask if self.ignored is None else mask & ~self.ignored[number]


@dataclass(frozen=True, eq=False)
class Video:
    """What is known of a video of F frames and N objects without reading its pixels again."""

    name: str
    frame_files: tuple[str, ...]
    """F names of the frames in order: file names, where each frame is a file."""
    object_ids: tuple[int, ...]
    """N ids, 1 to LARGEST_ID, ascending."""
    areas: npt.NDArray[np.int32]
    """[F, N]: pixels of the object in the frame's mask; 0: absent; UNLABELED: no mask."""
    mask_files: tuple[str, ...] = ()
    """F file names of the masks, "" where a frame has none; () for formats without mask files."""
    object_folders: tuple[str, ...] = ()
    """N folders within the video's mask folder, or N times "" where one mask file holds all ids; () as above."""
    mask_folder: str = ""
    """The folder of its masks; "" if it is named like the video."""
    labels: str = ""
    """What its mask files hold, as `label_facts.VideoLabels` writes it; "" for formats without mask files."""
    size: tuple[int, int] | None = None
    """(H, W) of its frames as they are read; None if that is not known without decoding one."""
    content: str = ""
    """`VideoContent.digest` of its files; "" for formats that have none."""
    left_out: tuple[LeftOut, ...] = ()
    """Files beside its frames and masks that are not used, and why."""
    levels: tuple[float, float] | None = None
    """Values of its frames that become 0 and 255; None if they are 8-bit pictures. See `data.intensity`."""
    tallies: Mapping[str, int] = field(default_factory=dict)
    """Numbers on how it was read, which the start adds up over all videos: see `VideoSource.reading`."""

    @property
    def num_frames(self) -> int:
        return len(self.frame_files)

    def frame_name(self, frame_index: int) -> str:
        """A frame's name without what follows the last dot."""
        return PurePosixPath(self.frame_files[frame_index]).stem

    @cached_property
    def frame_names(self) -> tuple[str, ...]:
        """F names without what follows the last dot."""
        return tuple(self.frame_name(t) for t in range(self.num_frames))

    @cached_property
    def labeled(self) -> npt.NDArray[np.bool_]:
        """[F, N]: whether a mask says if the object is there."""
        return np.asarray(self.areas != UNLABELED, np.bool_)

    @cached_property
    def visible(self) -> npt.NDArray[np.bool_]:
        """[F, N]: whether the object is labeled and has a pixel."""
        return np.asarray(self.areas > 0, np.bool_)


@dataclass(frozen=True)
class Files:
    """Where a frame and its masks come from, for messages; "" where there is no file."""

    image: str
    mask: str


class VideoSource(ABC):
    """Videos of one format. Picklable, since loader workers hold it; `frame` and `masks` are called from threads.

    Whatever is wrong with a file is a DataError that names it. That the masks are those that were indexed is checked
    for all formats in one place, `VideoIndex.masks`.
    """

    location: str
    """Where the frames are, for messages."""
    mask_location: str
    """Where the masks are, for messages."""
    format_name: str = ""
    """As in `FORMATS`; set by whoever opens it."""
    label_rules: LabelRules = LabelRules()
    """What the values in mask files mean."""
    on_demand: bool = False
    """Facts are made when they are asked for and need no check, so no table is built: generated videos, a single file.
    Such a source has a `fingerprint`."""
    seed: int | None = None
    """What generated videos depend on; None for videos of files."""

    @abstractmethod
    def videos(self) -> Sequence[str]:
        """Names of all videos, each once, in natural order."""

    @abstractmethod
    def facts(self, name: str) -> Video:
        """Frames, objects and areas of a video. May decode every mask: the index asks once, and keeps the result."""

    @abstractmethod
    def frame(self, video: Video, frame_index: int) -> Frame:
        """Pixels of a frame."""

    def masks(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> Masks:
        """Masks of some objects, all labeled in this frame according to the video's facts."""
        raise DataError(f"video {video.name} has no masks: {self.where(video, frame_index).image}")

    def labels(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> FrameLabels:
        """The same masks, and what is to be ignored beside them."""
        return FrameLabels(self.masks(video, frame_index, object_ids))

    @abstractmethod
    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        """The files of a frame. object_id: whose mask file is meant, where each object has its own."""

    @abstractmethod
    def stamp(self, video: Video) -> int:
        """A number, 0 to 2**64 - 1, that changes when the video's files do; cheap, since every start asks for all."""

    def prepare(self, cache_dir: Path | None, heartbeat: HeartbeatCallback) -> None:  # noqa: B027 - most need nothing
        """Reads what all videos share, before anything else is asked for.

        cache_dir: where it may be kept for the next start; None: nowhere. heartbeat: called while it works. Raises
        DataError.
        """

    def object_names(self, name: str) -> Mapping[int, str]:
        """{object id: what the format calls the object}, where it has names."""
        return {}

    def missing(self, names: Sequence[str]) -> list[str]:
        """Those of the names that no video has."""
        known = set(self.videos())
        return [name for name in names if name not in known]

    def beside(self, names: Sequence[str]) -> list[str]:
        """Lines on what lies beside the videos of these names and is not used."""
        return []

    def reading(self, tallies: Mapping[str, int]) -> list[str]:
        """Lines for the start banner on how the videos are read. tallies: sums of theirs (`Video.tallies`)."""
        return []

    def num_frames(self, name: str) -> int:
        """Frames of a video."""
        return self.facts(name).num_frames

    def frames_per_second(self) -> float | None:
        """None if the format does not say."""
        return None

    def identity(self) -> str:
        """What tells this source from others: the index is cached under it."""
        return f"{type(self).__name__}\0{self.location}"

    def fingerprint(self) -> str:
        """SHA-256 (hex) of all that the videos depend on; asked of a source on demand only."""
        stamps = [(name, self.stamp(self.facts(name))) for name in self.videos()]
        return hashlib.sha256(repr(stamps).encode()).hexdigest()

    def close(self) -> None:  # noqa: B027 - most formats hold nothing open
        """Releases open files, if there are any."""


def stamp_of(paths: Sequence[str], decoder: str = "") -> int:
    """A number that changes with the modification time of a file or folder; what has none counts as never changed.

    decoder: what reads the files, if results depend on its version.
    """
    times: list[int | str] = [decoder] if decoder else []
    for path in paths:
        try:
            times.append(os.stat(path).st_mtime_ns)  # noqa: PTH116 - a store's path is not a Path
        except OSError:
            times.append(0)
    return int.from_bytes(hashlib.blake2b(repr(times).encode(), digest_size=8).digest(), "little")
