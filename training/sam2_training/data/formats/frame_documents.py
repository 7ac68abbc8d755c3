"""The base of formats with one document per frame, such as LabelMe's JSON: which belongs where, and who is who."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Generic, Protocol, TypeVar

import numpy as np

from sam2_training.core.errors import DataError
from sam2_training.core.text import natural_key
from sam2_training.data.formats.annotated import IGNORED, AnnotatedSource, AnnotatedVideo, Region
from sam2_training.data.formats.listing import are_one, join, list_names
from sam2_training.data.frames import Frames
from sam2_training.data.pairing import NameKey, hold_decimals, is_of_system, name_key
from sam2_training.data.rle import Size
from sam2_training.data.source import Video, stamp_of


class Shape(Protocol):
    """What a document says of one region."""

    @property
    def counts(self) -> bytes:
        """Its pixels, as in `rle`."""


S = TypeVar("S", bound=Shape)
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class FrameDocument(Generic[S]):
    """A document that was read."""

    path: str
    shapes: Sequence[S]
    frame_file: str = ""
    """The file name of its frame, where it says so."""


@dataclass(frozen=True)
class Numbering:
    """Which shapes of a video are one object."""

    ids: Mapping[int, tuple[int, ...]]
    """{frame index: object id of each shape of its document, in order}."""
    object_ids: tuple[int, ...]
    """All of them, ascending."""
    object_names: Mapping[int, str] = field(default_factory=dict)
    tallies: Mapping[str, int] = field(default_factory=dict)
    """As `Video.tallies`."""


@dataclass(frozen=True)
class _Known:
    """What is kept of every video that was read once, so that its documents need not all be read again."""

    num_frames: int
    size: Size
    files: Mapping[int, str]
    """{frame index: document}."""
    numbering: Numbering


class FrameKeys:
    """Finds frames by names that people take for the same."""

    def __init__(self, files: Sequence[str]) -> None:
        """files: names of the frames in order, as `Video.frame_files`."""
        stems = [PurePosixPath(file).stem for file in files]
        self._decimals = hold_decimals(stems)
        self._files = {file: t for t, file in enumerate(files)}
        self._keys: dict[NameKey, int] = {name_key(stem, self._decimals): t for t, stem in enumerate(stems)}

    def find(self, file: str) -> int | None:
        """The index of the frame of this file name, or else of this name with another suffix."""
        if file in self._files:
            return self._files[file]
        return self._keys.get(name_key(PurePosixPath(file).stem, self._decimals))


class FrameDocuments(AnnotatedSource, Generic[S]):
    """The base of such formats. One defines `videos`, `frames_of`, `document_folder`, `read` and `number`."""

    suffix: str
    """Of the documents, in lower case."""
    keeps_numbering = True
    """Whether a video's numbering is kept; not worth it where a video is one document."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, _Known] = {}

    @abstractmethod
    def frames_of(self, name: str) -> Frames:
        """The frames of a video."""

    @abstractmethod
    def document_folder(self, name: str) -> str:
        """The folder of a video's documents."""

    @abstractmethod
    def read(self, path: str, size: Size) -> FrameDocument[S]:
        """A document whose frame is of this size. Raises DataError."""

    @abstractmethod
    def number(self, name: str, documents: Mapping[int, FrameDocument[S]]) -> Numbering:
        """Which shapes are one object. documents: by frame index, ascending. Raises DataError."""

    def annotated(self, name: str) -> AnnotatedVideo:
        frames, folder = self.frames_of(name), self.document_folder(name)
        known = self._known.get(name)
        documents: dict[int, FrameDocument[S]] = {}
        if known is None or known.num_frames != len(frames.files):
            known, documents = self._read_all(name, frames)
            if self.keeps_numbering:
                self._known[name] = known
        if are_one(folder, frames.location):
            used = set(known.files.values())
            frames.left_out = tuple(one for one in frames.left_out if one.name not in used)
        labeled = np.zeros(len(frames.files), np.bool_)
        labeled[list(known.files)] = True

        def regions(frame_index: int) -> list[Region]:
            if frame_index not in known.files:
                return []
            path = join(folder, known.files[frame_index])
            shapes = (documents.get(frame_index) or self.read(path, known.size)).shapes
            ids = known.numbering.ids[frame_index]
            if len(ids) != len(shapes):
                raise DataError(
                    f"the document has changed since it was read first: it has {len(shapes)} shapes, expected "
                    f"{len(ids)}: {path}\nStart again."
                )
            return [Region(object_id, shape.counts) for object_id, shape in zip(ids, shapes, strict=True)]

        numbering = known.numbering
        return AnnotatedVideo(
            frames,
            numbering.object_ids,
            labeled,
            regions,
            known.size,
            numbering.object_names,
            numbering.tallies,
        )

    def document_files(self, name: str) -> list[str]:
        """File names of a video's documents, in natural order."""
        names = list_names(self.document_folder(name))
        return [file for file in names if file.lower().endswith(self.suffix) and not is_of_system(file)]

    def annotation_path(self, name: str, frame_index: int) -> str:
        folder = self.document_folder(name)
        known = self._known.get(name)
        return join(folder, known.files[frame_index]) if known and frame_index in known.files else folder

    def annotation_files(self, name: str) -> list[str]:
        folder = self.document_folder(name)
        return [folder, *(join(folder, file) for file in self.document_files(name))]

    def stamp(self, video: Video) -> int:
        """Does not read the documents, as `annotated` would."""
        try:
            return stamp_of([*self.annotation_files(video.name), *self.frames_of(video.name).stamp_paths()])
        except DataError:
            return 0  # `facts` says what is wrong now

    def _read_all(self, name: str, frames: Frames) -> tuple[_Known, dict[int, FrameDocument[S]]]:
        folder, size = self.document_folder(name), frames.size()
        keys = FrameKeys(frames.files)
        found: dict[int, FrameDocument[S]] = {}
        for file in self.document_files(name):
            document = self.read(join(folder, file), size)
            number = keys.find(document.frame_file) if document.frame_file else None
            number = keys.find(file) if number is None else number
            if number is None:
                raise DataError(
                    f"the document belongs to no frame: {document.path}\n  frames  {frames.location}, "
                    f"{len(frames.files)} of them, such as {frames.files[0]}\nPut the frame back, or remove the "
                    "document."
                )
            if number in found:
                raise DataError(
                    f"two documents for frame {frames.files[number]}: {found[number].path} and {document.path}\n"
                    "Keep one of them."
                )
            found[number] = document
        documents = {number: found[number] for number in sorted(found)}
        files = {number: document.path.rpartition("/")[2] for number, document in documents.items()}
        return _Known(len(frames.files), size, files, self.number(name, documents)), documents


def numbered(identities: Mapping[int, Sequence[K | None]], name_of: Callable[[K], str]) -> Numbering:
    """Objects that have names instead of ids: 1, 2, 3 ... in the natural order of the names.

    identities: {frame index: whose each shape is; None: its pixels are ignored}.
    """
    every = {identity for of_frame in identities.values() for identity in of_frame if identity is not None}
    order = sorted(every, key=lambda identity: (natural_key(name_of(identity)), repr(identity)))
    ids = {identity: number for number, identity in enumerate(order, 1)}
    return Numbering(
        {t: tuple(IGNORED if one is None else ids[one] for one in of_frame) for t, of_frame in identities.items()},
        tuple(ids.values()),
        {number: name_of(identity) for identity, number in ids.items()},
        {"named objects": len(ids)},
    )
