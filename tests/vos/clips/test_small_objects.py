"""The banner's estimate of objects that the training size is too small for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sam2_training.data.formats.folders import FolderSource
from sam2_training.data.index import build_index
from sam2_training.data.source import UNLABELED, Video
from sam2_training.data.table import VideoTable
from sam2_training.vos.clips.geometry import present, warp_matrix, warp_planes
from sam2_training.vos.clips.planes import pack_planes
from sam2_training.vos.clips.small_objects import dice_remark, expected_losses, median_share
from sam2_training.vos.loss_config import LossConfig

from tests.small_datasets import Folders


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


def test_the_median_share_is_of_objects_that_are_seen() -> None:
    assert median_share(table((100, 100), 10, 30, 2000, 0, UNLABELED)) == pytest.approx(0.003)
    assert median_share(table(None, 10)) is None


def test_a_heavier_dice_loss_is_suggested_for_small_objects_only(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    ids = np.zeros((100, 100), np.uint8)
    ids[3:9, 4:10] = 1  # 36 of 10,000 pixels
    folders.image("v", "0.png", height=100, width=100)
    folders.mask("v", "0.png", ids)
    index = build_index(FolderSource(str(folders.images), str(folders.masks)))
    (line,) = dice_remark(index, LossConfig())
    assert line.startswith("hint: the median object covers 0.36% of its frame")
    assert line.endswith("loss.loss_dice=10")
    assert dice_remark(index, LossConfig(loss_dice=10)) == []
    assert dice_remark(index, LossConfig(type="bce_dice")) == []
    assert dice_remark(index, LossConfig(type="bce_dice")) == []
    ids[20:30, 20:60] = 1
    folders.mask("v", "0.png", ids)
    assert dice_remark(build_index(FolderSource(str(folders.images), str(folders.masks))), LossConfig()) == []
