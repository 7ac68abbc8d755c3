"""Pixels of Supervisely's figures: bitmaps (base64 of a zlib-compressed PNG at an origin) and polygons."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam2_training.data.formats.json_values import Record
from sam2_training.data.headers import png_header
from sam2_training.data.images import LARGEST_PIXELS
from sam2_training.data.rle import FARTHEST, Bool

KINDS = ("bitmap", "polygon")
"""Geometry types with pixels of their own."""
_LARGEST_PNG = 2**28
"""Bytes of a bitmap after zlib."""


def mask_of(figure: Record, size: tuple[int, int]) -> Bool:
    """The pixels [H, W] of a figure of one of KINDS. Raises DataError with the figure's place."""
    geometry = figure.record("geometry")
    if figure.text("geometryType") == "bitmap":
        # The SDK nests it as geometry.bitmap; other exports have data and origin in geometry itself.
        return _bitmap(geometry.record("bitmap") if geometry.has("bitmap") else geometry, size)
    return _polygon(geometry.record("points"), size)


def _bitmap(bitmap: Record, size: tuple[int, int]) -> Bool:
    origin = [_coordinate(bitmap, value, size) for value in bitmap.items("origin")]
    if len(origin) != 2 or not all(value.is_integer() for value in origin):
        raise bitmap.error(f"has the origin {origin}", "two whole numbers, x and y")
    left, top = int(origin[0]), int(origin[1])
    pixels = _png(bitmap)
    height, width = pixels.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise bitmap.error(
            f"covers rows {top} to {top + height} and columns {left} to {left + width}",
            f"them to lie in the frame of {size[0]}x{size[1]} (height x width)",
        )
    mask = np.zeros(size, np.bool_)
    mask[top : top + height, left : left + width] = pixels
    return mask


def _png(bitmap: Record) -> Bool:
    """The pixels of the data: where alpha is not 0, or, without alpha, the value."""
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(base64.b64decode(bitmap.text("data"), validate=True), _LARGEST_PNG)
        if not stream.eof:
            raise ValueError("it is cut off or too long")
    except (binascii.Error, zlib.error, ValueError) as error:
        raise bitmap.error(f"has data that cannot be decoded ({error})", "base64 of a PNG packed by zlib") from error
    header = png_header(data)
    if header is None or header.height * header.width > LARGEST_PIXELS or not header.height * header.width:
        raise bitmap.error("has data that is no PNG, or too large", "base64 of a PNG packed by zlib")
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise bitmap.error(f"has a PNG that cannot be decoded ({error.err})", "a whole PNG") from error
    if pixels is None:
        raise bitmap.error("has a PNG that cannot be decoded", "a whole PNG")
    if pixels.ndim == 3:
        pixels = pixels[..., 3] if pixels.shape[2] == 4 else pixels.max(axis=2)
    return np.asarray(pixels != 0, np.bool_)


def _polygon(points: Record, size: tuple[int, int]) -> Bool:
    """The inside and the corners' pixels of the exterior, without those of each interior: as their SDK draws it."""
    drawn = np.zeros(size, np.uint8)
    cv2.fillPoly(drawn, [_corners(points, points.items("exterior"), size)], 1)
    for hole in points.items("interior", []):
        cv2.fillPoly(drawn, [_corners(points, hole, size)], 0)
    return np.asarray(drawn, np.bool_)


def _corners(points: Record, found: object, size: tuple[int, int]) -> npt.NDArray[np.int32]:
    if not isinstance(found, list) or len(found) < 3 or any(not isinstance(p, list) or len(p) != 2 for p in found):
        raise points.error("has a line that is no list of at least three corners", "corners [x, y]")
    return np.rint([[_coordinate(points, value, size) for value in corner] for corner in found]).astype(np.int32)


def _coordinate(record: Record, value: object, size: tuple[int, int]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FARTHEST * max(size):
        raise record.error(f"has the coordinate {str(value)[:40]!r}", "a number near the frame")
    return float(value)
