"""Film strips and contact sheets: the right picture at the right place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sam2_training.core.errors import DataError
from sam2_training.pictures import strips
from sam2_training.pictures.overlay import NO_OBJECT
from sam2_training.pictures.palette import object_color
from sam2_training.pictures.strips import (
    StripRow,
    comparison_strip,
    contact_sheet,
    film_strip,
    score_text,
    spread_frames,
    strided_frames,
)

SHADES = (60, 120, 200)


def frames() -> list[npt.NDArray[np.uint8]]:
    return [np.full((48, 64, 3), shade, np.uint8) for shade in SHADES]


def masks(count: int = 1) -> list[npt.NDArray[np.bool_]]:
    one = np.zeros((count, 48, 64), bool)
    one[:, 12:36, 16:48] = True
    return [one] * 3


def has_color(picture: npt.NDArray[np.uint8], object_id: int) -> bool:
    return bool((picture == np.array(object_color(object_id))).all(-1).any())


def test_chosen_frames() -> None:
    assert spread_frames(66, 6) == [0, 13, 26, 39, 52, 65]
    assert spread_frames(4, 6) == [0, 1, 2, 3]
    assert spread_frames(9, 1) == [0]
    assert strided_frames(20, 3, 4) == [0, 3, 6, 9]
    assert strided_frames(5, 3, 4) == [0, 3]


def test_strip_is_rows_of_masks_by_columns_of_frames() -> None:
    picture = film_strip(frames(), [StripRow("frame"), StripRow("truth", masks())], [2], ["a", "b", "c"])
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    height = (picture.shape[0] - strips.LINE - 2 * strips.GAP) // 2
    top, bottom = picture[: strips.LINE + height], picture[strips.LINE + height + strips.GAP :]
    assert not has_color(top, 2)
    assert has_color(bottom, 2)
    middle = top[strips.LINE + height // 2]
    width = (picture.shape[1] - strips.GUTTER) // 3
    seen = [int(middle[strips.GUTTER + column * width + width // 2, 0]) for column in range(3)]
    assert seen == list(SHADES)


def test_comparison_shows_scores_of_every_object_in_its_color() -> None:
    scores: list[list[float | None] | None] = [None, [0.91, 0.5], [None, 0.25]]
    shown, empty = (
        comparison_strip(
            frames(), masks(2), masks(2), masks(2), [1, 2],
            j_before=scores, j_after=j_after, column_labels=["1", "2", "3"],
        )
        for j_after in (scores, [None] * 3)
    )  # fmt: skip
    assert shown.shape == empty.shape
    changed = (shown != empty).any(-1)
    assert has_color(shown[changed][None], 1)
    assert has_color(shown[changed][None], 2)
    assert np.argwhere(changed).min(0)[0] > shown.shape[0] - strips.LINE - 3 * strips.GAP, "only the last line differs"
    assert np.argwhere(changed).min(0)[1] > strips.GUTTER + shown.shape[1] // 4, "and not in the first column"


def test_many_objects_get_their_mean_when_single_scores_have_no_room() -> None:
    many = list(range(1, 13))
    rows = [StripRow("after", masks(12), [[0.5] * 12] * 3)]
    same_mean = [StripRow("after", masks(12), [[0.4, 0.6] * 6] * 3)]
    assert (film_strip(frames(), rows, many, "abc") == film_strip(frames(), same_mean, many, "abc")).all()


def test_unlabeled_frame_says_so_instead_of_looking_empty() -> None:
    row = [StripRow("truth", [masks()[0], None, masks()[0]])]
    picture = film_strip(frames(), row, [1], ["a", "b", "c"])
    assert not (picture == SHADES[1]).all(-1).any()


def test_a_frame_without_an_object_says_whether_that_is_predicted_or_true() -> None:
    nothing = [np.zeros((1, 48, 64), bool)] * 3
    predicted = film_strip(frames(), [StripRow("after", nothing)], [1], "abc")
    true = film_strip(frames(), [StripRow("after", nothing, empty_note=NO_OBJECT)], [1], "abc")
    bare = film_strip(frames(), [StripRow("after")], [1], "abc")
    assert (predicted != bare).any()
    assert (predicted != true).any()
    sheets = [contact_sheet(frames(), shown, [1], "abc") for shown in (nothing, [None] * 3)]
    assert (sheets[0] != sheets[1]).any()


def test_absent_score_is_no_zero() -> None:
    assert score_text(None) == "n/a"
    assert score_text(0.0) == "0.00"


def test_portrait_frames_fit_the_box() -> None:
    tall = [np.zeros((853, 480, 3), np.uint8)]
    picture = film_strip(tall, [StripRow("frame")], [], ["a"])
    assert picture.shape[0] < strips.CELL_BOX[1] + 2 * strips.LINE


def test_wrong_counts_and_sizes_are_named() -> None:
    with pytest.raises(DataError, match="3 frames got 2 column labels"):
        film_strip(frames(), [StripRow("frame")], [], ["a", "b"])
    with pytest.raises(DataError, match="2 masks of row truth"):
        film_strip(frames(), [StripRow("truth", masks()[:2])], [1], ["a", "b", "c"])
    with pytest.raises(DataError, match="do not fit frame"):
        film_strip(frames(), [StripRow("truth", masks(2))], [1], ["a", "b", "c"])
    with pytest.raises(DataError, match="at least one frame"):
        film_strip([], [StripRow("frame")], [], [])


def test_contact_sheet_runs_line_by_line() -> None:
    sheet = contact_sheet(frames(), masks(), [3], ["0", "1", "2"], num_columns=2)
    assert has_color(sheet, 3)
    height, width = (sheet.shape[0] - strips.GAP) // 2, (sheet.shape[1] - strips.GAP) // 2
    corners = [sheet[strips.GAP + line * height + 4, strips.GAP + column * width + 4, 0] for line, column in
               ((0, 0), (0, 1), (1, 0), (1, 1))]  # fmt: skip
    assert corners == [*SHADES, strips.BACKGROUND[0]]
