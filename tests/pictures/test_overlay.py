"""Masks on a frame: where color goes, and where it must not go."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sam2_training.core.errors import DataError
from sam2_training.pictures.overlay import NO_PREDICTION, fitting_size, overlay, resized
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


def numbers_drawn(masks: npt.NDArray[np.bool_], ids: list[int]) -> npt.NDArray[np.bool_]:
    """[H, W]: where numbers change the picture."""
    frame = gray(100, *masks.shape[1:])
    plain, numbered = (overlay(frame, masks, ids, numbers=number) for number in (False, True))
    return np.asarray((plain != numbered).any(2))


def test_a_number_stands_inside_a_large_object_and_beside_a_small_one() -> None:
    large, small = (60, 180, 20, 280), (20, 23, 40, 43)
    changed = numbers_drawn(box(large, small, height=240, width=320), [1, 2])
    assert changed[100:140].any()
    beside = np.argwhere(changed[:60])
    assert len(beside) > 50, "the small object keeps its number"
    assert not changed[20:23, 40:43].any(), "which does not hide it"
    assert np.abs(beside - (21, 41)).max() < 25, "and stands next to it"


@pytest.mark.parametrize("corner", [(0, 2, 0, 2), (0, 2, 318, 320), (238, 240, 0, 2), (238, 240, 318, 320)])
def test_the_number_of_a_small_object_in_a_corner_stays_in_the_frame(corner: tuple[int, int, int, int]) -> None:
    changed = numbers_drawn(box((100, 101, 100, 101), corner, height=240, width=320), [1, 22])
    top, left = min(corner[0], 210), min(corner[2], 280)
    assert changed[top : top + 30, left : left + 40].sum() > 50
    assert not changed[corner[0] : corner[1], corner[2] : corner[3]].any()


def test_numbers_of_small_neighbors_do_not_lie_on_each_other() -> None:
    one = numbers_drawn(box((50, 53, 50, 53), height=120, width=160), [1]).sum()
    two = numbers_drawn(box((50, 53, 50, 53), (50, 53, 56, 59), height=120, width=160), [1, 2]).sum()
    assert two > 1.7 * one


def test_a_picture_in_which_nothing_was_predicted_says_so() -> None:
    nothing, something = np.zeros((1, 40, 60), bool), box((10, 30, 10, 40))
    assert (overlay(gray(7), nothing, [1], empty_note=NO_PREDICTION) != 7).any()
    for masks, ids in ((something, [1]), (np.zeros((0, 40, 60), bool), [])):
        assert (overlay(gray(7), masks, ids, empty_note=NO_PREDICTION) == overlay(gray(7), masks, ids)).all()


def test_no_objects_leave_the_frame_as_it_was() -> None:
    assert (overlay(gray(7), np.zeros((0, 40, 60), bool), []) == 7).all()
    assert (overlay(gray(7), np.zeros((1, 40, 60), bool), [1], numbers=True) == 7).all()


def test_masks_of_another_size_are_an_error_that_names_both() -> None:
    with pytest.raises(DataError, match=r"\[1, 40, 61\].*\[40, 60, 3\].*expected \[1, 40, 60\]"):
        overlay(gray(0), np.zeros((1, 40, 61), bool), [1])
    with pytest.raises(DataError, match="one for each object"):
        overlay(gray(0), np.zeros((2, 40, 60), bool), [1])


def test_shrinking_keeps_small_objects() -> None:
    masks = np.zeros((2, 400, 600), bool)
    masks[0, 100, 100] = True
    masks[1, :, :300] = True
    _, small = resized(gray(9, 400, 600), masks, 60, 40)
    assert small[0].sum() == 1
    assert small[1, :, :30].all()
    assert not small[1, :, 30:].any()


def test_small_videos_are_enlarged_smoothly() -> None:
    rows, columns = np.mgrid[:24, :24]
    disc = (rows - 11.5) ** 2 + (columns - 11.5) ** 2 < 8**2
    large, (mask,) = resized(np.where(disc, 200, 40).astype(np.uint8)[..., None].repeat(3, 2), disc[None], 240, 240)
    steps = np.abs(np.diff(large[120, :, 0].astype(int)))
    assert steps.max() < 60, "an edge is a slope over several pixels, not one step of 160"
    assert abs(mask.sum() / (100 * disc.sum()) - 1) < 0.05
    rows, columns = np.mgrid[:240, :240]
    true_edge = np.abs(np.hypot(rows - 119.5, columns - 119.5) - 80)[
        mask != (np.hypot(rows - 119.5, columns - 119.5) < 80)
    ]
    assert np.mean(true_edge) < 3, "the outline has no stairs of ten pixels"


def test_fitting_size_keeps_the_shape() -> None:
    assert fitting_size((854, 480), (220, 170)) == (220, 124)
    assert fitting_size((480, 853), (220, 170)) == (96, 170)
