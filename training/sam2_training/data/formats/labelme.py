"""LabelMe's and X-AnyLabeling's annotations: one JSON per frame, beside the frames or in folders of their own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import shown, some
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.annotated import IGNORED
from sam2_training.data.formats.frame_documents import FrameDocument, FrameDocuments, Numbering, numbered
from sam2_training.data.formats.json_values import Record
from sam2_training.data.formats.labelme_shapes import shape_pixels
from sam2_training.data.formats.listing import join, list_folders, list_names
from sam2_training.data.frames import FrameLibrary, Frames, frame_root
from sam2_training.data.images import read_bytes
from sam2_training.data.pairing import is_of_system
from sam2_training.data.rle import Size
from sam2_training.data.source import LARGEST_ID

IGNORED_LABEL = "__ignore__"
"""LabelMe's label of pixels that are of no class, value -1 in its label files."""
_SUFFIX = ".json"
_RECOGNIZED_IN = 2**16
"""First bytes of a document in which it is known by its shapes; the picture that it may hold comes last."""
_FOLDERS_LOOKED_AT = 8


@dataclass(frozen=True)
class LabelMeShape:
    """A shape: what it shows, and where."""

    label: str
    group: int | None
    counts: bytes


class LabelMeSource(FrameDocuments[LabelMeShape]):
    """<annotations>/<video>/<frame>.json, or the JSON files of one video in <annotations>."""

    suffix = _SUFFIX

    def __init__(self, annotations: str, library: FrameLibrary, single: str = "") -> None:
        """annotations: folder of the documents. library: of the frames. single: the video, if it is one."""
        super().__init__()
        self.location, self.mask_location = library.root, annotations
        self.library, self.single = library, single

    def identity(self) -> str:
        return "\0".join([super().identity(), self.mask_location, self.single, self.library.orientation or ""])

    def videos(self) -> list[str]:
        if self.single:
            return [self.single]
        folders = list_folders(self.mask_location, list_names(self.mask_location))
        found = [name for name in folders if self.document_files(name)]
        if not found:
            raise DataError(
                f"no folder with LabelMe JSON files: {self.mask_location}\n"
                "Give the folder with one folder of JSON files per video as dataset.data_path."
            )
        return found

    def beside(self, names: Sequence[str]) -> list[str]:
        if self.single:
            return []
        without = [name for name in self.library.names() if name not in set(names)]
        return [f"videos without a JSON file: {len(without)} ({some(without)})"] if without else []

    def reading(self, tallies: Mapping[str, int]) -> list[str]:
        number = tallies.get("named objects", 0)
        return [f"{number} objects are named by label and group_id, and numbered 1, 2, 3 ... by name"] if number else []

    def frames_of(self, name: str) -> Frames:
        return self.library.of_video(name)

    def document_folder(self, name: str) -> str:
        return self.mask_location if self.single else join(self.mask_location, name)

    def read(self, path: str, size: Size) -> FrameDocument[LabelMeShape]:
        document = Record.read(path)
        for key, side in (("imageHeight", size[0]), ("imageWidth", size[1])):
            if document.has(key) and document.integer(key) != side:
                raise document.error(
                    f"has {key}={document.integer(key)}",
                    f"{side}: its video's frames are {size[0]}x{size[1]} (height x width)",
                    "Give the frames that were annotated.",
                )
        shapes = [
            LabelMeShape(
                shape.text("label"),
                shape.integer("group_id") if shape.has("group_id") else None,
                shape_pixels(shape, size),
            )
            for shape in document.records("shapes", "shape")
        ]
        frame = document.text("imagePath") if document.has("imagePath") else ""
        return FrameDocument(path, shapes, re.split(r"[/\\]", frame)[-1])

    def number(self, name: str, documents: Mapping[int, FrameDocument[LabelMeShape]]) -> Numbering:
        _require_identity(documents)
        objects = {t: [_identity(shape) for shape in document.shapes] for t, document in documents.items()}
        every = {identity for of_frame in objects.values() for identity in of_frame if identity is not None}
        names = {group: label for label, group in every if group is not None and 1 <= group <= LARGEST_ID}
        if len(names) < len(every):
            return numbered(objects, _name)
        ids = {t: tuple(one[1] or IGNORED if one else IGNORED for one in shapes) for t, shapes in objects.items()}
        return Numbering(ids, tuple(sorted(names)), names)


def _identity(shape: LabelMeShape) -> tuple[str, int | None] | None:
    """(label, group_id), which is an instance for LabelMe too; None for ignored pixels."""
    return None if shape.label == IGNORED_LABEL else (shape.label, shape.group)


def _name(identity: tuple[str, int | None]) -> str:
    label, group = identity
    return label if group is None else f"{label} {group}"


def _require_identity(documents: Mapping[int, FrameDocument[LabelMeShape]]) -> None:
    """Raises DataError where labels and group ids do not say which shapes of different frames are one object."""
    cure = "Give each object one label and a group_id of its own in all frames; parts of an object share it."
    grouped: dict[str, str] = {}
    alone: dict[str, str] = {}
    labels: dict[int, dict[str, str]] = {}
    shared: set[int] = set()
    for document in documents.values():
        shapes = [shape for shape in document.shapes if shape.label != IGNORED_LABEL]
        for label, number in Counter(shape.label for shape in shapes if shape.group is None).items():
            if number > 1:
                raise DataError(
                    f"{number} shapes are {shown(label)} and have no group_id, so which is which in other frames is "
                    f"not known: {document.path}\n{cure}"
                )
            alone.setdefault(label, document.path)
        here: dict[int, set[str]] = {}
        for shape in shapes:
            if shape.group is not None:
                grouped.setdefault(shape.label, document.path)
                here.setdefault(shape.group, set()).add(shape.label)
                labels.setdefault(shape.group, {}).setdefault(shape.label, document.path)
        shared |= {group for group, found in here.items() if len(found) > 1}
    for label in alone.keys() & grouped.keys():
        raise DataError(
            f"{shown(label)} has a group_id in {grouped[label]} and none in {alone[label]}, so whether they are one "
            f"object is not known\n{cure}"
        )
    for group, places in labels.items():
        if len(places) > 1 and group not in shared:
            (one, first), (other, second) = list(places.items())[:2]
            raise DataError(
                f"group_id {group} is {shown(one)} in {first} and {shown(other)} in {second}, never both in one frame, "
                f"so whether they are one object is not known\n{cure}"
            )


def recognizes(config: DatasetConfig) -> bool:
    """Whether the first JSON file, in the folder or in one of its first folders, has shapes."""
    root = config.annotations
    if not root or not g_pathmgr.isdir(root):
        return False
    try:
        names = list_names(root)
        for folder in [root, *(join(root, name) for name in list_folders(root, names)[:_FOLDERS_LOOKED_AT])]:
            for name in _json_among(names if folder == root else list_names(folder))[:1]:
                return re.search(rb'"shapes"\s*:\s*\[', read_bytes(join(folder, name), _RECOGNIZED_IN)) is not None
    except DataError:
        return False  # whichever format it is read as says what is wrong
    return False


def open_source(config: DatasetConfig, seed: int) -> LabelMeSource:
    """Raises DataError if the annotations are not a folder."""
    root = config.annotations.rstrip("/")
    if not g_pathmgr.isdir(root):
        raise DataError(
            f"the folder of annotations is not there: {root}\nGive the folder with the JSON files as dataset.data_path."
        )
    frames, single = frame_root(config.img_folder, root), ""
    names = list_names(root)
    folders = (join(root, name) for name in list_folders(root, names))
    if _json_among(names) and not any(_json_among(list_names(folder)) for folder in folders):
        single = _parent_and_name(root)[1]
        library = FrameLibrary(frames, config.orientation)
        if config.img_folder is not None and library.root_is_file:
            single = library.names()[0]
        elif config.img_folder is None or single not in library.names():
            frames, single = _parent_and_name(frames)
    return LabelMeSource(root, FrameLibrary(frames, config.orientation), single)


def _json_among(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.lower().endswith(_SUFFIX) and not is_of_system(name)]


def _parent_and_name(folder: str) -> tuple[str, str]:
    parent, _, name = folder.rpartition("/")
    if name in ("", ".", ".."):
        path = Path(folder).resolve()
        return str(path.parent), path.name
    return parent or ("/" if folder.startswith("/") else "."), name
