"""The pixels of LabelMe's and X-AnyLabeling's shapes: polygons, boxes, circles and bitmaps."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam2_training.data import rle
from sam2_training.data.formats.json_values import Record
from sam2_training.data.headers import png_damage, png_header

Point = tuple[float, float]
"""(x, y) in pixels."""


def shape_pixels(shape: Record, size: rle.Size) -> bytes:
    """The pixels of a shape in a frame of size (H, W), as in `rle`. Raises DataError."""
    kind = shape.text("shape_type", "polygon")
    if kind not in _KINDS:
        raise shape.error(
            f'has shape_type="{kind}", which has no area',
            f"one of {', '.join(_KINDS)}",
            "Draw the object as a polygon or a mask, or remove the shape.",
        )
    try:
        return _KINDS[kind](shape, _points(shape), size)
    except ValueError as error:
        raise shape.error(f"is not a {kind} of this frame ({error})", "one that is") from error


def _points(shape: Record) -> list[Point]:
    points = []
    for point in shape.items("points"):
        if not isinstance(point, list) or len(point) != 2 or not all(_is_number(value) for value in point):
            raise ValueError(f"a point is {str(point)[:60]}, expected [x, y]")
        points.append((float(point[0]), float(point[1])))
    return points


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**31


def _polygon(shape: Record, points: list[Point], size: rle.Size) -> bytes:
    return rle.of_polygons([[value for point in points for value in point]], size)


def _rectangle(shape: Record, points: list[Point], size: rle.Size) -> bytes:
    """Two opposite corners, or X-AnyLabeling's four."""
    if len(points) == 2:
        (x1, y1), (x2, y2) = points
        points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    return _four_corners(shape, points, size)


def _four_corners(shape: Record, points: list[Point], size: rle.Size) -> bytes:
    if len(points) != 4:
        raise ValueError(f"it has {len(points)} points, expected its corners")
    return _polygon(shape, points, size)


def _circle(shape: Record, points: list[Point], size: rle.Size) -> bytes:
    """Its center and a point on it; pixels whose middle is within."""
    if len(points) != 2:
        raise ValueError(f"it has {len(points)} points, expected its center and one on its edge")
    (x, y), edge = points
    if max(abs(x), abs(y)) > rle.FARTHEST * max(size):
        raise ValueError(f"its center is at {x}, {y}")
    radius = math.dist((x, y), edge)
    rows, columns = np.ogrid[: size[0], : size[1]]
    mask: npt.NDArray[np.bool_] = np.hypot(columns + 0.5 - x, rows + 0.5 - y) <= radius
    return rle.encode(mask)


def _bitmap(shape: Record, points: list[Point], size: rle.Size) -> bytes:
    """A PNG as text in the box from its first pixel to its last."""
    if len(points) != 2:
        raise ValueError(f"it has {len(points)} points, expected its first and its last pixel")
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in points)
    if not (0 <= left <= right < size[1] and 0 <= top <= bottom < size[0]):
        raise ValueError(f"its box goes from {left}, {top} to {right}, {bottom}")
    mask = np.zeros(size, np.bool_)
    mask[top : bottom + 1, left : right + 1] = _decoded(shape.text("mask"), (bottom + 1 - top, right + 1 - left))
    return rle.encode(mask)


def _decoded(text: str, size: rle.Size) -> npt.NDArray[np.bool_]:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"its mask is not base64: {error}") from error
    header = png_header(data)
    if header is None or header.color != "gray":
        raise ValueError("its mask is not a gray PNG")
    if (header.height, header.width) != size:
        raise ValueError(f"its mask is {header.height}x{header.width}, its box {size[0]}x{size[1]} (height x width)")
    damage = png_damage(data)
    pixels: Any = None if damage else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape != size:
        raise ValueError(f"its mask is damaged, {damage or 'it cannot be decoded'}")
    return np.asarray(pixels, np.bool_)


_KINDS: dict[str, Callable[[Record, list[Point], rle.Size], bytes]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "rotation": _four_corners,
    "oriented_rectangle": _four_corners,
    "quadrilateral": _four_corners,
    "circle": _circle,
    "mask": _bitmap,
}
