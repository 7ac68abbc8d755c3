"""Masks as COCO run-length encodings: small in memory, and readable by every COCO tool on disk.

A run-length encoding here is COCO's compressed form as bytes, whose runs go down the columns. What comes from a file is
checked before pycocotools sees it, because its C code trusts what it reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Bool = npt.NDArray[np.bool_]
Size = tuple[int, int]
"""(H, W)."""

FARTHEST = 4
"""A corner of a polygon lies at most this many frame sides outside the frame."""


def encode(mask: Bool) -> bytes:
    """The encoding of one mask [H, W]."""
    counts: bytes = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]
    return counts


def decode(counts: Sequence[bytes], size: Size) -> Bool:
    """Masks [N, H, W] of N encodings of a frame of size (H, W)."""
    if not counts:
        return np.zeros((0, *size), np.bool_)
    decoded: npt.NDArray[np.uint8] = coco_mask.decode([_as_coco(one, size) for one in counts])
    return decoded.transpose(2, 0, 1).astype(np.bool_)


def area(counts: bytes, size: Size) -> int:
    """Pixels of an encoded mask."""
    return int(coco_mask.area(_as_coco(counts, size)))


def box(counts: bytes, size: Size) -> list[float]:
    """COCO's box of an encoded mask: left, top, width, height; pixels."""
    return [float(side) for side in coco_mask.toBbox(_as_coco(counts, size))]


def union(counts: Sequence[bytes], size: Size) -> bytes:
    """The pixels of any of the masks; none of them if there are none."""
    return _merged(counts, size, intersect=False)


def intersection(counts: Sequence[bytes], size: Size) -> bytes:
    """The pixels of all of the masks."""
    return _merged(counts, size, intersect=True)


def of_segmentation(segmentation: object, size: Size) -> bytes:
    """The encoding of a COCO segmentation of a frame of size (H, W): RLE, compressed or not, or a list of polygons.

    Raises ValueError that says what is wrong with it.
    """
    if isinstance(segmentation, Mapping):
        return _of_rle(segmentation, size)
    if isinstance(segmentation, list):
        return of_polygons(segmentation, size)
    raise ValueError(f"the segmentation is {_kind(segmentation)}, expected RLE (size and counts) or polygons")


def of_polygons(polygons: Sequence[object], size: Size) -> bytes:
    """The union of polygons, each a flat list x1, y1, x2, y2, ... in pixels; pycocotools decides which pixels are in.

    Raises ValueError for fewer than three corners, and for what is not a number near the frame.
    """
    if not polygons:
        raise ValueError("the list of polygons is empty")
    limit = FARTHEST * max(size)
    for polygon in polygons:
        if not isinstance(polygon, list | tuple) or len(polygon) < 6 or len(polygon) % 2:
            length = f" of {len(polygon)} numbers" if isinstance(polygon, list | tuple) else ""
            raise ValueError(f"a polygon is {_kind(polygon)}{length}, expected x, y of at least three corners")
        for number in polygon:
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise ValueError(f"a polygon has the coordinate {number!r}, expected a number")
            if abs(number) > limit:
                raise ValueError(f"a polygon has the coordinate {number}, far outside the frame of {size[0]}x{size[1]}")
    corners: list[Any] = list(polygons)
    encoded = coco_mask.frPyObjects([[float(number) for number in polygon] for polygon in corners], *size)
    return union([one["counts"] for one in encoded], size)


def runs_of(counts: bytes) -> npt.NDArray[np.int64]:
    """Lengths of the runs of an encoding, background first. Raises ValueError for bytes that are none.

    The format of pycocotools' rleToString: digits of 5 bits with a continuation bit, from the third run on as the
    difference to the last but one.
    """
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("its counts are not a compressed RLE")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(first, last - first + 1)
    if place.max() > 6:
        raise ValueError("its counts are not a compressed RLE")
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    negative = (codes[last] & 16) != 0
    values -= np.where(negative, np.int64(1) << (5 * (last - first + 1)), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def as_json(counts: bytes, size: Size) -> dict[str, Any]:
    """An encoding as it stands in JSON: {"size": [H, W], "counts": text}."""
    return {"size": list(size), "counts": counts.decode("ascii")}


def _of_rle(segmentation: Mapping[str, Any], size: Size) -> bytes:
    found = segmentation.get("size")
    if not isinstance(found, list | tuple) or len(found) != 2 or not all(type(side) is int for side in found):
        raise ValueError(f"the RLE's size is {found!r}, expected [height, width]")
    if tuple(found) != size:
        raise ValueError(f"the RLE is {found[0]}x{found[1]}, its frame {size[0]}x{size[1]} (height x width)")
    counts = segmentation.get("counts")
    if isinstance(counts, str | bytes):
        encoded = counts.encode("ascii", "replace") if isinstance(counts, str) else bytes(counts)
        _check_runs(runs_of(encoded), size)
        return encoded
    if not isinstance(counts, list) or not all(type(run) is int for run in counts):
        raise ValueError(f"the RLE's counts are {_kind(counts)}, expected text or a list of whole numbers")
    if any(abs(run) > 2**40 for run in counts):
        raise ValueError(f"the RLE has a run of {max(counts, key=abs)} pixels")
    _check_runs(np.array(counts, np.int64), size)
    encoded_list: bytes = coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size)["counts"]
    return encoded_list


def _check_runs(runs: npt.NDArray[np.int64], size: Size) -> None:
    if len(runs) and runs.min() < 0:
        raise ValueError(f"the RLE has a negative count, {int(runs.min())}")
    if int(runs.sum()) != size[0] * size[1]:
        raise ValueError(f"the RLE's counts sum to {int(runs.sum())}, expected {size[0]}x{size[1]}={size[0] * size[1]}")


def _merged(counts: Sequence[bytes], size: Size, intersect: bool) -> bytes:
    if not counts:
        return encode(np.zeros(size, np.bool_))
    if len(counts) == 1:
        return counts[0]
    merged: bytes = coco_mask.merge([_as_coco(one, size) for one in counts], intersect)["counts"]
    return merged


def _as_coco(counts: bytes, size: Size) -> Any:
    return {"size": list(size), "counts": counts}


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null"}.get(type(value), repr(value))
