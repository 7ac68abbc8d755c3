"""Outlines, their match and F against the plain rules, pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sam2_training.vos.metrics.boundary import Scratch, outline, tolerance_pixels, within
from sam2_training.vos.metrics.scores import frame_score

from tests.vos.metrics.whole_clips import boundary_accuracy, region_similarity

Masks = NDArray[np.bool_]

USED = Scratch()
"""Working memory that holds what other examples, of other sizes, left in it."""


# The rules once more, pixel by pixel over the whole image, in a way that shares nothing with what is tested.


def plain_outline(mask: Masks) -> set[tuple[int, int]]:
    height, width = mask.shape
    points = set()
    for y in range(height):
        for x in range(width):
            neighbors = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            inside = [mask[v, u] for v, u in neighbors if v < height and u < width]
            if any(value != mask[y, x] for value in inside):
                points.add((y, x))
    return points


def plain_f(mask: Masks, truth: Masks, radius: int) -> float:
    ours, theirs = plain_outline(mask), plain_outline(truth)
    if not ours and not theirs:
        return 1.0
    if not ours or not theirs:
        return 0.0

    def matched(points: set[tuple[int, int]], others: set[tuple[int, int]]) -> float:
        hits = [any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in points]
        return sum(hits) / len(points)

    precision, recall = matched(ours, theirs), matched(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def plain_j(mask: Masks, truth: Masks) -> float:
    union = int((mask | truth).sum())
    return int((mask & truth).sum()) / union if union else 1.0


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Masks, Masks]:
    """Two masks of rectangles and specks, also at and over the image's edges, empty and full ones included."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))

    def mask() -> Masks:
        values = np.zeros((height, width), bool)
        for _ in range(draw(st.integers(0, 3))):
            y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
            values[y : y + draw(st.integers(1, height)), x : x + draw(st.integers(1, width))] ^= True
        return values

    return mask(), mask()


@settings(deadline=None, max_examples=300)
@given(mask_pairs(), st.integers(0, 6))
def test_the_fast_path_equals_the_plain_rules(pair: tuple[Masks, Masks], radius: int) -> None:
    mask, truth = pair
    score = frame_score(mask, truth, radius, USED)
    assert score == frame_score(mask, truth, radius)
    assert score.j == plain_j(mask, truth)
    assert score.f == plain_f(mask, truth, radius)
    assert (score.in_prediction, score.in_ground_truth) == (mask.any(), truth.any())
    assert region_similarity(mask[None], truth[None])[0] == score.j
    total = int(mask.sum() + truth.sum())
    assert score.dice == (2 * int((mask & truth).sum()) / total if total else 1.0)


@settings(deadline=None, max_examples=100)
@given(mask_pairs())
def test_the_outline_is_that_of_the_plain_rule(pair: tuple[Masks, Masks]) -> None:
    found = outline(pair[0].view(np.uint8), "ours", USED)
    assert set(zip(*np.nonzero(found), strict=True)) == plain_outline(pair[0])
    assert found.max() <= 1


@settings(deadline=None, max_examples=50)
@given(mask_pairs(), st.floats(0, 0.3))
def test_exchanging_prediction_and_truth_changes_nothing(pair: tuple[Masks, Masks], tolerance: float) -> None:
    mask, truth = (values[None] for values in pair)
    assert region_similarity(mask, truth)[0] == region_similarity(truth, mask)[0]
    f = boundary_accuracy(mask, truth, tolerance)[0]
    assert f == boundary_accuracy(truth, mask, tolerance)[0]
    assert 0 <= f <= boundary_accuracy(mask, truth, 0.9)[0] <= 1
    assert boundary_accuracy(mask, mask, tolerance)[0] == region_similarity(mask, mask)[0] == 1


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 4, 5, 7, 8, 13, 18, 36])
def test_points_reach_as_far_as_the_disk_in_every_bit(radius: int) -> None:
    height, width = 2 * radius + 5, 2 * radius + 9
    planes = np.zeros((height, width), np.uint8)
    expected = np.zeros_like(planes)
    y, x = np.mgrid[:height, :width]
    for bit, (v, u) in enumerate([(radius + 2, radius + 4), (0, 0), (height - 1, 3), (1, width - 1)]):
        planes[v, u] |= 1 << bit
        expected |= (((y - v) ** 2 + (x - u) ** 2 <= radius * radius) << bit).astype(np.uint8)
    assert np.array_equal(within(planes, radius, USED), expected)


def test_tolerance_is_a_fraction_of_the_diagonal_rounded_up() -> None:
    assert tolerance_pixels(480, 854) == 8
    assert tolerance_pixels(240, 432) == 4
    assert tolerance_pixels(1080, 1920) == 18
    assert tolerance_pixels(30, 40, 0.02) == 1  # 50 pixels: exactly 1
    assert tolerance_pixels(30, 40, 0.0201) == 2
    with pytest.raises(ValueError, match=r"tolerance=8 .*\[0, 1\)"):
        tolerance_pixels(480, 854, 8)


def test_outlines_match_up_to_the_tolerance_and_not_beyond() -> None:
    truth = np.zeros((1, 300, 400), bool)  # diagonal 500, tolerance 4 pixels
    truth[0, :, :200] = True  # a single vertical outline
    for shift, expected in ((0, 1.0), (4, 1.0), (5, 0.0), (-4, 1.0), (-5, 0.0)):
        mask = np.zeros_like(truth)
        mask[0, :, : 200 + shift] = True
        assert boundary_accuracy(mask, truth)[0] == expected
    assert boundary_accuracy(mask, truth, tolerance=0.01)[0] == 1.0  # 5 pixels


def test_views_of_any_memory_layout_give_the_same() -> None:
    rng = np.random.default_rng(0)
    masks, truth = (cv2.blur(rng.random((60, 80, 4)), (9, 9)) > 0.5 for _ in range(2))
    masks, truth = masks.transpose(2, 0, 1), truth.transpose(2, 0, 1)  # frames last in memory
    expected_j = region_similarity(masks.copy(), truth.copy())
    expected_f = boundary_accuracy(masks.copy(), truth.copy())
    assert 0 < expected_f.min() < 1
    assert np.array_equal(region_similarity(masks, truth), expected_j)
    assert np.array_equal(boundary_accuracy(masks, truth), expected_f)
    backwards = slice(None, None, -1)
    reversed_columns = np.ascontiguousarray(masks[..., backwards])[..., backwards]
    assert np.array_equal(boundary_accuracy(reversed_columns, truth), expected_f)
    masks.flags.writeable = False
    assert np.array_equal(boundary_accuracy(masks, truth), expected_f)
