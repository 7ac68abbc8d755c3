"""Videos, JPEGs and annotation files in place of mask PNGs: one sentence that says what was seen and what to do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sam2_training.core.errors import DataError
from sam2_training.data.index import VideoIndex, open_index

from tests.small_datasets import Folders


def opened(folders: Folders, **changes: object) -> VideoIndex:
    return open_index(folders.config(**changes))


@pytest.fixture
def frames(folders: Folders) -> Folders:
    for t in range(2):
        folders.image("cat", f"{t:05d}.jpg")
    return folders


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("masks.mp4", "masks.mp4 is a video, whose compression changes pixel values, .*: export each mask as a PNG"),
        ("00000.jpg", "00000.jpg is a JPEG, whose compression changes pixel values, .*: export each mask as a PNG"),
        ("00000.JPEG", "00000.JPEG is a JPEG"),
        ("instances.json", "instances.json holds annotations as JSON, which this version does not read"),
        (
            "task-7-annotation-3-by-1-tag-Dog-0.png",
            "tag-Dog-0.png is a PNG of one brush label",
        ),
        ("00000.bmp", "00000.bmp is not a PNG"),
    ],
)
def test_what_lies_in_place_of_masks_is_named(frames: Folders, name: str, words: str) -> None:
    (frames.masks / "cat").mkdir()
    path = frames.masks / "cat" / name
    if path.suffix.lower() in (".jpg", ".jpeg"):
        assert cv2.imwrite(str(path), np.full((24, 32), 255, np.uint8))
    else:
        path.write_bytes(b"content")
    with pytest.raises(DataError, match=f"cat has no mask PNG: .*\n.*{words}"):
        opened(frames)


def test_one_video_of_masks_for_each_video_is_named(frames: Folders) -> None:
    (frames.masks / "cat.mp4").write_bytes(b"content")
    with pytest.raises(DataError, match=r"no video has masks: [^\n]*\ncat\.mp4 is a video"):
        opened(frames)


def test_a_file_in_place_of_the_folder_is_named(frames: Folders) -> None:
    path = frames.masks / "truth.mp4"
    path.write_bytes(b"content")
    with pytest.raises(DataError, match=r"dataset\.gt_folder is not a folder: .*truth\.mp4\n.*truth\.mp4 is a video"):
        opened(frames, gt_folder=str(path))


def test_other_files_beside_mask_pngs_are_no_matter(frames: Folders) -> None:
    for t in range(2):
        frames.mask("cat", f"{t:05d}.png", np.ones((24, 32), np.uint8) * (np.arange(32) > 8).astype(np.uint8))
    (frames.masks / "cat" / "preview.mp4").write_bytes(b"content")
    assert len(opened(frames)) == 1
