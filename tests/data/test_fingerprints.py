"""Fingerprints say what the data are: the content of files, not their place or their times."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam2_training.data.config import DatasetConfig, SyntheticConfig
from sam2_training.data.content import VideoContent
from sam2_training.data.index import open_index

GENERATED = "7448477be548e76d88a9b12647e8f68f6ab1e47a770118b294e1cd38519d08f1"


def write_anew(folders: Any, change: str, make_squares: Callable[..., np.ndarray]) -> None:
    """A dataset of two videos with one changed thing; always the same file names, ids and areas."""
    for video in ("a", "b"):
        for t in range(3):
            pixels = np.random.default_rng(t).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            ids = make_squares([1, 2])
            if change == "pixels of a frame" and t == 1:
                pixels[20, 20] ^= 1
            if change == "masks moved":
                ids = np.roll(ids, 3, axis=1)
            if change == "ids swapped":
                ids = np.array([0, 2, 1], np.uint8)[ids]
            folders.image(video, f"{t}.png", pixels)
            folders.mask(video, f"{t}.png", ids, "L" if change == "another kind of PNG" else "P")


@pytest.mark.parametrize("change", ["pixels of a frame", "masks moved", "ids swapped"])
def test_other_content_under_the_same_names_is_other_data(
    folders: Any, tmp_path: Path, make_squares: Callable[..., np.ndarray], change: str
) -> None:
    write_anew(folders, "", make_squares)
    first = open_index(folders.config(), tmp_path)
    write_anew(folders, change, make_squares)  # in place: the index that was kept must notice
    second = open_index(folders.config(), tmp_path)
    assert (first.table.areas == second.table.areas).all() or change == "ids swapped"
    assert second.fingerprint() != first.fingerprint()
    assert open_index(folders.config()).fingerprint() == second.fingerprint()


def test_a_copy_is_the_same_data_whatever_its_place_times_and_kind_of_png(
    folders: Any, tmp_path: Path, make_squares: Callable[..., np.ndarray]
) -> None:
    write_anew(folders, "", make_squares)
    first = open_index(folders.config()).fingerprint()
    shutil.copytree(folders.images, tmp_path / "copy")  # copytree keeps times; touch changes them
    for path in (tmp_path / "copy").rglob("*.png"):
        os.utime(path, (1, 1))
    write_anew(folders, "another kind of PNG", make_squares)
    assert open_index(folders.config(img_folder=str(tmp_path / "copy"))).fingerprint() == first


def test_a_long_file_is_told_apart_by_its_size_and_its_ends(tmp_path: Path) -> None:
    def digest(data: bytes) -> str:
        (tmp_path / "frame").write_bytes(data)
        content = VideoContent()
        content.add_frames([str(tmp_path / "frame")])
        return content.digest()

    data = bytes(range(256)) * 64
    others = [data + b"x", data[1:], b"x" + data[1:], data[:-1] + b"x"]
    assert len({digest(one) for one in (data, *others)}) == 5
    assert digest(data) == digest(bytes(data))


def test_the_fingerprint_of_generated_videos_is_that_of_215ecb8() -> None:
    made = DatasetConfig(dataset_type="synthetic", synthetic=SyntheticConfig(5, 4, 48, 2))
    assert open_index(made, seed=3).fingerprint() == GENERATED
    assert open_index(made, seed=4).fingerprint() != GENERATED


def test_a_part_of_the_generated_videos_has_a_fingerprint_of_its_own() -> None:
    index = open_index(DatasetConfig(dataset_type="synthetic", synthetic=SyntheticConfig(5, 4, 48, 2)), seed=3)
    parts = {index.part(numbers).fingerprint() for numbers in ([0, 1], [0, 2], [0, 1, 2, 3, 4])}
    assert len(parts) == 3
    assert index.part([0, 1, 2, 3, 4]).fingerprint() == GENERATED
