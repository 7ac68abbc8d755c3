"""Mask files: what is read back is what was written, and overlaps are decided as documented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.pictures.mask_png import id_map, write_id_png, write_masks_png
from sam2_training.pictures.palette import davis_palette


def two_overlapping() -> np.ndarray:  # type: ignore[type-arg]
    masks = np.zeros((2, 4, 6), bool)
    masks[0, :, :4] = True
    masks[1, :, 2:] = True
    return masks


def test_last_object_wins_without_scores() -> None:
    assert id_map(two_overlapping(), [5, 9])[0].tolist() == [5, 5, 9, 9, 9, 9]


def test_the_object_with_the_higher_score_wins_and_of_equal_ones_the_last() -> None:
    masks = two_overlapping()
    assert id_map(masks, [5, 9], np.array([0.9, 0.2]))[0].tolist() == [5, 5, 5, 5, 9, 9]
    assert id_map(masks, [5, 9], np.array([0.4, 0.4]))[0].tolist() == [5, 5, 9, 9, 9, 9]


def test_file_is_in_palette_mode_with_davis_colors(tmp_path: Path) -> None:
    path = tmp_path / "clip" / "00000.png"
    write_masks_png(path, two_overlapping(), [1, 255])
    with Image.open(path) as image:
        assert image.mode == "P"
        assert bytes(image.getpalette() or ()) == davis_palette()
        assert np.asarray(image)[0].tolist() == [1, 1, 255, 255, 255, 255]


def test_ids_above_255_make_16_bit_files_that_our_reader_takes(tmp_path: Path) -> None:
    from sam2_training.data.images import read_mask

    path = tmp_path / "00000.png"
    write_masks_png(path, two_overlapping(), [1, 300])
    assert read_mask(str(path))[0].tolist() == [1, 1, 300, 300, 300, 300]


@pytest.mark.parametrize("ids", [[0, 1], [1, 70_000], [1]])
def test_ids_that_no_file_can_hold_are_an_error(ids: list[int]) -> None:
    with pytest.raises(DataError, match="Renumber the objects"):
        id_map(two_overlapping(), ids)


def test_id_beyond_the_announced_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"object id 9.*up to 5"):
        write_id_png(tmp_path / "a.png", np.full((2, 2), 9), 5)
    assert not list(tmp_path.iterdir())
