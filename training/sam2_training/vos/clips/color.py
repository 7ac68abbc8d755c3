"""Color jitter as one matrix per frame: brightness, contrast, saturation and gray are linear in the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from sam2_training.vos.clips.config import ColorJitterConfig

GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114])
"""Gray level of an RGB pixel, ITU-R BT.601; as Pillow's and torchvision's."""


@dataclass(frozen=True)
class ColorOperation:
    """One adjustment, as torchvision's adjust_<kind>(image, amount); "grayscale" has no amount."""

    kind: Literal["brightness", "contrast", "saturation", "hue", "grayscale"]
    amount: float = 0.0


def draw_jitter(config: ColorJitterConfig, rng: np.random.Generator) -> tuple[ColorOperation, ...]:
    """Operations in random order with random factors, as torchvision's ColorJitter; none for parts that are 0."""
    operations = []
    order = rng.permutation(4)
    for kind in ("brightness", "contrast", "saturation"):
        value = getattr(config, kind)
        factor = rng.uniform(max(0.0, 1 - value), 1 + value)
        operations.append(ColorOperation(kind, factor) if value else None)
    shift = rng.uniform(-config.hue, config.hue)
    operations.append(ColorOperation("hue", shift) if config.hue else None)
    return tuple(operation for n in order if (operation := operations[n]) is not None)


def apply_color(frame: npt.NDArray[np.uint8], operations: Sequence[ColorOperation]) -> npt.NDArray[np.uint8]:
    """The adjusted frame [H, W, 3] uint8 RGB, written into `frame`.

    Linear operations are composed and applied in one pass, so that values are rounded and clipped once. Against
    torchvision's operations on float images the difference is at most 1 gray level where no value leaves 0..255 on
    the way (where one does, ours keeps what clipping in between would lose). Stock's operations on 8-bit Pillow images
    round down every time, which makes them darker by up to 1 gray level per operation. A hue shift ends a pass.
    """
    pending: list[ColorOperation] = []
    for operation in operations:
        if operation.kind == "hue":
            _apply_linear(frame, pending)
            _shift_hue(frame, operation.amount)
            pending = []
        else:
            pending.append(operation)
    _apply_linear(frame, pending)
    return frame


def compose_linear(
    operations: Sequence[ColorOperation], mean_rgb: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(matrix [3, 3], offset [3]) of linear operations on an image of this mean: pixel -> matrix @ pixel + offset.

    Contrast pulls towards the mean gray level of the image it is applied to, which follows from mean_rgb because
    means pass through linear maps.
    """
    matrix, offset = np.eye(3), np.zeros(3)
    gray_rows = np.tile(GRAY_WEIGHTS, (3, 1))
    for operation in operations:
        amount = operation.amount
        if operation.kind == "contrast":
            gray_level = float(GRAY_WEIGHTS @ (matrix @ mean_rgb + offset))
            matrix, offset = amount * matrix, amount * offset + (1 - amount) * gray_level
            continue
        step = {
            "brightness": amount * np.eye(3),
            "saturation": amount * np.eye(3) + (1 - amount) * gray_rows,
            "grayscale": gray_rows,
        }[operation.kind]
        matrix, offset = step @ matrix, step @ offset
    return matrix, offset


def _apply_linear(frame: npt.NDArray[np.uint8], operations: Sequence[ColorOperation]) -> None:
    if not operations:
        return
    mean_rgb = np.array(cv2.mean(frame)[:3])
    matrix, offset = compose_linear(operations, mean_rgb)
    cv2.transform(frame, np.column_stack([matrix, offset]), frame)


def _shift_hue(frame: npt.NDArray[np.uint8], shift: float) -> None:
    """Turns the hue by `shift` of a full circle."""
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV_FULL)  # hue 0..255, as Pillow's
    turned = (np.arange(256) + int(shift * 255)) % 256
    hsv[..., 0] = turned.astype(np.uint8)[hsv[..., 0]]
    cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL, frame)
