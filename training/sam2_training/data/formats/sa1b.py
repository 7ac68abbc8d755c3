"""SA-1B and Roboflow's SAM 2 export: one JSON per image with RLE masks; each image is a video of one frame."""

from __future__ import annotations

import re

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.data import rle
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.annotated import AnnotatedSource, AnnotatedVideo, Region
from sam2_training.data.formats.json_values import Record
from sam2_training.data.formats.listing import join, list_names
from sam2_training.data.frames import FrameLibrary, frame_root
from sam2_training.data.images import read_bytes
from sam2_training.data.pairing import is_of_system

_BEGINNING = re.compile(rb'\s*\{\s*"image"\s*:\s*\{')
SUFFIX = ".json"


class Sa1bSource(AnnotatedSource):
    """A video is named like its JSON; its objects are numbered 1..N in the order of their ids."""

    def __init__(self, root: str, config: DatasetConfig) -> None:
        super().__init__()
        self.library = FrameLibrary(frame_root(config.img_folder, root), config.orientation)
        self.location, self.mask_location = self.library.root, root

    def identity(self) -> str:
        return "\0".join(["sa1b", self.location, self.mask_location, str(self.library.orientation)])

    def videos(self) -> list[str]:
        """Raises DataError if there is no document."""
        names = [name for name in list_names(self.mask_location) if name.endswith(SUFFIX) and not is_of_system(name)]
        if not names:
            raise DataError(f"no JSON file in dataset.data_path: {self.mask_location}\nGive the folder that has them.")
        return [name.removesuffix(SUFFIX) for name in names]

    def annotated(self, name: str) -> AnnotatedVideo:
        path = self.annotation_path(name, 0)
        document = Record.read(path)
        image = document.record("image")
        file = image.text("file_name").replace("\\", "/").rpartition("/")[2]
        size = image.integer("height", at_least=1), image.integer("width", at_least=1)
        if not g_pathmgr.exists(join(self.location, file)):
            raise DataError(
                f"the image of a document is not there: {join(self.location, file)}\n  document  {path}\n"
                "Put it there, or give the folder of the images as dataset.img_folder."
            )
        found: dict[int, bytes] = {}
        for record in document.records("annotations", "annotation"):
            number = record.integer("id")
            one = record.at(f"annotation {number}")
            if number in found:
                raise one.error("is there twice", "each id once")
            try:
                found[number] = rle.of_segmentation(one.values.get("segmentation"), size)
            except ValueError as error:
                raise one.error(f"cannot be read ({error})", "a mask as RLE or polygons") from error
        regions = [Region(place, found[number]) for place, number in enumerate(sorted(found), start=1)]
        names = {place: str(number) for place, number in enumerate(sorted(found), start=1)}
        frames = self.library.of_files(name, [file])
        return AnnotatedVideo(frames, tuple(names), np.ones(1, np.bool_), lambda _: regions, size, names)

    def annotation_path(self, name: str, frame_index: int) -> str:
        return join(self.mask_location, f"{name}{SUFFIX}")

    def annotation_files(self, name: str) -> list[str]:
        return [self.annotation_path(name, 0)]


def recognizes(config: DatasetConfig) -> bool:
    """Whether the folder's first JSON begins with an image, as SA-1B's and Roboflow's do."""
    root = config.annotations
    if not root or not g_pathmgr.isdir(root):
        return False
    try:
        found = next((name for name in list_names(root) if name.endswith(SUFFIX) and not is_of_system(name)), None)
        return found is not None and _BEGINNING.match(read_bytes(join(root, found), 4096)) is not None
    except DataError:
        return False  # whichever format it is read as says what is wrong


def open_source(config: DatasetConfig, seed: int) -> Sa1bSource:
    """Raises DataError if the folder does not exist."""
    if not g_pathmgr.isdir(config.annotations):
        raise DataError(f"dataset.data_path is not a folder: {config.annotations}\nGive the folder of the JSON files.")
    return Sa1bSource(config.annotations.rstrip("/"), config)
