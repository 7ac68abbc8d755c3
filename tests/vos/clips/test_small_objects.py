"""The banner's estimate of objects that the training size is too small for."""

from __future__ import annotations

import numpy as np
import pytest
from sam2_training.data.source import UNLABELED, Video
from sam2_training.data.table import VideoTable
from sam2_training.vos.clips.geometry import present, warp_matrix, warp_planes
from sam2_training.vos.clips.planes import pack_planes
from sam2_training.vos.clips.small_objects import expected_losses


def table(size: tuple[int, int] | None, *areas: int) -> VideoTable:
    video = Video("v", ("0",), tuple(range(1, len(areas) + 1)), np.array([areas], np.int32), size=size)
    return VideoTable.of([video])


def test_the_estimate_is_what_a_plain_resize_loses() -> None:
    """300 objects of 3x3 pixels anywhere in 4K: a standard error of 7."""
    rng, matrix = np.random.default_rng(0), warp_matrix(3840, 2160, 1024, False, None)
    masks = np.zeros((20, 2160, 3840), np.bool_)
    lost = 0
    for _ in range(15):
        masks[:] = False
        for mask, (row, column) in zip(masks, rng.integers(0, (2157, 3837), (20, 2)).tolist(), strict=True):
            mask[row : row + 3, column : column + 3] = True
        lost += 20 - len(present(warp_planes(pack_planes(masks), matrix, 1024, num_objects=0), 20))
    assert expected_losses(table((2160, 3840), *[9] * 300), 1024) == pytest.approx(lost, abs=25)


def test_large_absent_and_unlabeled_objects_and_unknown_sizes_count_as_nothing() -> None:
    assert expected_losses(table((2160, 3840), 400, 0, UNLABELED), 1024) == 0
    assert expected_losses(table(None, 1), 1024) == 0
    assert expected_losses(table((480, 640), 1), 64) == pytest.approx(1 - 64 / 480 * 64 / 640)
