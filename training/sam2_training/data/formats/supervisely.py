"""Supervisely's video projects: one JSON per video, whose frames hold bitmaps and polygons of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import natural_key
from sam2_training.data import rle
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.annotated import AnnotatedSource, AnnotatedVideo, Region
from sam2_training.data.formats.json_values import Record
from sam2_training.data.formats.listing import join, list_folders, list_names
from sam2_training.data.formats.supervisely_figures import KINDS, mask_of
from sam2_training.data.frames import FrameLibrary, frame_root
from sam2_training.data.pairing import is_of_system

DOCUMENTS, VIDEOS, META = "ann", "video", "meta.json"
_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")


class SuperviselySource(AnnotatedSource):
    """<project>/<dataset>/ann/<video>.mp4.json, frames in <project>/<dataset>/video or below img_folder."""

    def __init__(self, project: str, config: DatasetConfig) -> None:
        super().__init__()
        self._own_frames = config.img_folder is None
        self.location = frame_root(config.img_folder, project)
        self.mask_location = project
        self.library = FrameLibrary(self.location, config.orientation)
        self._orientation = config.orientation

    def identity(self) -> str:
        return "\0".join([super().identity(), self.mask_location, self._orientation or ""])

    def videos(self) -> list[str]:
        if not self._documents:
            raise DataError(
                f"no annotation of a video, <dataset>/{DOCUMENTS}/<video>.json, in {self.mask_location}\n"
                "Give the folder of the project, or of one of its datasets, as dataset.data_path."
            )
        return sorted(self._documents, key=natural_key)

    def annotation_path(self, name: str, frame_index: int) -> str:
        return join(self.mask_location, self._documents[name])

    def annotation_files(self, name: str) -> Sequence[str]:
        return [self.annotation_path(name, 0)]

    def reading(self, tallies: Mapping[str, int]) -> list[str]:
        others = [f"{kind} {number}" for kind, number in sorted(tallies.items())]
        lines = ["objects are numbered 1, 2, 3 ... in each video, in the order of its document"]
        return lines + ([f"figures without pixels, which are not read: {', '.join(others)}"] if others else [])

    def annotated(self, name: str) -> AnnotatedVideo:
        document = Record.read(self.annotation_path(name, 0))
        frames = self.library.of_video(_below(name, VIDEOS) if self._own_frames else name)
        side = document.record("size")
        size = (side.integer("height", at_least=1), side.integer("width", at_least=1))
        content = _Content(document, size, len(frames.files))
        labeled = np.zeros(len(frames.files), np.bool_)
        labeled[list(content.figures)] = True
        ids = tuple(sorted({number for figures in content.figures.values() for number, _ in figures}))
        names = {number: content.names[number] for number in ids}
        return AnnotatedVideo(frames, ids, labeled, content.regions, size, names, content.others)

    @cached_property
    def _documents(self) -> dict[str, str]:
        """{video: its document below the project}. Raises DataError if two have one name."""
        found: dict[str, str] = {}
        for dataset in _datasets(self.mask_location):
            folder = f"{dataset}/{DOCUMENTS}" if dataset else DOCUMENTS
            for file in list_names(join(self.mask_location, folder)):
                if file.lower().endswith(".json") and not is_of_system(file):
                    stem = _without_suffix(file[: -len(".json")])
                    name = f"{dataset}/{stem}" if dataset else stem
                    if name in found:
                        raise DataError(
                            f"two annotations of video {name}, {found[name]} and {folder}/{file}, in "
                            f"{self.mask_location}\nKeep one of them."
                        )
                    found[name] = f"{folder}/{file}"
        return found


class _Content:
    """The figures of a document by frame; their pixels are drawn when they are asked for, and kept as RLE."""

    def __init__(self, document: Record, size: tuple[int, int], num_frames: int) -> None:
        """Raises DataError for whatever does not depend on the pixels of a figure."""
        self.size = size
        numbers = self._objects(document)
        self.figures: dict[int, list[tuple[int, Record]]] = {}
        self.others: dict[str, int] = {}
        self._drawn: dict[int, list[Region]] = {}
        for frame in document.records("frames", "frame"):
            index = frame.integer("index", at_least=0)
            frame = frame.at(f"frame {index}")
            if index >= num_frames:
                raise frame.error("lies behind the end of the video", f"an index below {num_frames}")
            if index in self.figures:
                raise frame.error("is there twice", "one entry for each frame")
            self.figures[index] = []
            for figure in frame.records("figures", "figure"):
                number = self._object_of(figure, numbers)
                kind = figure.text("geometryType")
                if kind in KINDS:
                    self.figures[index].append((number, figure))
                else:
                    self.others[kind] = self.others.get(kind, 0) + 1

    def regions(self, frame_index: int) -> list[Region]:
        """Those of a frame. Raises DataError."""
        if frame_index not in self._drawn:
            figures = self.figures.get(frame_index, [])
            self._drawn[frame_index] = [Region(n, rle.encode(mask_of(figure, self.size))) for n, figure in figures]
        return self._drawn[frame_index]

    def _objects(self, document: Record) -> dict[str, int]:
        """{key and id of an object: its number}; fills `names`."""
        numbers: dict[str, int] = {}
        self.names: dict[int, str] = {}
        for number, one in enumerate(document.records("objects", "object"), start=1):
            keys = [f"{kind} {one.name(kind)}" for kind in ("key", "id") if one.has(kind)]
            if not keys:
                raise one.error("has neither key nor id", "one of them, which figures refer to")
            for key in keys:
                if key in numbers:
                    raise one.error(f"has the {key}, as another object has", "keys and ids that differ")
                numbers[key] = number
            self.names[number] = one.text("classTitle")
        return numbers

    @staticmethod
    def _object_of(figure: Record, numbers: Mapping[str, int]) -> int:
        for field, kind in (("objectKey", "key"), ("objectId", "id")):
            if figure.has(field):
                key = f"{kind} {figure.name(field)}"
                if key not in numbers:
                    raise figure.error(f"belongs to the object of {key}", "an object of the document")
                return numbers[key]
        raise figure.error("has neither objectKey nor objectId", "the object that it belongs to")


def _below(name: str, folder: str) -> str:
    dataset, slash, video = name.rpartition("/")
    return f"{dataset}{slash}{folder}/{video}"


def _without_suffix(file: str) -> str:
    return next((file[: -len(suffix)] for suffix in _SUFFIXES if file.lower().endswith(suffix)), file)


def _datasets(project: str) -> list[str]:
    """Its folders that have annotations; [""] if it is itself a dataset."""
    folders = list_folders(project, list_names(project))
    if DOCUMENTS in folders:
        return [""]
    return [folder for folder in folders if g_pathmgr.isdir(join(project, folder, DOCUMENTS))]


def recognizes(config: DatasetConfig) -> bool:
    """A project with its meta.json, or a dataset with its two folders, whose first annotation lists figures."""
    project = config.annotations
    if not g_pathmgr.isdir(project):
        return False
    names = list_names(project)
    if META not in names and DOCUMENTS not in names:
        return False
    for dataset in _datasets(project)[:1]:
        folder = join(project, dataset, DOCUMENTS) if dataset else join(project, DOCUMENTS)
        for file in [name for name in list_names(folder) if name.lower().endswith(".json")][:1]:
            try:
                values = Record.read(join(folder, file)).values
            except DataError:
                return False
            return isinstance(values.get("frames"), list) and isinstance(values.get("objects"), list)
    return False


def open_source(config: DatasetConfig, seed: int) -> SuperviselySource:
    """The project, or the dataset, in config.data_path; seed is not used."""
    if not g_pathmgr.isdir(config.annotations):
        raise DataError(
            f"this is not the folder of a Supervisely project: {config.annotations}\nGive the folder with meta.json."
        )
    return SuperviselySource(config.annotations, config)
