"""Run-length encodings: they survive JSON, agree with COCO's own code, and refuse what COCO's code would trust."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from sam2_training.data import rle


def random_masks(number: int = 3, size: tuple[int, int] = (7, 5)) -> np.ndarray:
    masks = np.random.default_rng(0).random((number, *size)) > 0.5
    masks[1] = False
    return masks


def test_masks_survive_rle_and_json_and_areas_agree() -> None:
    masks = random_masks()
    encoded = [json.loads(json.dumps(rle.as_json(rle.encode(mask), (7, 5)))) for mask in masks]
    counts = [rle.of_segmentation(one, (7, 5)) for one in encoded]
    assert np.array_equal(rle.decode(counts, (7, 5)), masks)
    assert [rle.area(one, (7, 5)) for one in counts] == masks.sum((1, 2)).tolist()
    assert np.array_equal(rle.decode([rle.union(counts, (7, 5))], (7, 5))[0], masks.any(0))
    assert np.array_equal(
        rle.decode([rle.intersection([counts[0], counts[2]], (7, 5))], (7, 5))[0], masks[0] & masks[2]
    )


def test_an_encoding_made_elsewhere_is_understood() -> None:
    """COCO's runs go down the columns, background first: 3 off, 2 on, 1 off is column 0 = 000, column 1 = 110."""
    expected = np.array([[0, 1], [0, 1], [0, 0]], bool)
    for counts in ([3, 2, 1], coco_mask.frPyObjects({"size": [3, 2], "counts": [3, 2, 1]}, 3, 2)["counts"].decode()):
        read = rle.of_segmentation({"size": [3, 2], "counts": counts}, (3, 2))
        assert np.array_equal(rle.decode([read], (3, 2))[0], expected)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=40))
def test_runs_are_those_that_were_encoded(runs: list[int]) -> None:
    height = sum(runs) or 1
    runs = runs if sum(runs) else [1]
    counts = coco_mask.frPyObjects({"size": [height, 1], "counts": runs}, height, 1)["counts"]
    assert rle.runs_of(counts).tolist() == runs


@given(st.binary(max_size=30) | st.text(max_size=30) | st.lists(st.integers(), max_size=5) | st.none() | st.integers())
def test_whatever_stands_in_a_file_is_read_or_refused_with_a_sentence(counts: object) -> None:
    message = ""
    try:
        read = rle.of_segmentation({"size": [4, 6], "counts": counts}, (4, 6))
    except ValueError as error:
        message = str(error)
    if message:
        assert message.startswith(("its counts", "the RLE"))
    else:
        assert rle.decode([read], (4, 6)).shape == (1, 4, 6)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [4, 5], "counts": [24]}, "the RLE is 4x5, its frame 4x6"),
        ({"counts": [24]}, r"the RLE's size is None, expected \[height, width\]"),
        ({"size": [4, 6], "counts": [20]}, "the RLE's counts sum to 20, expected 4x6=24"),
        ({"size": [4, 6], "counts": [30, -6]}, "the RLE has a negative count, -6"),
        ({"size": [4, 6], "counts": 24}, "the RLE's counts are 24, expected text or a list"),
        ({"size": [4, 6], "counts": "~~"}, "its counts are not a compressed RLE"),
        ("text", "the segmentation is text"),
        ([], "the list of polygons is empty"),
        ([[1, 1, 2, 2]], "a polygon is a list of 4 numbers"),
        ([[1, 1, 2, 2, 3]], "a polygon is a list of 5 numbers"),
        ([[1, 1, 2, float("nan"), 3, 3]], "a polygon has the coordinate nan"),
        ([[1, 1, 2, 1e9, 3, 3]], "a polygon has the coordinate 1000000000.0, far outside"),
        ([7], "a polygon is 7, expected"),
    ],
)
def test_what_is_wrong_with_a_segmentation_is_said(segmentation: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rle.of_segmentation(segmentation, (4, 6))


def test_polygons_are_united() -> None:
    read = rle.of_segmentation([[0, 0, 2, 0, 2, 2, 0, 2], [4, 0, 6, 0, 6, 2, 4, 2]], (4, 8))
    expected = np.zeros((4, 8), bool)
    expected[0:2, 0:2] = expected[0:2, 4:6] = True
    assert np.array_equal(rle.decode([read], (4, 8))[0], expected)


def test_no_masks_are_an_empty_array() -> None:
    assert rle.decode([], (3, 2)).shape == (0, 3, 2)
