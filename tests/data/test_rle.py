"""Run-length encodings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sam2_training.data.rle import decode_masks, encode_masks


def test_masks_survive_rle_and_json_and_areas_agree() -> None:
    masks = np.random.default_rng(0).random((3, 7, 5)) > 0.5
    masks[1] = False
    encoded = json.loads(json.dumps(encode_masks(masks)))
    assert np.array_equal(decode_masks(encoded), masks)
    assert encoded[0]["size"] == [7, 5]


def test_an_encoding_made_elsewhere_is_understood() -> None:
    """COCO's runs go down the columns, background first: 3 off, 2 on, 1 off is column 0 = 000, column 1 = 110."""
    from pycocotools import mask as coco_mask

    one = coco_mask.frPyObjects({"size": [3, 2], "counts": [3, 2, 1]}, 3, 2)
    expected = np.array([[0, 1], [0, 1], [0, 0]], bool)
    assert np.array_equal(decode_masks([one])[0], expected)
    assert encode_masks(expected[None])[0]["counts"] == one["counts"].decode()


def test_nothing_to_decode_is_said() -> None:
    with pytest.raises(ValueError, match="no masks"):
        decode_masks([])
