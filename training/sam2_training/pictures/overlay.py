"""Masks drawn on a frame: a tint, an outline with a rim, and the object's number where that helps."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.pictures.palette import contrasting_gray, object_color

Frame = npt.NDArray[np.uint8]
"""RGB, [H, W, 3]."""
Masks = npt.NDArray[np.bool_]
"""[N, H, W], objects in the order of their ids; they may overlap."""

TINT = 0.4
"""Share of the object's color in its inside."""
PIXELS_PER_LINE = 240
"""Outline width = shorter side of the frame / 240, rounded up."""


def overlay(
    frame: Frame, masks: Masks, object_ids: Sequence[int], *, tint: float = TINT, numbers: bool = False
) -> Frame:
    """A copy of the frame with every object tinted and outlined in its color, [H, W, 3].

    frame: uint8 RGB [H, W, 3]. masks: bool [N, H, W]. The outline lies inside the mask; a thin rim around it, black or
    white by the color's lightness, keeps it visible on any background. Of overlapping objects the last is on top.
    numbers: write the ids into the objects. Raises DataError if sizes or counts do not agree.
    """
    check_masks(frame, masks, object_ids)
    picture = frame.astype(np.float32)
    for mask, object_id in zip(masks, object_ids, strict=True):
        picture[mask] = (1 - tint) * picture[mask] + tint * np.array(object_color(object_id), np.float32)
    drawn = np.round(picture).astype(np.uint8)
    width = -(-min(frame.shape[:2]) // PIXELS_PER_LINE)
    for mask, object_id in zip(masks, object_ids, strict=True):
        _draw_outline(drawn, mask, object_id, width)
    if numbers:
        for mask, object_id in zip(masks, object_ids, strict=True):
            _write_number(drawn, mask, object_id)
    return drawn


def resized(frame: Frame, masks: Masks, width: int, height: int) -> tuple[Frame, Masks]:
    """Frame [height, width, 3] and masks [N, height, width] in another size; no object vanishes by shrinking.

    Frames shrink by area and grow by repeating pixels, so that a small clip's pixels stay what they are.
    """
    shrinks = width < frame.shape[1] or height < frame.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    small = np.zeros((len(masks), height, width), bool)
    for number, mask in enumerate(masks):
        share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=way)
        inside = share >= 0.5
        small[number] = inside if inside.any() else share > 0
    return np.asarray(cv2.resize(frame, (width, height), interpolation=way)), small


def fitting_size(frame_size: tuple[int, int], box_size: tuple[int, int]) -> tuple[int, int]:
    """The largest (width, height) of the frame's shape that fits in the box, both given as (width, height)."""
    scale = min(box_size[0] / frame_size[0], box_size[1] / frame_size[1])
    return max(1, round(frame_size[0] * scale)), max(1, round(frame_size[1] * scale))


def check_masks(frame: Frame, masks: Masks, object_ids: Sequence[int]) -> None:
    """Raises DataError unless the masks have the frame's size and there is one for each id."""
    if masks.ndim != 3 or masks.shape[1:] != frame.shape[:2] or len(masks) != len(object_ids):
        raise DataError(
            f"masks {list(masks.shape)} do not fit frame {list(frame.shape)} with objects {list(object_ids)}: "
            f"expected [{len(object_ids)}, {frame.shape[0]}, {frame.shape[1]}]. "
            "Resize the masks to the frame, and give one for each object."
        )


def _draw_outline(picture: Frame, mask: Masks, object_id: int, width: int) -> None:
    """Colors the mask's border inside it, `width` pixels wide, and a rim outside it."""
    inside = mask.astype(np.uint8)
    # A picture's own edge is no border of the object: what leaves the view stays open there.
    core = cv2.erode(inside, _disc(width), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    around = cv2.dilate(inside, _disc(-(-width // 2)), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    color = object_color(object_id)
    picture[(around > 0) & ~mask] = contrasting_gray(color)
    picture[mask & (core == 0)] = color


def _disc(radius: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _write_number(picture: Frame, mask: Masks, object_id: int) -> None:
    """The id on a tag in the object's color, at the mask's innermost pixel, if there is room for it."""
    if not mask.any():
        return
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = (int(place) for place in np.unravel_index(int(depth.argmax()), depth.shape))
    scale = max(0.36, min(picture.shape[:2]) / 700)
    text, face, thick = str(object_id), cv2.FONT_HERSHEY_SIMPLEX, max(1, round(1.6 * scale))
    (width, height), _ = cv2.getTextSize(text, face, scale, thick)
    margin = max(2, height // 3)
    if depth.max() < height + margin:  # on less, the tag would hide what it names
        return
    left, bottom = column - width // 2, row + height // 2
    corners = (left - margin, bottom - height - margin), (left + width + margin - 1, bottom + margin)
    color = object_color(object_id)
    cv2.rectangle(picture, *corners, color, cv2.FILLED)
    cv2.putText(picture, text, (left, bottom), face, scale, contrasting_gray(color), thick, cv2.LINE_AA)
