"""The pixels of a CVAT track in every frame of its task: shapes, what is between keyframes, and where it is absent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.data import rle
from sam2_training.data.formats.cvat_interpolation import polygon_between, rotation_between
from sam2_training.data.formats.cvat_xml import CvatShape, CvatTrack

_KEYS = {"box": ("xtl", "ytl", "xbr", "ybr"), "ellipse": ("cx", "cy", "rx", "ry")}


@dataclass(frozen=True)
class TrackPixels:
    """A track's pixels by frame number, as in the document. In frames in neither, the object is absent."""

    regions: dict[int, bytes]
    """As in `rle`."""
    unlabeled: tuple[int, ...]
    """Frames of which the document does not say whether the object is there."""
    interpolated: frozenset[int]
    """Frames of the regions that were computed here."""


def track_pixels(track: CvatTrack, size: rle.Size, path: str) -> TrackPixels:
    """The pixels of a track in a task whose frames are of size (H, W). path: of the document. Raises DataError.

    A shape holds up to the next one. CVAT exports all frames, those between keyframes with keyframe=0, so what such a
    track does not list, though it is not outside, are frames that were deleted: unlabeled. Where a track lists its
    keyframes only, the frames between are computed as CVAT does, and after the last shape it stays where it is. Masks
    are neither moved nor kept: CVAT does not do so either.
    """
    shapes = sorted(track.shapes, key=lambda shape: shape.frame)
    for one, other in itertools.pairwise(shapes):
        if one.frame == other.frame:
            raise _error(other, track, path, f"is the second in frame {one.frame}, expected one")
    listed_all = not all(shape.keyframe for shape in shapes)
    regions: dict[int, bytes] = {}
    unlabeled: list[int] = []
    interpolated: list[int] = []
    for number, shape in enumerate(shapes):
        following = shapes[number + 1] if number + 1 < len(shapes) else None
        end = following.frame if following else track.task.stop + track.task.step
        between = range(shape.frame + track.task.step, end, track.task.step)
        if shape.outside:
            continue
        try:
            regions[shape.frame] = _pixels(shape.kind, _numbers(shape), _rotation(shape), size, shape)
            if shape.kind == "mask" or listed_all:
                unlabeled += between
                continue
            for frame in between:
                offset = (frame - shape.frame) / (end - shape.frame)
                regions[frame] = _between(shape, following, offset, size)
                interpolated.append(frame)
        except ValueError as error:
            raise _error(shape, track, path, str(error)) from error
    return TrackPixels(regions, tuple(unlabeled), frozenset(interpolated))


def _error(shape: CvatShape, track: CvatTrack, path: str, found: str) -> DataError:
    return DataError(
        f"line {shape.line}, the {shape.kind} of track {track.id} in frame {shape.frame}: {found}: {path}\n"
        "Correct it, or export it again."
    )


def _between(shape: CvatShape, following: CvatShape | None, offset: float, size: rle.Size) -> bytes:
    if following is None:
        return _pixels(shape.kind, _numbers(shape), _rotation(shape), size, shape)
    if following.kind != shape.kind:
        raise ValueError(f"the next shape is a {following.kind}, expected another {shape.kind} to go on to")
    first, second = np.array(_numbers(shape)), np.array(_numbers(following))
    rotation = rotation_between(_rotation(shape), _rotation(following), offset)
    if shape.kind == "polygon":
        points = polygon_between(first.reshape(-1, 2), second.reshape(-1, 2), offset)
        if len(points) < 3:  # it has shrunk to a line on the way
            return rle.encode(np.zeros(size, np.bool_))
        return rle.of_polygons([points.reshape(-1).tolist()], size)
    return _pixels(shape.kind, (first + (second - first) * offset).tolist(), rotation, size, shape)


def _number(shape: CvatShape, key: str, default: str = "") -> float:
    return _finite(shape.values.get(key, default), key)


def _finite(text: str, key: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f'it has {key}="{text[:40]}", expected a number')
    return value


def _rotation(shape: CvatShape) -> float:
    return _number(shape, "rotation", "0")


def _numbers(shape: CvatShape) -> list[float]:
    """What moves between keyframes: corners, or center and radii."""
    if shape.kind in _KEYS:
        return [_number(shape, key) for key in _KEYS[shape.kind]]
    if shape.kind == "mask":
        return []
    text = shape.values.get("points", "")
    pairs = [pair.split(",") for pair in text.split(";")]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f'its points are "{text[:40]}", expected x,y;x,y;... of at least three corners')
    return [_finite(value, "points") for pair in pairs for value in pair]


def _pixels(kind: str, numbers: Sequence[float], rotation: float, size: rle.Size, shape: CvatShape) -> bytes:
    if kind == "mask":
        return _mask(shape, size)
    if kind == "polygon":
        return rle.of_polygons([list(numbers)], size)
    if max(abs(number) for number in numbers) > rle.FARTHEST * max(size):
        raise ValueError(f"it has the coordinate {max(numbers, key=abs)}, far outside the frame of {size[0]}x{size[1]}")
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    if kind == "ellipse":
        return rle.encode(_ellipse(numbers, cosine, sine, size))
    left, top, right, bottom = numbers
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    if rotation:
        x, y = (left + right) / 2, (top + bottom) / 2
        moved = [(corner[0] - x, corner[1] - y) for corner in corners]
        corners = [(x + dx * cosine - dy * sine, y + dx * sine + dy * cosine) for dx, dy in moved]
    return rle.of_polygons([[value for corner in corners for value in corner]], size)


def _ellipse(numbers: Sequence[float], cosine: float, sine: float, size: rle.Size) -> npt.NDArray[np.bool_]:
    """Pixels whose middle is within."""
    x, y, radius_x, radius_y = numbers
    if radius_x <= 0 or radius_y <= 0:
        raise ValueError(f"it has the radii {radius_x}, {radius_y}")
    rows, columns = np.ogrid[: size[0], : size[1]]
    dx, dy = columns + 0.5 - x, rows + 0.5 - y
    along, across = (dx * cosine + dy * sine) / radius_x, (dy * cosine - dx * sine) / radius_y
    return np.asarray(along**2 + across**2 <= 1, np.bool_)


def _mask(shape: CvatShape, size: rle.Size) -> bytes:
    """CVAT's run-length encoding: rows of the box one after the other, background first."""
    left, top, width, height = (_whole(shape, key) for key in ("left", "top", "width", "height"))
    if left + width > size[1] or top + height > size[0] or not width or not height:
        raise ValueError(
            f"its box is {width}x{height} at {left}, {top}, the frame {size[1]}x{size[0]} (width x height)"
        )
    text = shape.values.get("rle", "")
    try:
        runs = np.array([int(run) for run in text.split(",")], np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f'its rle is "{text[:40]}", expected whole numbers with commas') from error
    if runs.min() < 0:
        raise ValueError(f"its rle has a negative count, {int(runs.min())}")
    if sum(runs.tolist()) != width * height:
        raise ValueError(f"its rle's counts sum to {sum(runs.tolist())}, expected {width}x{height}={width * height}")
    mask = np.zeros(size, np.bool_)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask[top : top + height, left : left + width] = inside.reshape(height, width)
    return rle.encode(mask)


def _whole(shape: CvatShape, key: str) -> int:
    value = _number(shape, key)
    if value < 0 or value != int(value):
        raise ValueError(f"it has {key}={value:g}, expected a whole number from 0")
    return int(value)
