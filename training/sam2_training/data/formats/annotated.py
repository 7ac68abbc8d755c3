"""Videos whose masks are regions in documents: run-length encodings, polygons and bitmaps, all kept as RLE."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.data import rle
from sam2_training.data.content import VideoContent
from sam2_training.data.frames import KEPT_VIDEOS, Frames
from sam2_training.data.recent import Recent
from sam2_training.data.source import UNLABELED, Files, Frame, FrameLabels, Masks, Video, VideoSource, stamp_of

IGNORED = 0
"""`Region.object_id` of pixels of which nothing is known for any object."""


@dataclass(frozen=True)
class Region:
    """Pixels of one object in one frame. An object may have several in a frame, which are united."""

    object_id: int
    counts: bytes
    """As in `rle`, of the frame's size."""


@dataclass(frozen=True, eq=False)
class AnnotatedVideo:
    """A video of F frames and N objects as its document describes it."""

    frames: Frames
    object_ids: tuple[int, ...]
    """N ids, ascending."""
    labeled: npt.NDArray[np.bool_]
    """[F] or [F, N]: whether the document says if the object is there; if it does and has no region, it is absent."""
    regions: Callable[[int], Sequence[Region]]
    """Those of a frame by its index. Raises DataError. Asked again and again: parsed already, or quick to read."""
    size: tuple[int, int] | None = None
    """(H, W) of the frames by the document, which is compared with that of the files; None if it does not say."""
    object_names: Mapping[int, str] = field(default_factory=dict)
    """{object id: what the document calls it}, where it has names."""
    tallies: Mapping[str, int] = field(default_factory=dict)
    """As `Video.tallies`."""


class AnnotatedSource(VideoSource):
    """The base of such formats: a format says what its documents mean, this does the rest.

    A format defines `videos`, `annotated`, `annotation_path` and `annotation_files`, and sets the locations.
    """

    def __init__(self) -> None:
        self._opened: Recent[str, AnnotatedVideo] = Recent(KEPT_VIDEOS, _close)

    @abstractmethod
    def annotated(self, name: str) -> AnnotatedVideo:
        """A video's document, parsed. Raises DataError with everything that its text shows to be wrong."""

    @abstractmethod
    def annotation_path(self, name: str, frame_index: int) -> str:
        """The document of a frame, for messages."""

    @abstractmethod
    def annotation_files(self, name: str) -> Sequence[str]:
        """Files and folders whose modification times change when the video's annotations do."""

    def opened(self, name: str) -> AnnotatedVideo:
        """`annotated`, kept for the next frames."""
        return self._opened.get(name, lambda: self.annotated(name))

    def facts(self, name: str) -> Video:
        found = self.opened(name)
        size = found.frames.size()
        if found.size is not None and found.size != size:
            raise DataError(
                f"video {name} is {found.size[0]}x{found.size[1]} by its annotations, its frames are "
                f"{size[0]}x{size[1]} (height x width)\n  annotations  {self.annotation_path(name, 0)}\n"
                f"  frames       {found.frames.location}\nGive the frames that were annotated."
            )
        content = VideoContent()
        areas = np.full((len(found.frames.files), len(found.object_ids)), UNLABELED, np.int32)
        labeled = np.broadcast_to(found.labeled.reshape(len(areas), -1), areas.shape)
        for t in np.flatnonzero(labeled.any(1)).tolist():
            regions = found.regions(t)
            ignored = _united(regions, IGNORED, size)
            for column, object_id in enumerate(found.object_ids):
                if labeled[t, column]:
                    areas[t, column] = _area(_united(regions, object_id, size), ignored, size)
            for region in regions:
                content.add_region(t, region.object_id, region.counts)
        found.frames.add_to(content)
        return Video(
            name,
            found.frames.files,
            found.object_ids,
            areas,
            size=size,
            content=content.digest(),
            left_out=found.frames.left_out,
            tallies=found.tallies,
        )

    def frame(self, video: Video, frame_index: int) -> Frame:
        return self.opened(video.name).frames.read(frame_index)

    def masks(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> Masks:
        return self.labels(video, frame_index, object_ids).masks

    def labels(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> FrameLabels:
        found = self.opened(video.name)
        size = video.size or found.frames.size()
        regions = found.regions(frame_index)
        masks = np.zeros((len(object_ids), *size), np.bool_)
        united = {n: _united(regions, object_id, size) for n, object_id in enumerate(object_ids)}
        there = {n: counts for n, counts in united.items() if counts is not None}
        masks[list(there)] = rle.decode(list(there.values()), size)
        ignored = _united(regions, IGNORED, size)
        if ignored is None:
            return FrameLabels(masks)
        unknown = rle.decode([ignored], size)
        return FrameLabels(masks & ~unknown, np.broadcast_to(unknown, masks.shape))

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        image = self.opened(video.name).frames.path(frame_index)
        return Files(image, self.annotation_path(video.name, frame_index))

    def stamp(self, video: Video) -> int:
        try:
            frames = self.opened(video.name).frames
        except DataError:
            return 0  # its document has changed into one that cannot be read: `facts` says how
        return stamp_of([*self.annotation_files(video.name), *frames.stamp_paths()], frames.decoder)

    def object_names(self, name: str) -> Mapping[int, str]:
        return self.opened(name).object_names

    def close(self) -> None:
        self._opened.clear()


def _close(video: AnnotatedVideo) -> None:
    video.frames.close()


def _united(regions: Sequence[Region], object_id: int, size: tuple[int, int]) -> bytes | None:
    counts = [region.counts for region in regions if region.object_id == object_id]
    return rle.union(counts, size) if counts else None


def _area(counts: bytes | None, ignored: bytes | None, size: tuple[int, int]) -> int:
    if counts is None:
        return 0
    unknown = rle.area(rle.intersection([counts, ignored], size), size) if ignored is not None else 0
    return rle.area(counts, size) - unknown
