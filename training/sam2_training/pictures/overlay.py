"""Masks drawn on a frame: a tint, an outline with a rim, the object's number where that helps, a word if none is."""

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
NO_PREDICTION, NO_OBJECT = "nothing predicted", "no object"
"""What stands on a frame without a predicted, or a labeled, object."""
FONT = cv2.FONT_HERSHEY_SIMPLEX
PIXELS_PER_LINE = 240
"""Outline width = shorter side of the frame / 240, rounded up."""


def overlay(
    frame: Frame,
    masks: Masks,
    object_ids: Sequence[int],
    *,
    tint: float = TINT,
    numbers: bool = False,
    empty_note: str = "",
) -> Frame:
    """A copy of the frame with every object tinted and outlined in its color, [H, W, 3].

    frame: uint8 RGB [H, W, 3]. masks: bool [N, H, W]. The outline lies inside the mask; a thin rim around it, black or
    white by the color's lightness, keeps it visible on any background. Of overlapping objects the last is on top.
    numbers: write the ids into the objects, or beside those that are too small. empty_note: stands in a corner if the
    masks have no pixel at all, so that nobody takes the picture for a bare frame. Raises DataError if sizes or counts
    do not agree.
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
        taken = np.asarray(masks.any(axis=0), np.bool_)
        for mask, object_id in zip(masks, object_ids, strict=True):
            _write_number(drawn, mask, object_id, taken)
    if empty_note and len(masks) and not masks.any():
        _write_note(drawn, empty_note)
    return drawn


def resized(frame: Frame, masks: Masks, width: int, height: int) -> tuple[Frame, Masks]:
    """Frame [height, width, 3] and masks [N, height, width] in another size; no object vanishes by shrinking.

    Frames shrink by area and grow smoothly; so do the outlines of masks.
    """
    shrinks = width < frame.shape[1] or height < frame.shape[0]
    frame_way, way = (cv2.INTER_AREA, cv2.INTER_AREA) if shrinks else (cv2.INTER_CUBIC, cv2.INTER_LINEAR)
    small = np.zeros((len(masks), height, width), bool)
    for number, mask in enumerate(masks):
        share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=way)
        inside = share >= 0.5
        small[number] = inside if inside.any() else share > 0
    return np.asarray(cv2.resize(frame, (width, height), interpolation=frame_way)), small


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


def _write_number(picture: Frame, mask: Masks, object_id: int, taken: Masks) -> None:
    """The id on a tag in the object's color: at the mask's innermost pixel, or beside a mask that it would hide.

    taken: [H, W], the pixels that tags beside an object should leave free; the tag's own are added.
    """
    if not mask.any():
        return
    scale = _text_scale(picture)
    text, thick = str(object_id), _thickness(scale)
    (width, height), _ = cv2.getTextSize(text, FONT, scale, thick)
    margin = max(2, height // 3)
    tag_width, tag_height = width + 2 * margin, height + 2 * margin
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    if depth.max() >= height + margin:
        row, column = (int(place) for place in np.unravel_index(int(depth.argmax()), depth.shape))
        left, top = column - tag_width // 2, row - tag_height // 2
    else:
        left, top = _place_beside(mask, taken, tag_width, tag_height)
    taken[max(0, top) : top + tag_height, max(0, left) : left + tag_width] = True
    color = object_color(object_id)
    cv2.rectangle(picture, (left, top), (left + tag_width - 1, top + tag_height - 1), color, cv2.FILLED)
    place = (left + margin, top + margin + height)
    cv2.putText(picture, text, place, FONT, scale, contrasting_gray(color), thick, cv2.LINE_AA)


def _place_beside(mask: Masks, taken: Masks, width: int, height: int) -> tuple[int, int]:
    """(left, top) of a tag that touches the mask's box and covers the fewest taken pixels; inside the frame."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    middle_x, middle_y = (columns[0] + columns[-1] - width) // 2, (rows[0] + rows[-1] - height) // 2
    sides = [
        (columns[-1] + 2, middle_y),
        (columns[0] - 1 - width, middle_y),
        (middle_x, rows[0] - 1 - height),
        (middle_x, rows[-1] + 2),
    ]
    most_left, most_top = max(0, mask.shape[1] - width), max(0, mask.shape[0] - height)
    inside = [(int(min(max(0, left), most_left)), int(min(max(0, top), most_top))) for left, top in sides]
    return min(inside, key=lambda place: taken[place[1] : place[1] + height, place[0] : place[0] + width].sum())


def _write_note(picture: Frame, text: str) -> None:
    """Text on black in the upper left corner, as wide as the frame at most."""
    scale = _text_scale(picture)
    (width, _), _ = cv2.getTextSize(text, FONT, scale, _thickness(scale))
    scale *= min(1.0, (picture.shape[1] - 8) / width)
    (width, height), baseline = cv2.getTextSize(text, FONT, scale, _thickness(scale))
    cv2.rectangle(picture, (0, 0), (width + 8, height + baseline + 6), (0, 0, 0), cv2.FILLED)
    cv2.putText(picture, text, (4, height + 4), FONT, scale, (255, 255, 255), _thickness(scale), cv2.LINE_AA)


def _text_scale(picture: Frame) -> float:
    return float(max(0.36, min(picture.shape[:2]) / 700))


def _thickness(scale: float) -> int:
    return max(1, round(1.6 * scale))
