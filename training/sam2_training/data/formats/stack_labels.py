"""Ids of a video's frames from a label stack, or from a folder of label images."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.core.text import count, some
from sam2_training.data.formats.listing import join
from sam2_training.data.images import StoredMask, read_stored_mask
from sam2_training.data.labels import LabelRules
from sam2_training.data.pairing import MASK_SUFFIX, LeftOut, hold_decimals, name_key
from sam2_training.data.source import LARGEST_ID
from sam2_training.data.stack_files import open_stack
from sam2_training.data.stacks import TIFF_SUFFIXES, Page, Stack, stem_of

Numbers = Mapping[int, int]
"""{value: id} of a video with values above LARGEST_ID; empty for others."""


class StackLabels(ABC):
    """The label images of a video, by the place of their frame."""

    places: tuple[int, ...]
    """Of the frames that have one, ascending."""
    left_out: tuple[LeftOut, ...] = ()
    """Label files that are not used."""

    @abstractmethod
    def path(self, place: int) -> str:
        """The file of a frame's labels."""

    @abstractmethod
    def pixels(self, place: int) -> Page | StoredMask:
        """The values as they are stored. Raises DataError."""

    @abstractmethod
    def may_be_large(self) -> bool:
        """Whether the type of the values has room for more than LARGEST_ID."""

    def file(self, place: int) -> str:
        """What the label report calls them, below their file or folder."""
        return f"frame {place}"

    def stored(self, place: int, numbers: Numbers) -> StoredMask:
        """The values in at most 16 bits. Raises DataError for values that are no ids."""
        found = self.pixels(place)
        return found if isinstance(found, StoredMask) else _stored(found, numbers, self._where(place))

    def numbers(self, rules: LabelRules) -> Numbers:
        """Ids of a video's objects if some have values above LARGEST_ID: 1, 2, 3 ... in the order of values.

        Values that are ignored keep theirs, and no object gets one of them. Reads all labels if their type is long
        enough. Raises DataError if the values cannot be numbered.
        """
        if not self.may_be_large():
            return {}
        if rules.binary_masks == "half":
            raise DataError(
                f"dataset.binary_masks=half needs labels of 8 or 16 bits: {self.path(self.places[0])}\n"
                "Set dataset.binary_masks=nonzero, or convert them."
            )
        values: set[int] = set()
        for place in self.places:
            found = self.pixels(place)
            page = found.values if isinstance(found, StoredMask) else _whole(found, self._where(place))
            values |= set(np.unique(page).tolist())
        if not values or max(values) <= LARGEST_ID:
            return {}
        objects = sorted(values - {0, *rules.ignore_ids})
        if rules.object_ids is not None:
            raise DataError(
                f"the labels have values up to {max(values)}, ids end at {LARGEST_ID}, so objects are numbered and "
                f"dataset.object_ids cannot name them: {self.path(self.places[0])}\nRemove it, or renumber the objects."
            )
        free = (number for number in range(1, LARGEST_ID + 1) if number not in rules.ignore_ids)
        numbered = dict(zip(objects, free, strict=False))
        if len(numbered) < len(objects):
            raise DataError(
                f"the labels have {len(objects):,} different values, expected at most {len(numbered):,}: "
                f"{self.path(self.places[0])}\nIf these are not labels but a picture, give the labels."
            )
        return numbered | {value: value for value in rules.ignore_ids}

    def _where(self, place: int) -> str:
        return f"frame {place}: {self.path(place)}"


class LabelPages(StackLabels):
    """A stack with a page for each frame."""

    def __init__(self, stack: Stack, num_frames: int, frames: str) -> None:
        """frames: their file or folder. Raises DataError if the numbers differ."""
        self.stack = stack
        if stack.num_pages != num_frames:
            color = f" with {stack.samples} color samples a pixel" if stack.samples > 1 else ""
            raise DataError(
                f"the labels have {count(stack.num_pages, 'page')}{color}, the video {count(num_frames, 'frame')}\n"
                f"  labels  {stack.path}\n  frames  {frames}\n"
                "Give a page for each frame; for labels of some frames give a folder of label images."
                + (
                    " If the samples are frames, save them as pages (tifffile: photometric=minisblack)."
                    if color
                    else ""
                )
            )
        self.places = tuple(range(num_frames))

    def path(self, place: int) -> str:
        return self.stack.path

    def pixels(self, place: int) -> Page:
        return self.stack.read(place)

    def may_be_large(self) -> bool:
        return self.stack.dtype.itemsize > 2


class LabelFolder(StackLabels):
    """A TIFF or PNG per frame: of its name, or, if no name is that of a frame, of its last number (t007, man_track007).

    Frames without one are unlabeled.
    """

    def __init__(self, folder: str, files: Sequence[str], frame_files: Sequence[str]) -> None:
        self.folder = folder
        self._files, unused = _paired(folder, files, frame_files)
        self.places = tuple(sorted(self._files))
        self.left_out = tuple(LeftOut("masks without a frame", name) for name in unused)
        if not self._files:
            raise DataError(
                f"no label image belongs to a frame: {folder} holds {some(files, 3)}, the frames are "
                f"{some(frame_files, 3)}\nName them like their frames, or with the same number at the end."
            )

    def path(self, place: int) -> str:
        return join(self.folder, self._files[place])

    def file(self, place: int) -> str:
        return self._files[place]

    def pixels(self, place: int) -> Page | StoredMask:
        path = self.path(place)
        if path.lower().endswith(MASK_SUFFIX):
            return read_stored_mask(path)
        return self._page(path).read(0)

    def may_be_large(self) -> bool:
        tiffs = [path for path in map(self.path, self.places) if not path.lower().endswith(MASK_SUFFIX)]
        return any(self._page(path).dtype.itemsize > 2 for path in tiffs)

    def _page(self, path: str) -> Stack:
        stack = open_stack(path, "labels")
        if stack.num_pages != 1:
            raise DataError(
                f"the file has {stack.num_pages} pages, expected one, the labels of a frame: {path}\nSplit it."
            )
        return stack


def label_files(names: Iterable[str]) -> list[str]:
    """The label images among the names in a folder."""
    return [name for name in names if stem_of(name, (*TIFF_SUFFIXES, MASK_SUFFIX)) is not None]


def _paired(folder: str, files: Sequence[str], frame_files: Sequence[str]) -> tuple[dict[int, str], list[str]]:
    """({place of a frame: its label file}, files of no frame)."""

    def stem(file: str) -> str:
        return stem_of(file, (*TIFF_SUFFIXES, MASK_SUFFIX)) or file.rpartition(".")[0] or file

    decimals = hold_decimals([stem(file) for file in frame_files])

    def named(file: str) -> Hashable:
        return name_key(stem(file), decimals)

    def numbered(file: str) -> Hashable:
        digits = re.findall(r"\d+", stem(file))
        return int(digits[-1]) if digits else None

    found: dict[int, str] = {}
    for key in (named, numbered):
        frames = {key(file): place for place, file in enumerate(frame_files)}
        if found or len(frames) < len(frame_files):
            break
        for file in files:
            place = frames.get(key(file))
            if place is not None and place in found:
                raise DataError(f"two files for one frame, {found[place]} and {file}, in {folder}\nKeep one of them.")
            if place is not None:
                found[place] = file
    used = set(found.values())
    return found, [file for file in files if file not in used]


def _whole(values: Page, where: str) -> npt.NDArray[Any]:
    """Values as whole numbers from 0. Raises DataError for others."""
    if values.dtype.kind == "f":
        wrong = ~np.isfinite(values) | (values != np.floor(values))
        if wrong.any():
            raise DataError(
                f"the labels have the value {values[wrong][0]}, expected whole numbers, 0 for background: {where}\n"
                "Save the labels, not a picture or probabilities, without smoothing."
            )
    if values.dtype.kind in "if" and values.size and values.min() < 0:
        raise DataError(
            f"the labels have the value {values.min()}, expected 0 for background and ids above it: {where}\n"
            "Replace negative values, for instance by 0, or by a value that dataset.ignore_ids names."
        )
    if values.dtype.kind == "f" and values.size and values.max() >= 2**53:
        raise DataError(f"the labels have the value {values.max()}, too large for an id: {where}\nRenumber them.")
    return values.astype(np.uint64) if values.dtype.kind == "f" else values


def _stored(values: Page, numbers: Numbers, where: str) -> StoredMask:
    """Values of any type as those of a mask file, numbered if they are too large."""
    if values.ndim == 3:
        if values.dtype != np.uint8:
            raise DataError(f"the labels are colors of type {values.dtype}, expected 8 bits: {where}\nConvert them.")
        return _colors(values, where)
    whole = _whole(values, where)
    if numbers:
        known = np.array(sorted({0: 0, **numbers}.items()), np.uint64)
        places = np.minimum(np.searchsorted(known[:, 0], whole.astype(np.uint64)), len(known) - 1)
        if not np.array_equal(known[places, 0], whole):
            raise DataError(f"the labels have changed since they were indexed: {where}\nStart again.")
        return StoredMask(np.ascontiguousarray(known[places, 1].astype(np.uint16)), None, 16)
    if whole.size and int(whole.max()) > LARGEST_ID:
        raise DataError(f"the labels have changed since they were indexed: {where}\nStart again.")
    bits = 8 if whole.dtype.itemsize == 1 else 16
    return StoredMask(np.ascontiguousarray(whole.astype(np.uint8 if bits == 8 else np.uint16)), None, bits)


def _colors(values: Page, where: str) -> StoredMask:
    """RGB or gray labels, without alpha. Raises DataError if a pixel is transparent."""
    samples = values.shape[2]
    if samples in (2, 4) and not (values[..., -1] == 255).all():
        raise DataError(f"the labels are partly transparent: {where}\nSave them without transparency.")
    color = values[..., :3] if samples > 2 else values[..., :1]
    if (color == color[..., :1]).all():
        return StoredMask(np.ascontiguousarray(color[..., 0]), None, 8)
    return StoredMask(np.ascontiguousarray(color), None, 8)
