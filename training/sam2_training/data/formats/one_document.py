"""The base of formats in which one JSON document describes all videos: read as a stream, once, and kept in a file."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import weakref
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.shared_work import HeartbeatCallback
from sam2_training.core.text import shown, some
from sam2_training.data import rle
from sam2_training.data.annotation_store import AnnotationStore, Columns, PieceWriter
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.annotated import AnnotatedSource, AnnotatedVideo, Region
from sam2_training.data.formats.listing import join
from sam2_training.data.formats.object_table import ObjectTable, Targets
from sam2_training.data.frames import FrameLibrary, Frames
from sam2_training.data.images import UnreadableFileError
from sam2_training.data.json_stream import Member, stream_members
from sam2_training.data.source import stamp_of

HEARTBEAT_ENTRIES = 4096
"""Entries of a document between two heartbeats."""
FORMAT_VERSION = 1
"""Of the arrays: a file of another version is made again."""

_logger = logging.getLogger(__name__)


class OneDocument(AnnotatedSource):
    """Such videos. A format defines `read_document`."""

    def __init__(self, config: DatasetConfig) -> None:
        super().__init__()
        self.document, self.targets = config.annotations, config.targets
        self.location = config.img_folder or os.path.dirname(self.document) or "."  # noqa: PTH120 - may be a store's
        self.mask_location = self.document
        self._library = FrameLibrary(self.location, config.orientation)
        self._store: AnnotationStore | None = None

    frame_number_is = "With a video file, order_in_video is the number of a frame in it."
    """For messages."""

    @abstractmethod
    def read_document(self, writer: PieceWriter, targets: Targets | None, heartbeat: HeartbeatCallback) -> ObjectTable:
        """What the document says; segmentations, as JSON, go to the writer. Raises DataError."""

    def prepare(self, cache_dir: Path | None, heartbeat: HeartbeatCallback) -> None:
        def fill(writer: PieceWriter) -> Columns:
            return self.read_document(writer, self.targets, heartbeat).columns()

        key = json.dumps([FORMAT_VERSION, self.identity(), _size_of_file(self.document), stamp_of([self.document])])
        name = f"dataset_annotations_{hashlib.sha256(os.fsencode(self.identity())).hexdigest()[:8]}.bin"
        if cache_dir is not None:
            path = cache_dir / name
            if path.is_file():
                try:
                    self._store = AnnotationStore(path, key)
                    return
                except (OSError, ValueError) as error:
                    _logger.warning("the annotations are read again; those kept in %s: %s", path, error)
            try:
                self._store = AnnotationStore.build(path, key, fill)
                return
            except OSError as error:
                _logger.warning("the annotations cannot be kept in %s: %s", path, error)
        self._store = self._build_for_this_process(key, fill, name)

    def videos(self) -> Sequence[str]:
        return self._table.video_names

    def annotated(self, name: str) -> AnnotatedVideo:
        table = self._table
        number = self._numbers[name]
        first, last = _span(table.frame_ends, number)
        files = table.frame_files.between(first, last)
        self._check_names(name, files)
        if self._is_video_file(name, files):
            return self._of_video_file(name, number)
        frames = self._library.of_files(name, files)
        return self._video(number, frames, np.ones(last - first, np.bool_), range(last - first))

    def frame_number(self, file: str, order: int) -> int:
        """A frame's number in a video file, from 0. file, order: as `ObjectTable` has them. Raises ValueError."""
        return order

    def _is_video_file(self, name: str, files: Sequence[str]) -> bool:
        """Whether a video's frames are in a video file of its name, and not where the document says."""
        return self._library.file_of(name) is not None and not g_pathmgr.exists(join(self.location, files[0]))

    def _of_video_file(self, name: str, number: int) -> AnnotatedVideo:
        """Frames of the file that the document does not list are unlabeled. Raises DataError for one it lacks."""
        table = self._table
        frames = self._library.of_video(name)
        places: dict[int, int] = {}
        for place, n in enumerate(range(*_span(table.frame_ends, number))):
            file, order = table.frame_files[n], int(table.frame_orders[n])
            try:
                found = self.frame_number(file, order)
            except ValueError:
                found = -1
            if not 0 <= found < len(frames.files) or found in places:
                raise DataError(
                    f"{shown(file)} of {self.document} is no frame of {frames.location}, expected a number of its own "
                    f"from 0 to {len(frames.files) - 1}\n{self.frame_number_is}"
                )
            places[found] = place
        labeled = np.zeros(len(frames.files), np.bool_)
        labeled[list(places)] = True
        return self._video(number, frames, labeled, places)

    def _video(
        self, number: int, frames: Frames, labeled: npt.NDArray[np.bool_], places: Mapping[int, int] | Sequence[int]
    ) -> AnnotatedVideo:
        """places: {frame: its place among the document's frames of the video}."""
        table = self._table
        objects = slice(*_span(table.object_ends, number))
        ids = tuple(table.object_ids[objects].tolist())
        height, width = table.video_sizes[number].tolist()
        size = (height, width) if height else None
        regions = _Regions(self, table, _span(table.frame_ends, number)[0], frames, size)
        names = dict(zip(ids, table.object_names[objects], strict=True))
        return AnnotatedVideo(frames, ids, labeled, lambda t: regions(places[t]), size, names)

    def annotation_path(self, name: str, frame_index: int) -> str:
        return self.document

    def annotation_files(self, name: str) -> Sequence[str]:
        return [self.document]

    def identity(self) -> str:
        return f"{type(self).__name__}\0{self.document}\0{self.location}\0{self.targets}"

    def reading(self, tallies: Mapping[str, int]) -> list[str]:
        return list(self._table.lines[:])

    def beside(self, names: Sequence[str]) -> list[str]:
        return list(self._table.unused[:])

    def close(self) -> None:
        super().close()
        self.__dict__.pop("_table", None)
        self.__dict__.pop("_numbers", None)
        if self._store is not None:
            self._store.close()

    def members(self, heartbeat: HeartbeatCallback) -> Iterator[Member]:
        """Everything in the document. heartbeat: called now and then. Raises DataError."""
        for number, member in enumerate(stream_members(self.document)):
            yield member
            if number % HEARTBEAT_ENTRIES == 0:
                heartbeat()

    def piece(self, offset: int, length: int) -> object:
        """A segmentation as it stands in the document."""
        assert self._store is not None  # of a table that came from it
        return json.loads(self._store.piece(offset, length))

    @cached_property
    def _table(self) -> ObjectTable:
        if self._store is None:
            raise RuntimeError("the document has not been read: `prepare` comes first")
        return ObjectTable.from_columns(self._store.columns)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self._table.video_names[:])}

    def _check_names(self, name: str, files: Sequence[str]) -> None:
        """Raises DataError for two frames of a video whose masks would be written to one file."""
        stems: dict[str, str] = {}
        for file in files:
            stem = file.rpartition("/")[2].rpartition(".")[0]
            if stem in stems:
                raise UnreadableFileError(
                    f"video {shown(name)} has two frames of one name, {some([stems[stem], file])}, expected a file of "
                    f"its own name for each: {self.document}\nCorrect file_name or video_id, or rename the files."
                )
            stems[stem] = file

    def _build_for_this_process(self, key: str, fill: object, name: str) -> AnnotationStore:
        """In a folder of its own, removed when this source is."""
        folder = tempfile.mkdtemp(prefix="sam2_training_")
        weakref.finalize(self, _remove, folder, name, os.getpid())
        try:
            return AnnotationStore.build(Path(folder) / name, key, fill)  # type: ignore[arg-type]
        except OSError as error:
            raise DataError(
                f"the annotations of {self.document} cannot be kept while they are used ({error.strerror or error}): "
                f"{folder}\nFree some space there, or name another folder in TMPDIR."
            ) from error

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_table", "_numbers")}


class _Regions:
    """The regions of a video's frames, read from the store when they are asked for."""

    def __init__(
        self, source: OneDocument, table: ObjectTable, first: int, frames: Frames, size: tuple[int, int] | None
    ) -> None:
        """first: the number of the video's first frame."""
        self._source, self._table, self._first, self._frames, self._size = source, table, first, frames, size

    def __call__(self, frame_index: int) -> list[Region]:
        table, frame = self._table, self._first + frame_index
        if self._size is None:
            self._size = self._frames.size()
        regions = []
        for n in range(*_span(table.region_ends, frame)):
            segmentation = self._source.piece(int(table.region_offsets[n]), int(table.region_lengths[n]))
            try:
                counts = rle.of_segmentation(segmentation, self._size)
            except ValueError as error:
                raise UnreadableFileError(
                    f"annotations[{table.region_numbers[n]}], on frame {table.frame_files[frame]}: {error}: "
                    f"{self._source.document}\nCorrect or remove the annotation, or export it again."
                ) from error
            regions.append(Region(int(table.region_objects[n]), counts))
        return regions


def kind_of_document(path: str) -> str | None:
    """The format of a JSON document by the first of its entries that tells: "coco", "ytvis", or None for neither."""
    if not g_pathmgr.isfile(path):
        return None
    try:
        with closing(stream_members(path)) as members:
            for member in members:
                entry = member.value if isinstance(member.value, dict) else {}
                if member.number is not None and member.key == "images":
                    return "coco"
                if member.key in ("annotations", "videos") and not entry.keys().isdisjoint(_TELLING):
                    return next(kind for key, kind in _TELLING.items() if key in entry)
    except DataError:  # no document, or one that is damaged before anything tells
        return None
    return None


_TELLING = {"image_id": "coco", "segmentations": "ytvis", "file_names": "ytvis"}
"""{key of an annotation or a video: the format it belongs to}"""


def _remove(folder: str, name: str, process_id: int) -> None:
    if os.getpid() == process_id:  # not in a worker that was forked
        (Path(folder) / name).unlink(missing_ok=True)
        Path(folder).rmdir()


def _size_of_file(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a store's path is not a Path
    except OSError:
        return 0


def _span(ends: np.ndarray, index: int) -> tuple[int, int]:
    return (int(ends[index - 1]) if index else 0), int(ends[index])
