"""TIFF, OME-TIFF, ImageJ TIFF and BigTIFF as stacks, read page by page; which axis is the video's."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tifffile
from iopath.common.file_io import g_pathmgr
from PIL import Image

from sam2_training.core.current_work import working_on
from sam2_training.core.errors import DataError
from sam2_training.core.files import endless_kind
from sam2_training.data.images import UnreadableFileError
from sam2_training.data.stacks import Page, Stack

_OWN = frozenset({1, 8, 32946, 34925})
"""Compressions that tifffile undoes alone: none, deflate (two numbers), LZMA. Others go to Pillow's libtiff."""
_MODES = {
    "1": "b1",
    "L": "u1",
    "P": "u1",
    "I;16": "u2",
    "I;16B": "u2",
    "I": "i4 u4",
    "F": "f4",
    "RGB": "u1",
    "RGBA": "u1",
}
"""{mode of Pillow: types of samples that it keeps whole}."""
_CURE = "Save it again, for instance with ImageJ or tifffile, uncompressed or with deflate, LZW or zstd."


class TiffStack(Stack):
    """One image series of a file: along T, else along Z, else along its only other axis."""

    def __init__(self, path: str, channel: int | None = None) -> None:
        self.path, self._lock = path, threading.Lock()
        kind = endless_kind(path)
        if kind:
            raise UnreadableFileError(f"this is {kind}, expected a TIFF file: {path}\nReplace it.")
        with _faults(path), working_on(path):
            self._local = g_pathmgr.get_local_path(path)
            # Private, but the only way to keep it from reading further files that a file's metadata name.
            self._file = tifffile.TiffFile(self._local, _multifile=False)
            self._bytes = self._file.filehandle.size
            len(self._file.pages)  # follows the chain of pages to its end
            self._series = self._file.series
        series = self._only_series()
        with _faults(path):
            page: Any = series.keyframe
            self._page_axes = str(page.axes)
            axes, shape = str(series.axes), tuple(map(int, series.shape))
            inside = dict(zip(self._page_axes, map(int, page.shape), strict=True))
        if set(self._page_axes) not in ({"Y", "X"}, {"Y", "X", "S"}) or not axes.endswith(self._page_axes):
            raise self._error(f"has the axes {axes}, pages of {self._page_axes}", "pages of YX or YXS")
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise self._error("counts 0 as white", "0 as black", "Invert it and save it with 0 as black.")
        self._lead = shape[: -len(self._page_axes)]
        self._place = _place(axes[: -len(self._page_axes)], self._lead, channel, path)
        self._set(self._num_frames(), (inside["Y"], inside["X"]), inside.get("S", 1), page.dtype)
        self._map = self._mapped(series, page, shape)

    def read(self, number: int) -> Page:
        index = [number if place is None else place for place in self._place]
        with _faults(self.path), working_on(self.path), self._lock:
            if self._map is not None:
                pixels = np.array(self._map[tuple(index)])
            else:
                flat = int(np.ravel_multi_index(index, self._lead)) if index else 0
                pixels = self._decoded(self._only_series().pages[flat], number)
        pixels = pixels.astype(self.dtype.newbyteorder("="), copy=False)
        if "S" in self._page_axes:
            pixels = np.moveaxis(pixels, self._page_axes.index("S"), -1)
        expected = (*self.size, self.samples) if "S" in self._page_axes else self.size
        if pixels.shape != expected:
            raise UnreadableFileError(f"page {number} is {pixels.shape}, expected {expected}: {self.path}\nReplace it.")
        return pixels[..., 0] if "S" in self._page_axes and self.samples == 1 else pixels

    def _only_series(self) -> tifffile.TiffPageSeries:
        if len(self._series) != 1:
            shapes = ", ".join(f"{one.axes} {tuple(one.shape)}" for one in self._series[:4])
            raise self._error(
                f"holds {len(self._series)} images of different kinds ({shapes})", "one", "Save one of them alone."
            )
        return self._series[0]

    def _num_frames(self) -> int:
        return next((n for n, place in zip(self._lead, self._place, strict=True) if place is None), 1)

    def _mapped(self, series: Any, page: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any] | None:
        """The pixels as they lie in the file, if they lie there as one block."""
        offset = series.dataoffset
        if offset is None or page.dtype.kind == "b":
            if len(series.pages) != math.prod(self._lead):
                raise self._error(f"has {len(series.pages)} pages", f"{math.prod(self._lead)} by its metadata")
            return None
        if offset + math.prod(shape) * page.dtype.itemsize > self._bytes:
            raise self._error("ends before its last page", "all that its header says", "Copy or export it again.")
        kind = page.dtype.newbyteorder(self._file.byteorder)
        with _faults(self.path):
            return np.memmap(self._local, kind, "r", offset, shape)

    def _decoded(self, page: Any, number: int) -> Page:
        """The pixels of a page that is compressed, or that lies in pieces."""
        if page is None or not page.dataoffsets or 0 in page.databytecounts:
            raise self._error(f"has no pixels for page {number}", "pixels of every page", "Export it again.")
        ends = (at + count for at, count in zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends) > self._bytes:
            raise self._error(f"ends within page {number}", "all that its header says", "Copy or export it again.")
        if int(page.compression) in _OWN:
            return np.asarray(page.asarray())
        name = tifffile.COMPRESSION(page.compression).name
        try:
            with Image.open(self._local) as image:
                image.seek(page.index)
                pixels = np.asarray(image)
                mode = image.mode
        except (OSError, ValueError, EOFError, SyntaxError, KeyError) as error:
            raise self._error(f"cannot be decoded ({name}: {error})", "a compression that libtiff knows") from error
        if self.dtype.str[1:] not in _MODES.get(mode, ""):
            raise self._error(f"is compressed with {name}, of {self.dtype}", "what Pillow reads of it without a loss")
        return pixels.view(self.dtype.newbyteorder("=")) if mode == "I" else pixels

    def _error(self, found: str, expected: str, cure: str = _CURE) -> UnreadableFileError:
        return UnreadableFileError(f"the TIFF {found}, expected {expected}: {self.path}\n{cure}")


def _place(axes: str, shape: tuple[int, ...], channel: int | None, path: str) -> list[int | None]:
    """For each axis before the page's the index that is read; None for the axis of the video. Raises DataError."""
    long = [axis for axis, length in zip(axes, shape, strict=True) if length > 1 and axis != "C"]
    others = [axis for axis in long if axis not in "TZ"]
    if len(long) > 1:
        raise DataError(
            f"the TIFF has the axes {axes}YX of {'x'.join(map(str, shape))} pages, expected one of time or depth: "
            f"{path}\n"
            "Save one slice of each time point, a projection along the depth, or one file a time point."
        )
    along = next(iter([axis for axis in "TZ" if axis in long] + others), "")
    channels = shape[axes.index("C")] if "C" in axes else 1
    if channel is not None and channel > channels:
        raise DataError(f"dataset.channel={channel}, but the TIFF has {channels}: {path}\nGive one that it has.")
    if channels > 1 and channel is None:
        raise DataError(
            f"the TIFF has {channels} channels, expected one: {path}\nSet dataset.channel to the one to use, from 1. "
            'If these are time points, save them as such (tifffile: metadata={"axes": "TYX"}; ImageJ: re-order '
            "hyperstack)."
        )
    chosen = {"C": (channel or 1) - 1}
    return [None if axis == along else chosen.get(axis, 0) for axis in axes]


class _Errors(logging.Handler):
    """Errors that tifffile logs in this thread, where it goes on with what it could read."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.thread, self.messages = threading.get_ident(), list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.messages.append(record.getMessage())


@contextmanager
def _faults(path: str) -> Iterator[None]:
    """Turns whatever tifffile raises or logs on a damaged file into an UnreadableFileError that names it."""
    errors, logger = _Errors(), logging.getLogger("tifffile")
    logger.addHandler(errors)
    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableFileError(f"the file is gone: {path}\nPut it back.") from error
    except DataError:
        raise
    except Exception as error:  # its parser raises what a wrong number happens to cause
        raise UnreadableFileError(f"the TIFF cannot be read ({error}): {path}\nReplace it. {_CURE}") from error
    finally:
        logger.removeHandler(errors)
    if errors.messages:
        raise UnreadableFileError(f"the TIFF is damaged ({errors.messages[0]}): {path}\nCopy or export it again.")
