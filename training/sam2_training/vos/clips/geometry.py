"""Flip, affine map and resize as one matrix, and its application to frames and to bit planes of masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam2_training.vos.clips.config import AffineConfig
from sam2_training.vos.clips.planes import OBJECTS_PER_PLANE

Matrix = npt.NDArray[np.float64]
"""[3, 3]; maps (x, y, 1) in pixels, where the center of the first pixel is (0.5, 0.5), of the source to the output."""

FILL_RGB = (123, 116, 103)
"""The mean color of ImageNet, 0 to 255: what the affine map brings in from outside the frame."""


@dataclass(frozen=True)
class Affine:
    """A drawn affine map, in torchvision's terms: angles in degrees, clockwise; translation in whole source pixels."""

    angle: float
    translate: tuple[int, int]
    scale: float
    shear: float


def draw_affine(config: AffineConfig, width: int, height: int, rng: np.random.Generator) -> Affine | None:
    """A random map as torchvision's RandomAffine draws it (horizontal shear only), or None if all is switched off."""
    if config.degrees == 0 and config.shear == 0 and config.scale is None and config.translate is None:
        return None
    angle = rng.uniform(-config.degrees, config.degrees)
    translate = (0, 0)
    if config.translate is not None:
        most = (config.translate[0] * width, config.translate[1] * height)
        translate = (round(rng.uniform(-most[0], most[0])), round(rng.uniform(-most[1], most[1])))
    scale = rng.uniform(*config.scale) if config.scale is not None else 1.0
    return Affine(angle, translate, scale, rng.uniform(-config.shear, config.shear))


def warp_matrix(width: int, height: int, resolution: int, flip: bool, affine: Affine | None) -> Matrix:
    """Flip, then affine map about the frame's center, then resize to a square of `resolution` pixels."""
    matrix = np.eye(3)
    if flip:
        matrix = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]) @ matrix
    if affine is not None:
        matrix = _affine_matrix(affine, width / 2, height / 2) @ matrix
    resize = np.diag([resolution / width, resolution / height, 1.0])
    return np.asarray(resize @ matrix, np.float64)


def _affine_matrix(affine: Affine, center_x: float, center_y: float) -> Matrix:
    """translate . to center . rotate . shear . scale . from center, as torchvision.transforms.functional.affine."""
    angle, shear = math.radians(affine.angle), math.radians(affine.shear)
    rotate = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = affine.scale * rotate @ np.array([[1.0, -math.tan(shear)], [0.0, 1.0]])
    center = np.array([center_x, center_y])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = center + np.array(affine.translate) - linear @ center
    return matrix


def warp_frame(
    frame: npt.NDArray[np.uint8], matrix: Matrix, out: npt.NDArray[np.uint8], fill: bool
) -> npt.NDArray[np.uint8]:
    """The warped frame, bilinear, written to out [R, R, 3].

    fill: take FILL_RGB for what lies outside the frame; otherwise its border is repeated (right for a mere resize,
    where only the outer half pixel is concerned). An axis that shrinks to less than half is first averaged down by
    the whole factor, because bilinear interpolation would skip pixels there.
    """
    factors = [max(1, int(1 / size + 1e-6)) for size in np.linalg.norm(matrix[:2, :2], axis=0)]
    if max(factors) > 1:
        height, width = frame.shape[:2]
        small = (max(1, round(width / factors[0])), max(1, round(height / factors[1])))
        frame = _array(cv2.resize(frame, small, interpolation=cv2.INTER_AREA))
        matrix = matrix @ np.diag([width / small[0], height / small[1], 1.0])
    border = cv2.BORDER_CONSTANT if fill else cv2.BORDER_REPLICATE
    cv2.warpAffine(
        frame, _opencv(matrix), out.shape[1::-1], out, cv2.INTER_LINEAR, borderMode=border, borderValue=FILL_RGB
    )
    return out


def warp_planes(
    planes: npt.NDArray[np.uint8], matrix: Matrix, resolution: int, num_objects: int
) -> npt.NDArray[np.uint8]:
    """Warped bit planes [P, R, R] of planes [P, H, W]: nearest neighbor, no object outside the frame.

    Nearest neighbor takes one source pixel for each of the output, so it can step over an object of a few pixels. Such
    an object keeps the output pixels that its own pixels fall into most. Without any inside the output it is gone.
    """
    warped = warp_nearest(planes, matrix, resolution)
    lost = set(range(num_objects)) - present(warped, num_objects)
    for n in sorted(lost & present(planes, num_objects) if lost else lost):
        plane, bit = divmod(n, OBJECTS_PER_PLANE)
        warped[plane] |= _most_covered((planes[plane] >> bit) & 1, matrix, resolution) << np.uint8(bit)
    return warped


def warp_nearest(planes: npt.NDArray[np.uint8], matrix: Matrix, resolution: int) -> npt.NDArray[np.uint8]:
    """Warped bit planes [P, R, R] of planes [P, H, W] by nearest neighbor alone, 0 outside the frame."""
    size = (resolution, resolution)
    warped = [cv2.warpAffine(plane, _opencv(matrix), size, flags=cv2.INTER_NEAREST) for plane in planes]
    return _array(np.stack(warped))


def _most_covered(mask: npt.NDArray[np.uint8], matrix: Matrix, resolution: int) -> npt.NDArray[np.uint8]:
    """0 or 1, [R, R]: the output pixels that at least half as many pixels of a mask [H, W] fall into as into any."""
    rows, columns = np.nonzero(mask)
    x, y = np.floor(matrix[:2, :2] @ (np.stack([columns, rows]) + 0.5) + matrix[:2, 2:]).astype(np.int64)
    inside = (x >= 0) & (x < resolution) & (y >= 0) & (y < resolution)
    hits = np.bincount(y[inside] * resolution + x[inside], minlength=resolution**2).reshape(resolution, resolution)
    return _array((hits > 0) & (2 * hits >= hits.max()))


def present(planes: npt.NDArray[np.uint8], num_objects: int) -> set[int]:
    """The objects (0 <= n < num_objects) that have a pixel in bit planes [P, H, W]."""
    bits = np.bitwise_or.reduce(planes.reshape(len(planes), -1), axis=1)
    return {n for n in range(num_objects) if bits[n // OBJECTS_PER_PLANE] >> (n % OBJECTS_PER_PLANE) & 1}


def _opencv(matrix: Matrix) -> Matrix:
    """The upper two rows for OpenCV, which puts the center of the first pixel at (0, 0) instead of (0.5, 0.5)."""
    shift = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.ascontiguousarray((np.linalg.inv(shift) @ matrix @ shift)[:2])


def _array(value: Any) -> npt.NDArray[np.uint8]:
    return np.asarray(value, np.uint8)
