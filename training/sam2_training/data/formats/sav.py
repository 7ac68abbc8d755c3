"""SA-V: <video>_manual.json and <video>_auto.json with masklets, beside <video>.mp4 or a folder of its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import some
from sam2_training.data import rle
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.annotated import AnnotatedSource, AnnotatedVideo, Region
from sam2_training.data.formats.json_values import Record
from sam2_training.data.formats.listing import join, list_names
from sam2_training.data.frames import FrameLibrary, Frames, frame_root
from sam2_training.data.images import read_bytes
from sam2_training.data.pairing import is_of_system
from sam2_training.data.rle import Size
from sam2_training.data.source import LARGEST_ID

Masklets = Literal["manual", "auto", "both"]
KINDS: Mapping[Masklets, tuple[str, ...]] = {"manual": ("manual",), "auto": ("auto",), "both": ("manual", "auto")}
STRIDE = 4
"""Frames from one annotated frame to the next in SA-V itself: 6 of its 24 a second."""


@dataclass(frozen=True, eq=False)
class MaskletDocument:
    """One file: R annotated frames, M objects."""

    path: str
    rows: Sequence[Sequence[Any]]
    """[R][M] segmentations as they stand in the file."""
    ids: tuple[int, ...]
    """M masklet_ids, in the order of the columns."""
    size: Size

    def counts(self, row: int, column: int) -> bytes:
        """The pixels of an object in an annotated frame. Raises DataError for what is not RLE of the video's size."""
        try:
            return rle.of_segmentation(self.rows[row][column], self.size)
        except ValueError as error:
            raise DataError(
                f"masklet {self.ids[column]} in annotated frame {row}: {error}: {self.path}\n"
                "Correct it, or download the file again."
            ) from error


def read_masklets(path: str) -> MaskletDocument:
    """A document whose lists fit together. Raises DataError."""
    document = Record.read(path)
    size = document.integer("video_height", at_least=1), document.integer("video_width", at_least=1)
    rows = document.items("masklet")
    ids = [
        Record({"masklet_id": value}, path).integer("masklet_id", at_least=0) for value in document.items("masklet_id")
    ]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise document.error(f"has masklet_id {twice[0]} twice", "each masklet once")
    if not rows:
        raise document.error("has an empty masklet list", "a list of masklets for each annotated frame")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(ids):
            found = f"{len(row)} masklets" if isinstance(row, list) else "no list"
            raise document.at(f"annotated frame {number}").error(
                f"has {found}", f"one for each of the {len(ids)} in masklet_id"
            )
    return MaskletDocument(path, rows, tuple(ids), size)


class SavSource(AnnotatedSource):
    """Object ids are the masklet_ids, if all can be; else masklets are numbered 1..N by them, those of the manual file
    first. SA-V's own begin with 0."""

    def __init__(self, root: str, config: DatasetConfig) -> None:
        super().__init__()
        self.masklets, self.ann_every = config.masklets, config.ann_every
        self.library = FrameLibrary(frame_root(config.img_folder, root), config.orientation)
        self.location, self.mask_location = self.library.root, root

    def identity(self) -> str:
        settings = (self.masklets, str(self.ann_every), str(self.library.orientation))
        return "\0".join(["sav", self.location, self.mask_location, *settings])

    def videos(self) -> list[str]:
        """Raises DataError if there is no document of the kind that is wanted."""
        names = [name for name in list_names(self.mask_location) if not is_of_system(name)]
        of_kind = {kind: [one for one in names if one.endswith(f"_{kind}.json")] for kind in KINDS["both"]}
        found = [one.removesuffix(f"_{kind}.json") for kind in KINDS[self.masklets] for one in of_kind[kind]]
        if not found:
            others = some([one for several in of_kind.values() for one in several])
            raise DataError(
                f"no document of {self.masklets} masklets (<video>_{self.masklets}.json): {self.mask_location}\n"
                f"There are: {others}. Set dataset.masklets, or give the folder that they are in as dataset.data_path."
            )
        return list(dict.fromkeys(found))

    def annotated(self, name: str) -> AnnotatedVideo:
        frames = self.library.of_video(name)
        documents = [read_masklets(path) for path in self.annotation_files(name)]
        first = documents[0]
        for other in documents[1:]:
            if (other.size, len(other.rows)) != (first.size, len(first.rows)):
                raise DataError(
                    f"two documents of one video have other sizes or numbers of annotated frames\n"
                    f"  {first.size[0]}x{first.size[1]}, {len(first.rows)} frames  {first.path}\n"
                    f"  {other.size[0]}x{other.size[1]}, {len(other.rows)} frames  {other.path}\n"
                    "Give those of one video."
                )
        every = self._every(len(frames.files), len(first.rows), first.path, frames)
        columns = [(one, column) for one in documents for column in np.argsort(one.ids).tolist()]
        ids = [one.ids[column] for one, column in columns]
        has_object_ids = len(set(ids)) == len(ids) and 1 <= min(ids) <= max(ids) <= LARGEST_ID
        object_ids = ids if has_object_ids else list(range(1, len(ids) + 1))
        labeled = np.zeros(len(frames.files), np.bool_)
        labeled[: len(first.rows) * every : every] = True

        def regions(frame_index: int) -> list[Region]:
            row, rest = divmod(frame_index, every)
            if rest or row >= len(first.rows):
                return []
            found = [
                (number, one.counts(row, column)) for number, (one, column) in zip(object_ids, columns, strict=True)
            ]
            return [Region(number, counts) for number, counts in found if rle.area(counts, first.size)]

        names = {
            number: f"{one.path[:-5].rpartition('_')[2]} {one.ids[column]}"
            for number, (one, column) in zip(object_ids, columns, strict=True)
        }
        tallies = {} if has_object_ids else {"masklets": len(names)}
        return AnnotatedVideo(frames, tuple(names), labeled, regions, first.size, names, tallies)

    def reading(self, tallies: Mapping[str, int]) -> list[str]:
        return (
            [f"{tallies['masklets']} masklets are numbered 1, 2, 3 ... in each video"]
            if tallies.get("masklets")
            else []
        )

    def annotation_path(self, name: str, frame_index: int) -> str:
        return self.annotation_files(name)[0]

    def annotation_files(self, name: str) -> list[str]:
        """The documents that are used. Raises DataError if there is none."""
        paths = [join(self.mask_location, f"{name}_{kind}.json") for kind in KINDS[self.masklets]]
        there = [path for path in paths if g_pathmgr.exists(path)]
        if not there:
            raise DataError(f"video {name} has no document, expected {some(paths)}\nAdd it, or leave the video out.")
        return there

    def _every(self, num_frames: int, num_rows: int, path: str, frames: Frames) -> int:
        """Frames from one annotated frame to the next."""
        fitting = [k for k in (1, STRIDE, *range(2, num_frames + 1)) if -(-num_frames // k) == num_rows]
        every = self.ann_every or next(iter(fitting), None)
        if every is not None and (num_rows - 1) * every < num_frames:
            return every
        known = f"every {every}. of {num_frames} frames" if every else f"a part of {num_frames} frames"
        raise DataError(
            f"the document has {num_rows} annotated frames, which are not {known}: {path}\n"
            f"  frames  {frames.location}\n"
            "Give the frames that were annotated, or the distance of annotated frames as dataset.ann_every."
        )


def recognizes(config: DatasetConfig) -> bool:
    """Whether the folder has a document that begins as SA-V's."""
    root = config.annotations
    if not root or not g_pathmgr.isdir(root):
        return False
    try:
        endings = tuple(f"_{kind}.json" for kind in KINDS["both"])
        found = next((name for name in list_names(root) if name.endswith(endings) and not is_of_system(name)), None)
        return found is not None and b'"video_frame_count"' in read_bytes(join(root, found), 4096)
    except DataError:
        return False  # whichever format it is read as says what is wrong


def open_source(config: DatasetConfig, seed: int) -> SavSource:
    """Raises DataError if the folder does not exist."""
    if not g_pathmgr.isdir(config.annotations):
        raise DataError(f"dataset.data_path is not a folder: {config.annotations}\nGive SA-V's folder of JSON files.")
    return SavSource(config.annotations.rstrip("/"), config)
