"""YOLO segmentation labels: a text file per image, a polygon per line, in fractions of its sides."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import natural_key, some
from sam2_training.data import rle
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.frame_documents import FrameDocument, FrameDocuments, Numbering, numbered
from sam2_training.data.formats.listing import join, list_names
from sam2_training.data.formats.overlap_identity import link_by_overlap
from sam2_training.data.formats.yolo_layout import LABEL_SUFFIX, YoloLayout, label_folders, yolo_layout
from sam2_training.data.frames import FrameLibrary, Frames
from sam2_training.data.images import UnreadableFileError
from sam2_training.data.pairing import FRAME_SUFFIXES, name_key
from sam2_training.data.source import LARGEST_ID

_OUTSIDE = 0.01
"""So far outside the image, in fractions of its sides, a corner may lie, as in Ultralytics."""
_LARGEST = 2**26
"""Bytes of a label file."""


@dataclass(frozen=True)
class YoloShape:
    """A line."""

    class_number: int
    track: int | None
    counts: bytes


class YoloSource(FrameDocuments[YoloShape]):
    """<labels>/<name>.txt of <images>/<name>.jpg: a folder is a video if identity is asked, else each image is one."""

    suffix = LABEL_SUFFIX

    def __init__(self, layout: YoloLayout, config: DatasetConfig) -> None:
        super().__init__()
        self.keeps_numbering = config.identity is not None
        self.layout, self.how, self.threshold = layout, config.identity, config.identity_iou
        self.location, self.mask_location = layout.images, layout.labels
        self.orientation = config.orientation
        self._documents: dict[str, tuple[str, list[str]]] | None = None
        self._frames: dict[str, str] = {}
        self._without_objects = 0

    def identity(self) -> str:
        how = f"{self.how} {self.threshold}" if self.how == "overlap" else f"{self.how}"
        return "\0".join([super().identity(), self.mask_location, how, self.orientation or ""])

    def videos(self) -> list[str]:
        return sorted(self._listed(), key=natural_key)

    def beside(self, names: Sequence[str]) -> list[str]:
        number = self._without_objects
        return [f"images whose label file is empty: {number}"] if number else []

    def reading(self, tallies: Mapping[str, int]) -> list[str]:
        if self.how is None:
            return ["each image is a video of one frame; dataset.identity says how objects go on in the next one"]
        if self.how == "overlap":
            return [
                f"identity by overlap (IoU at least {self.threshold:g}): {tallies.get('objects', 0)} objects, "
                f"{tallies.get('links', 0)} links between frames, {tallies.get('ambiguous', 0)} of them ambiguous"
            ]
        if self.how == "class":
            return ["each class is one object: id = class + 1"]
        renumbered = tallies.get("named objects", 0)
        return [f"{renumbered} tracks are numbered 1, 2, 3 ... in their order"] if renumbered else []

    def frames_of(self, name: str) -> Frames:
        folder = self._folder(name)
        if self.how is None:
            image = self._frames[name]
            return FrameLibrary(self.layout.images, self.orientation).of_files(name, [image])
        if folder:
            return FrameLibrary(self.layout.images, self.orientation).of_video(folder)
        parent, _, last = self.layout.images.rpartition("/")
        return FrameLibrary(parent or ".", self.orientation).of_video(last)

    def document_folder(self, name: str) -> str:
        folder = self._folder(name)
        return join(self.layout.labels, folder) if folder else self.layout.labels

    def annotation_path(self, name: str, frame_index: int) -> str:
        if self.how is None:
            return join(self.document_folder(name), self._listed()[name][1][0])
        return super().annotation_path(name, frame_index)

    def document_files(self, name: str) -> list[str]:
        return self._listed()[name][1] if self.how is None else super().document_files(name)

    def annotation_files(self, name: str) -> list[str]:
        files = super().annotation_files(name)
        return files[1:] if self.how is None else files

    def read(self, path: str, size: rle.Size) -> FrameDocument[YoloShape]:
        return FrameDocument(path, [self._shape(path, number, line, size) for number, line in _lines(path)])

    def number(self, name: str, documents: Mapping[int, FrameDocument[YoloShape]]) -> Numbering:
        classes = {t: tuple(shape.class_number for shape in one.shapes) for t, one in documents.items()}
        if self.how is None:
            own = {t: tuple(range(1, len(of_frame) + 1)) for t, of_frame in classes.items()}
            names = {n: self._class(c) for of_frame in classes.values() for n, c in enumerate(of_frame, 1)}
            return Numbering(own, tuple(names), names)
        _require_one_video(name, [document.path for document in documents.values()])
        if self.how == "track":
            return self._tracks(documents)
        if self.how == "class":
            every = sorted({number for of_frame in classes.values() for number in of_frame})
            ids = {t: tuple(number + 1 for number in of_frame) for t, of_frame in classes.items()}
            return Numbering(ids, tuple(n + 1 for n in every), {n + 1: self._class(n) for n in every})
        regions = [[shape.counts for shape in one.shapes] for one in documents.values()]
        size = self.frames_of(name).size()
        links = link_by_overlap(regions, list(classes.values()), size, self.threshold)
        ids = dict(zip(documents, links.objects, strict=True))
        names = {n: self._class(c) for t in ids for n, c in zip(ids[t], classes[t], strict=True)}
        tallies = {"objects": links.number, "links": links.links, "ambiguous": links.ambiguous}
        return Numbering(ids, tuple(sorted(names)), names, tallies)

    def _tracks(self, documents: Mapping[int, FrameDocument[YoloShape]]) -> Numbering:
        tracks = {t: [shape.track or 0 for shape in one.shapes] for t, one in documents.items()}
        for t, of_frame in tracks.items():
            twice = sorted({track for track in of_frame if of_frame.count(track) > 1})
            if twice:
                raise DataError(f"track {twice[0]} has two lines: {documents[t].path}\nGive each object its own track.")
        every = sorted({track for of_frame in tracks.values() for track in of_frame})
        if every and not 1 <= every[0] <= every[-1] <= LARGEST_ID:
            return numbered(tracks, str)
        names: dict[int, str] = {}
        for one in documents.values():
            for shape in one.shapes:
                names.setdefault(shape.track or 0, self._class(shape.class_number))
        return Numbering({t: tuple(of_frame) for t, of_frame in tracks.items()}, tuple(every), names)

    def _shape(self, path: str, number: int, line: str, size: rle.Size) -> YoloShape:
        def error(found: str, cure: str) -> DataError:
            return DataError(f"line {number} {found}: {path}\n{cure}")

        fields = line.split()
        if not re.fullmatch(r"\d{1,5}", fields[0]):
            raise error(f"begins with {fields[0][:20]}, expected the number of a class", "Export the labels again.")
        try:
            values = [float(field) for field in fields[1:]]
        except ValueError:
            values = [math.nan]
        if not all(math.isfinite(value) for value in values):
            raise error("has a value that is not a number", "Export the labels again.")
        if len(values) in (4, 5):
            raise error("is a box (4 values), expected a polygon of at least three corners", "Export segmentations.")
        track = None
        if self.how == "track":
            track = int(values[-1]) if len(values) % 2 else None
            if track is None or track != values[-1] or track < 0:
                raise error(
                    "does not end with the number of a track", "Write one without confidences (save_conf=False)."
                )
            values = values[:-1]
        elif len(values) % 2:
            raise error(
                f"has {len(values)} values after the class, expected pairs x y",
                "If the last is the number of a track, set dataset.identity=track; write no confidences.",
            )
        if values and not -_OUTSIDE <= min(values) <= max(values) <= 1 + _OUTSIDE:
            raise error(
                f"has the coordinate {max(values, key=abs):g}, expected fractions of the image's sides from 0 to 1",
                "Divide x by the width and y by the height; write no confidences.",
            )
        try:
            corners = [value * size[1 - place % 2] for place, value in enumerate(values)]
            return YoloShape(int(fields[0]), track, rle.of_polygons([corners], size))
        except ValueError as problem:
            raise error(f"is not a polygon ({problem})", "Export the labels again.") from problem

    def _class(self, number: int) -> str:
        return self.layout.names.get(number, f"class {number}")

    def _folder(self, name: str) -> str:
        return self._listed()[name][0]

    def _listed(self) -> dict[str, tuple[str, list[str]]]:
        """{video: (folder within that of the labels, its label files)}."""
        if self._documents is None:
            found: dict[str, tuple[str, list[str]]] = {}
            for folder, files in label_folders(self.layout.labels):
                if self.how is not None:
                    found[folder or self.layout.images.rpartition("/")[2]] = (folder, files)
                else:
                    self._add_images(found, folder, files)
            if not found:
                raise DataError(f"no label file with a polygon: {self.layout.labels}\nExport the labels as text files.")
            self._documents = found
        return self._documents

    def _add_images(self, found: dict[str, tuple[str, list[str]]], folder: str, files: Sequence[str]) -> None:
        place = join(self.layout.images, folder) if folder else self.layout.images
        names = list_names(place) if g_pathmgr.isdir(place) else []
        images = {name_key(PurePosixPath(one).stem): one for one in names if one.lower().endswith(FRAME_SUFFIXES)}
        for file in files:
            stem, path = PurePosixPath(file).stem, join(self.layout.labels, folder, file)
            image = images.get(name_key(stem))
            if image is None:
                raise DataError(
                    f"no image belongs to this label file: {path}\n  images  {place}\nPut it back, or remove it."
                )
            if not _lines(path):
                self._without_objects += 1
                continue
            name = join(folder, stem) if folder else stem
            found[name], self._frames[name] = (folder, [file]), join(folder, image) if folder else image


def _lines(path: str) -> list[tuple[int, str]]:
    """(number, text) of the lines that are not empty. An empty file has none: nothing is in its image."""
    try:
        with g_pathmgr.open(path, "rb") as file:
            data: bytes = file.read(_LARGEST + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFileError(f"the file cannot be read ({reason}): {path}\nExport it again.") from error
    if len(data) > _LARGEST:
        raise UnreadableFileError(f"the file has more than {_LARGEST:,} bytes, expected labels of an image: {path}")
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _require_one_video(name: str, paths: Sequence[str]) -> None:
    """Raises DataError if the names in a folder are those of several videos, whose objects must not be linked."""
    stems = {name_key(PurePosixPath(path).stem)[::2]: PurePosixPath(path).stem for path in paths}
    if len(stems) > 1:
        raise DataError(
            f"frames of several videos in one folder, by their names ({some(sorted(stems.values()))}): {name}, "
            f"{paths[0].rpartition('/')[0]}\nGive each video a folder, in images and in labels."
        )


def recognizes(config: DatasetConfig) -> bool:
    """Whether the folders are laid out so, and the first line of a label file is a polygon."""
    if not config.annotations:
        return False
    try:
        layout = yolo_layout(config)
        for folder, files in label_folders(layout.labels):
            for file in files[:20]:
                for _, line in _lines(join(layout.labels, folder, file))[:1]:
                    return _is_polygon(line.split())
    except DataError:
        return False  # whichever format it is read as says what is wrong
    return False


def _is_polygon(fields: Sequence[str]) -> bool:
    try:
        corners = [float(field) for field in fields[1 : len(fields) - (1 - len(fields) % 2)]]
    except ValueError:
        return False
    return fields[0].isdecimal() and len(corners) >= 6 and all(-_OUTSIDE <= one <= 1 + _OUTSIDE for one in corners)


def open_source(config: DatasetConfig, seed: int) -> YoloSource:
    """Raises DataError if the folders are not there."""
    return YoloSource(yolo_layout(config), config)
