"""What the mask files of a video hold, gathered while they are read: values, colors, edges."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt

from sam2_training.data.content import VideoContent
from sam2_training.data.images import IdMask, StoredMask, id_areas, size_mismatch
from sam2_training.data.labels import Bool, ColorIds, LabelRules, pack
from sam2_training.data.source import UNLABELED

KEPT_VALUES = 300
"""Different values of a video whose facts are kept: more than any 8-bit file has."""
SOFT_PIXELS, SOFT_SHARE = 8, 0.15
"""A file's edges are soft if so many pixels lie between two others, and they are such a share of all edges. Real masks
of several objects have a share of at most 0.02, smoothed ones of 0.3 to 1."""


@dataclass
class ValueFacts:
    """One value in the mask files of a video."""

    value: int
    pixels: int
    """In all files."""
    files: int
    """That have it."""
    file: str
    """The first of them, below the video's mask folder."""
    color: int = -1
    """In the palette of the first file that has one; -1: in none."""
    color_file: str = ""


@dataclass
class SoftEdges:
    """The file of a video with the most pixels between two others; `files` have soft edges."""

    file: str
    num_values: int
    between: int
    files: int = 1


@dataclass
class VideoLabels:
    """What the mask files of a video hold, before ignore_ids, object_ids and binary_masks are applied."""

    per_object: bool
    """Whether each file is one object's."""
    values: list[ValueFacts] = field(default_factory=list)
    """Ascending, the first KEPT_VALUES."""
    num_values: int = 0
    num_files: int = 0
    files_without_zero: int = 0
    most: tuple[int, str] = (0, "")
    """Most values of one file, besides 0 and ignored ones, and that file."""
    soft: SoftEdges | None = None
    palettes: tuple[int, str, int, str, int] | None = None
    """(value, file, its color, another file, its color) if a used value's colors differ."""
    same: tuple[str, str] | None = None
    """Two folders of objects that are alike in every pixel of every frame."""
    colors: list[tuple[int, int]] = field(default_factory=list)
    """(color, id) with dataset.palette=color."""
    numbered: list[tuple[int, int]] = field(default_factory=list)
    """(value, id) of a video with values above 65535, whose objects have other ids for this."""

    def to_text(self) -> str:
        """JSON, for the cache; the inverse is `from_text`."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> VideoLabels:
        values = json.loads(text)
        values["values"] = [ValueFacts(**one) for one in values["values"]]
        values["soft"] = SoftEdges(**values["soft"]) if values["soft"] else None
        for name in ("most", "palettes", "same"):
            values[name] = tuple(values[name]) if values[name] is not None else None
        for name in ("colors", "numbered"):
            values[name] = [(value, number) for value, number in values[name]]
        return cls(**values)


class LabelScan:
    """Reads the mask files of one video in order, and gathers their facts."""

    def __init__(self, rules: LabelRules, per_object: bool, size: tuple[int, int] | None = None) -> None:
        """size: (H, W) of the video's frames, which masks must have; None: any."""
        self.rules, self.colors, self.size = rules, ColorIds.of_rules(rules), size
        self._facts = VideoLabels(per_object)
        self.content = VideoContent()
        """Of the mask files read so far."""
        self._values: dict[int, ValueFacts] = {}
        self._contents: dict[str, hashlib.blake2b] = {}

    def ids(self, path: str, file: str) -> IdMask:
        """The object of each pixel of a file with all objects, [H, W]. file: its name in the facts."""
        values, stored, _ = self._read(path, file, "")
        return self.rules.ids(values, stored, path)

    def areas(self, path: str, file: str, image: str, stored: StoredMask | None = None) -> npt.NDArray[np.int64] | None:
        """`id_areas` of a file with all objects; None if all of it is to be ignored.

        file: its name in the facts. image: its frame's path. stored: what it holds, if it is not a mask PNG. Raises
        DataError, also if it is not of the frames' size.
        """
        values, stored, areas = self._read(path, file, image, stored)
        if self.rules == LabelRules():
            return areas
        return id_areas(self.rules.ids(values, stored, path)) if self._takes_part(values) else None

    def object_area(self, path: str, folder: str, file: str, image: str) -> int:
        """Pixels of the object in a file of its folder; UNLABELED if all of the file is to be ignored.

        image, and what raises DataError: see `areas`.
        """
        values, stored, _ = self._read(path, f"{folder}/{file}", image)
        mask = self.rules.foreground(values, stored, path)
        area = int(np.count_nonzero(mask))
        if area:
            content = self._contents.setdefault(folder, hashlib.blake2b(digest_size=16))
            content.update(f"{file}\0{mask.shape}".encode())
            content.update(np.packbits(mask).data)
        return area if self._takes_part(values) else UNLABELED

    def facts(self) -> VideoLabels:
        """Of all files so far."""
        found = self._facts
        found.num_values = len(self._values)
        found.values = [self._values[value] for value in sorted(self._values)[:KEPT_VALUES]]
        found.colors = sorted(self.colors.known.items()) if self.rules.palette == "color" else []
        first: dict[bytes, str] = {}
        for folder, content in self._contents.items():
            other = first.setdefault(content.digest(), folder)
            if other != folder and found.same is None:
                found.same = (other, folder)
        return found

    def _takes_part(self, values: IdMask) -> bool:
        ignored = self.rules.ignored(values)
        return ignored is None or not ignored.all()

    def _read(
        self, path: str, file: str, image: str, stored: StoredMask | None = None
    ) -> tuple[IdMask, StoredMask, npt.NDArray[np.int64]]:
        """(values [H, W], the file, `id_areas` of the values)."""
        values, stored = self.rules.read(path, self.colors, stored)
        if self.size is not None and values.shape != self.size:
            raise size_mismatch(path, (values.shape[0], values.shape[1]), image, self.size)
        self.content.add_mask(file, values)
        found = self._facts
        areas = id_areas(values)
        used = np.flatnonzero(areas)
        found.num_files += 1
        found.files_without_zero += int(areas[0] == 0)
        for value in used.tolist():
            known = self._values.setdefault(value, ValueFacts(value, 0, 0, file))
            known.pixels += int(areas[value])
            known.files += 1
        kept = sum(1 for value in used.tolist() if value and value not in self.rules.ignore_ids)
        if kept > found.most[0]:
            found.most = (kept, file)
        if self.rules.palette is None and stored.palette is not None:
            self._compare_palette(used, stored.palette, file)
        if kept >= 2 and self.rules.binary_masks is None:
            self._look_at_edges(values, kept, file)
        return values, stored, areas

    def _compare_palette(self, used: npt.NDArray[np.intp], palette: npt.NDArray[np.uint8], file: str) -> None:
        used = used[used < len(palette)]
        for value, color in zip(used.tolist(), pack(palette[used]).tolist(), strict=True):
            known = self._values[value]
            if known.color < 0:
                known.color, known.color_file = color, file
            elif known.color != color and self._facts.palettes is None:
                self._facts.palettes = (value, known.color_file, known.color, file, color)

    def _look_at_edges(self, values: IdMask, num_values: int, file: str) -> None:
        ignored = self.rules.ignored(values)
        between, sharp = edges(values if ignored is None else np.where(ignored, values.dtype.type(0), values))
        if between < SOFT_PIXELS or between < SOFT_SHARE * (between + sharp):
            return
        found = self._facts.soft
        files = 1 if found is None else found.files + 1
        if found is None or between > found.between:
            found = SoftEdges(file, num_values, between)
        found.files = files
        self._facts.soft = found


def edges(values: IdMask) -> tuple[int, int]:
    """(pixels that lie between two others, sharp edges) of a mask [H, W].

    A pixel lies between two others if its value does, strictly, between those of its left and right or of its upper and
    lower neighbors; or if it differs from all four of them and one of them is not 0, as noise does beside an object. A
    sharp edge is a pair of neighbors that differ by 2 or more, neither of which lies between two others.
    """
    values = _shown_part(values)
    soft = _specks(values)
    for along in (_COLUMNS, _ROWS):
        before, here, after = (values[place] for place in along)
        soft[along[1]] |= ((before < here) & (here < after)) | ((before > here) & (here > after))
    sharp = 0
    for first, second in _PAIRS:
        one, other = values[first], values[second]
        apart = np.maximum(one, other) - np.minimum(one, other) >= 2
        sharp += int(np.count_nonzero(apart & ~(soft[first] | soft[second])))
    return int(np.count_nonzero(soft)), sharp


_ALL, _FIRST, _MIDDLE, _LAST = slice(None), slice(None, -2), slice(1, -1), slice(2, None)
_COLUMNS = ((_ALL, _FIRST), (_ALL, _MIDDLE), (_ALL, _LAST))
_ROWS = ((_FIRST, _ALL), (_MIDDLE, _ALL), (_LAST, _ALL))
_PAIRS = (
    ((_ALL, slice(None, -1)), (_ALL, slice(1, None))),
    ((slice(None, -1), _ALL), (slice(1, None), _ALL)),
)


def _shown_part(values: IdMask) -> IdMask:
    """The smallest part of a mask that has every pixel but 0, and a pixel more on each side where there is one."""
    rows, columns = np.flatnonzero(values.any(axis=1)), np.flatnonzero(values.any(axis=0))
    if not len(rows):
        return values[:0, :0]
    return values[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 1) : columns[-1] + 2]


def _specks(values: IdMask) -> Bool:
    """[H, W]: pixels, not 0, that differ from all four neighbors, of which one at least is not 0."""
    found = np.zeros(values.shape, np.bool_)
    inside = values[_MIDDLE, _MIDDLE]
    alone, beside = inside != 0, np.zeros(inside.shape, np.bool_)
    for place in ((_FIRST, _MIDDLE), (_LAST, _MIDDLE), (_MIDDLE, _FIRST), (_MIDDLE, _LAST)):
        alone &= values[place] != inside
        beside |= values[place] != 0
    found[_MIDDLE, _MIDDLE] = alone & beside
    return found
