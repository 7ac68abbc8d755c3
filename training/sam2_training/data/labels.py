"""What the values in mask files mean: settings that say so, and the masks that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.data.images import IdMask, StoredMask, read_stored_mask, require_index

Bool = npt.NDArray[np.bool_]
LARGEST_VALUE = 65535
"""Of a pixel of a mask file."""


@dataclass(frozen=True)
class LabelRules:
    """Which pixels of a mask file are which object; the defaults take stored values for ids. See `DatasetConfig`."""

    ignore_ids: tuple[int, ...] = ()
    object_ids: tuple[int, ...] | None = None
    binary_masks: Literal["nonzero", "half"] | None = None
    palette: str | None = None
    """None, "index", "color", or the path of a palette file."""

    def identity(self) -> str:
        """What tells these rules from others; "" for the defaults."""
        return "" if self == LabelRules() else repr(self)

    @cached_property
    def named_colors(self) -> dict[int, int] | None:
        """{color: id} of the palette file; None without one. Raises DataError."""
        if self.palette in (None, "index", "color"):
            return None
        return read_palette(str(self.palette))

    def ignored(self, values: IdMask) -> Bool | None:
        """Pixels that take no part, [H, W]; None if no value is to be ignored."""
        return np.isin(values, self.ignore_ids) if self.ignore_ids else None

    def foreground(self, values: IdMask, stored: StoredMask, path: str) -> Bool:
        """The object of a file that holds one object, [H, W].

        Raises DataError for binary_masks=half and a file whose values are indices.
        """
        if self.binary_masks == "half":
            if stored.palette is not None or stored.is_color:
                raise DataError(
                    f"dataset.binary_masks=half needs gray masks, but this one's values are palette indices or colors, "
                    f"which have no half: {path}\nSet dataset.binary_masks=nonzero, or save the masks as gray."
                )
            mask = np.asarray(values >= 2 ** (stored.bits - 1), np.bool_)
        else:
            mask = np.asarray(values != 0, np.bool_)
        ignored = self.ignored(values)
        return mask if ignored is None else mask & ~ignored

    def ids(self, values: IdMask, stored: StoredMask, path: str) -> IdMask:
        """The object of each pixel of a file that holds all objects, [H, W]; 0: none, or ignored."""
        if self.binary_masks is not None:
            return self.foreground(values, stored, path).astype(np.uint8)
        if self.object_ids is not None:
            return np.where(np.isin(values, self.object_ids), values, values.dtype.type(0))
        ignored = self.ignored(values)
        return values if ignored is None else np.where(ignored, values.dtype.type(0), values)

    def read(self, path: str, colors: ColorIds, stored: StoredMask | None = None) -> tuple[IdMask, StoredMask]:
        """(values [H, W], the file): values are as stored, or ids of colors. colors: of the video. Raises DataError.

        stored: what the file holds, if it is not a mask PNG.
        """
        stored = stored or read_stored_mask(path)
        if self.palette in (None, "index"):
            require_index(stored, path)
            return stored.values, stored
        return colors.of(stored, path), stored


class ColorIds:
    """Ids by color: those of a palette file, or 1, 2, 3, ... in the order in which a video's files show colors.

    Black is background, 0. Within a file, colors come in the order of their indices or gray levels; in a file without
    indices, in the order of their red, green and blue.
    """

    def __init__(self, known: dict[int, int], grows: bool, named_in: str = "") -> None:
        """known: {color: id}, a color as `pack` gives it. grows: an unknown color gets the next id."""
        self.known, self.grows, self.named_in = dict(known), grows, named_in

    @classmethod
    def of_rules(cls, rules: LabelRules, found: Sequence[tuple[int, int]] | None = None) -> ColorIds:
        """The ids that a video begins with. found: (color, id) of a video that has been read; its ids are complete."""
        if rules.named_colors is not None:
            return cls(rules.named_colors, False, str(rules.palette))
        return cls(dict(found) if found is not None else {0: 0}, found is None)

    def of(self, stored: StoredMask, path: str) -> IdMask:
        """The id of each pixel, [H, W]. Raises DataError for a color that has none."""
        if stored.bits == 16 and stored.palette is None:
            raise DataError(f"dataset.palette={self.named_in or 'color'} needs masks of 8 bits, this has 16: {path}")
        if stored.is_color:
            colors, places = np.unique(pack(stored.values), return_inverse=True)
            table = np.array([self._id(int(color), path) for color in colors], np.uint16)
            return np.asarray(table[places.reshape(stored.values.shape[:2])], np.uint16)
        palette = _gray_palette(stored.bits) if stored.palette is None else stored.palette
        used = np.flatnonzero(np.bincount(stored.values.reshape(-1), minlength=1))
        table = np.zeros(256, np.uint16)
        for index in used.tolist():
            if index >= len(palette):
                raise DataError(f"the mask has index {index}, its palette has {len(palette)} colors: {path}")
            table[index] = self._id(int(pack(palette[index])), path)
        return np.asarray(table[stored.values], np.uint16)

    def _id(self, color: int, path: str) -> int:
        if color not in self.known:
            if not self.grows:
                raise DataError(
                    f"the mask has a color without an id, {color_text(color)}: {path}\n"
                    + (f"Add it to {self.named_in}." if self.named_in else "It has changed since it was indexed.")
                )
            self.known[color] = 1 + max(self.known.values())
        return self.known[color]


def pack(colors: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """red * 65536 + green * 256 + blue of colors [..., 3]."""
    return np.asarray(colors.astype(np.int64) @ np.array([65536, 256, 1]), np.int64)


def color_text(color: int) -> str:
    """A packed color for messages: (128, 0, 0)."""
    return f"({color >> 16}, {color >> 8 & 255}, {color & 255})"


def read_palette(path: str) -> dict[int, int]:
    """{color: id} of a palette file: a palette PNG, whose indices are the ids, or text with lines "id red green blue".

    In a PNG the first of equal colors counts. In text, what follows the numbers is a name, and empty lines and those
    that start with # are skipped. Raises DataError.
    """
    if path.lower().endswith(".png"):
        palette = read_stored_mask(path).palette
        if palette is None:
            raise DataError(f"dataset.palette {path} is a PNG without a palette\nGive a palette PNG, or a text file.")
        found: dict[int, int] = {}
        for index, color in enumerate(pack(palette).tolist()):
            found.setdefault(color, index)
        return found
    try:
        with g_pathmgr.open(path, "r") as file:
            lines = [line.split() for line in file if line.strip() and not line.lstrip().startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise DataError(
            f"dataset.palette {path} cannot be read: {reason}\nGive index, color, a palette PNG, or a text file."
        ) from error
    named: dict[int, int] = {}
    for words in lines:
        numbers = [int(word) for word in words[:4] if word.isdecimal() and len(word) < 6]
        if len(numbers) < 4 or numbers[0] > LARGEST_VALUE or max(numbers[1:]) > 255:
            raise DataError(f"dataset.palette {path} has the line {' '.join(words)!r}, expected: id red green blue")
        color = int(pack(np.array(numbers[1:])))
        if color in named:
            raise DataError(f"dataset.palette {path} names the color {color_text(color)} twice")
        named[color] = numbers[0]
    return named


def _gray_palette(bits: int) -> npt.NDArray[np.uint8]:
    levels = np.linspace(0, 255, 2**bits).round().astype(np.uint8)
    return np.stack([levels] * 3, -1)
