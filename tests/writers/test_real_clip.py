"""A real clip through every format that is written: equal masks, by SHA-256 of all pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from sam2_training.cli import main
from sam2_training.data.config import DatasetConfig
from sam2_training.data.index import VideoIndex, open_index
from sam2_training.writers import WRITERS

from tests.places import TEST_DATA, require_test_data
from tests.writers.test_round_trip import READ


def hash_of(index: VideoIndex) -> tuple[str, tuple[int, ...], int]:
    """(SHA-256 of all masks, object ids, frames) of its only video."""
    video = index.video(0)
    assert video.size is not None
    digest = hashlib.sha256()
    for t in range(video.num_frames):
        digest.update(index.masks(video, t, video.object_ids, video.size).tobytes())
    return digest.hexdigest(), video.object_ids, video.num_frames


@pytest.mark.slow
def test_the_same_clip_gives_equal_masks_through_every_format(tmp_path: Path) -> None:
    folder = TEST_DATA / "vos"
    require_test_data(folder.is_dir(), "real videos with masks")
    listed = tmp_path / "list.txt"
    listed.write_text("dogs-jump\n")
    given = open_index(
        DatasetConfig(
            img_folder=str(folder / "JPEGImages"), gt_folder=str(folder / "Annotations"), file_list_txt=str(listed)
        )
    )
    expected = hash_of(given)
    assert expected[1:] == ((1, 2, 3), 66)
    for name in WRITERS:
        out = tmp_path / name
        assert main(["convert", str(folder), str(out), "--to", name, f"dataset.file_list_txt={listed}"]) == 0
        assert hash_of(open_index(READ[name](out))) == expected, name
