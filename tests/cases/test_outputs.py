"""Damaged and enormous files, and lists that lead out of the dataset: refused before any work, by name."""

from __future__ import annotations

import pytest
from sam2_training.core.errors import DataError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.images import read_image
from sam2_training.data.index import open_index

from tests.cases.made import make_case


def config_of(root, listed: str | None = None) -> DatasetConfig:
    return DatasetConfig(
        img_folder=str(root / "images"),
        gt_folder=str(root / "masks"),
        file_list_txt=None if listed is None else str(root / listed),
    )


@pytest.mark.parametrize("listed", ["list.txt", "listed.txt"])
def test_list_of_paths_is_refused(tmp_path, listed):
    root = make_case("list_of_paths", tmp_path)
    with pytest.raises(DataError, match=rf"{listed} names /.*/a, expected a name below the dataset's folder"):
        open_index(config_of(root, listed))


def test_name_listed_in_three_spellings_is_refused(tmp_path):
    root = make_case("list_names_twice", tmp_path)
    with pytest.raises(DataError, match=r"list\.txt names a 3 times"):
        open_index(config_of(root, "list.txt"))


def test_enormous_mask_is_refused_by_name(tmp_path):
    root = make_case("enormous_mask", tmp_path)
    with pytest.raises(DataError, match=r"the mask is 13500x13500 .*masks/v/00003\.png"):
        open_index(config_of(root))


def test_jpegs_cut_and_closed_are_refused_by_name(tmp_path):
    root = make_case("jpeg_cut_and_closed", tmp_path)
    for path in sorted((root / "images/v").glob("*.jpg")):
        with pytest.raises(DataError, match=rf"damaged, its compressed data end too early: {path}"):
            read_image(str(path))
