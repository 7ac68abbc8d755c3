"""Masks on a frame: where color goes, and where it must not go."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sam2_training.core.errors import DataError
from sam2_training.pictures.overlay import fitting_size, overlay, resized
from sam2_training.pictures.palette import object_color


def gray(value: int, height: int = 40, width: int = 60) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def box(*boxes: tuple[int, int, int, int], height: int = 40, width: int = 60) -> npt.NDArray[np.bool_]:
    """One mask for each (top, bottom, left, right)."""
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, (top, bottom, left, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def test_inside_is_tinted_outline_is_pure_and_the_rest_untouched() -> None:
    frame = gray(100)
    drawn = overlay(frame, box((10, 30, 10, 40)), [3], tint=0.5)
    color = np.array(object_color(3))
    assert (drawn[20, 25] == np.round((100 + color) / 2)).all()
    assert (drawn[10, 25] == color).all()
    assert (drawn[9, 25] == 0).all(), "a dark rim around a light color"
    assert (drawn[:8] == 100).all()
    assert (drawn[33:] == 100).all()
    assert (frame == 100).all(), "the frame itself is not drawn on"


@pytest.mark.parametrize("object_id", [1, 2, 3, 4, 5, 8])
def test_outline_is_visible_on_its_own_color_and_on_black_and_white(object_id: int) -> None:
    for background in (object_color(object_id), (0, 0, 0), (255, 255, 255)):
        frame = np.broadcast_to(np.array(background, np.uint8), (40, 60, 3)).copy()
        drawn = overlay(frame, box((10, 30, 10, 40)), [object_id]).astype(int)
        column = drawn[7:13, 25]
        assert np.abs(np.diff(column, axis=0)).sum(1).max() > 150


def test_later_objects_lie_on_top_and_order_of_ids_decides_colors() -> None:
    drawn = overlay(gray(100), box((5, 25, 5, 30), (15, 35, 15, 50)), [7, 2], tint=1.0)
    assert tuple(drawn[20, 20]) == object_color(2)
    assert tuple(drawn[8, 8]) == object_color(7)


def test_object_that_leaves_the_view_is_open_at_the_edge() -> None:
    drawn = overlay(gray(100), box((10, 30, 40, 60)), [1], tint=0.5)
    assert tuple(drawn[20, 59]) != object_color(1)


def test_number_is_written_only_where_it_has_room() -> None:
    masks = box((60, 180, 20, 280), (5, 8, 5, 8), height=240, width=320)
    plain, numbered = (overlay(gray(100, 240, 320), masks, [1, 2], numbers=number) for number in (False, True))
    changed = np.argwhere((plain != numbered).any(2))
    assert len(changed) > 50
    assert changed.min(0)[0] >= 60, "nothing at the small object"


def test_no_objects_leave_the_frame_as_it_was() -> None:
    assert (overlay(gray(7), np.zeros((0, 40, 60), bool), []) == 7).all()
    assert (overlay(gray(7), np.zeros((1, 40, 60), bool), [1], numbers=True) == 7).all()


def test_masks_of_another_size_are_an_error_that_names_both() -> None:
    with pytest.raises(DataError, match=r"\[1, 40, 61\].*\[40, 60, 3\].*expected \[1, 40, 60\]"):
        overlay(gray(0), np.zeros((1, 40, 61), bool), [1])
    with pytest.raises(DataError, match="one for each object"):
        overlay(gray(0), np.zeros((2, 40, 60), bool), [1])


def test_shrinking_keeps_small_objects_and_growing_keeps_pixels() -> None:
    masks = np.zeros((2, 400, 600), bool)
    masks[0, 100, 100] = True
    masks[1, :, :300] = True
    _, small = resized(gray(9, 400, 600), masks, 60, 40)
    assert small[0].sum() == 1
    assert small[1, :, :30].all()
    assert not small[1, :, 30:].any()
    frame = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large, _ = resized(frame, np.zeros((0, 2, 2), bool), 4, 4)
    assert (large == frame.repeat(2, 0).repeat(2, 1)).all()


def test_fitting_size_keeps_the_shape() -> None:
    assert fitting_size((854, 480), (220, 170)) == (220, 124)
    assert fitting_size((480, 853), (220, 170)) == (96, 170)
