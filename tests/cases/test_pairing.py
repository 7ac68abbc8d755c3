"""Frames and masks that do not belong together, as people have them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sam2_training.core.errors import DataError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.frame_folder import FrameFolder
from sam2_training.data.index import VideoIndex, open_index

from tests.cases.made import make_case


def opened(root: Path, **changes: str) -> VideoIndex:
    return open_index(DatasetConfig(img_folder=str(root / "images"), gt_folder=str(root / "masks"), **changes))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("frames_and_masks_together", "dataset.img_folder and dataset.gt_folder are one folder"),
        ("one_folder_given_twice", "dataset.img_folder and dataset.gt_folder are one folder"),
        ("object_folder_without_png", r"without a mask PNG: .*masks/v/2 \(it holds files like 00000\.jpg\)"),
        ("object_folder_link_broken", r"leads nowhere: .*masks/v/2 -> nowhere"),
        ("second_copies", r"two pictures of one frame, 00000\.jpg and 00000 \(1\)\.jpg"),
        ("last_mask_half_size", r"the mask is 36x48, its image 72x96 (?s:.*)masks/v5/00005\.png"),
        ("turned_upside_down", r"6 frames of video v with an EXIF orientation, such as .*00000\.jpg \(3\)"),
        ("some_frames_are_tif", r"frames of two kinds in one folder, 4 TIFFs such as 00002\.tif and 2 pictures such"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(case: str, message: str, tmp_path: Path) -> None:
    root = make_case(case, tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        opened(root)
    assert str(root) in str(caught.value)


@pytest.mark.parametrize(
    ("case", "frames", "labeled"),
    [
        ("folders_of_other_programs", 6, 6),
        ("number_in_name_padded_otherwise", 6, 6),
        ("accents_composed_otherwise", 6, 6),
        ("seconds_as_names", 6, 6),
    ],
)
def test_names_are_compared_as_people_see_them(case: str, frames: int, labeled: int, tmp_path: Path) -> None:
    index = opened(make_case(case, tmp_path))
    assert len(index) == 1
    video = index.video(0)
    assert (video.num_frames, int(video.labeled.any(axis=1).sum()), len(video.object_ids)) == (frames, labeled, 2)
    assert [area for area in video.areas.ravel() if area not in (304, 314)] == []


def test_seconds_are_in_order_of_value(tmp_path: Path) -> None:
    video = opened(make_case("seconds_as_names", tmp_path)).video(0)
    assert video.frame_names == ("0.5", "1.25", "1.5", "2.0", "10.0", "10.75")


def test_a_list_with_a_byte_order_mark_works(tmp_path: Path) -> None:
    root = make_case("list_with_mark", tmp_path)
    assert list(opened(root, file_list_txt=str(root / "list.txt")).names) == ["a", "b"]


def test_a_folder_of_frames_and_masks_is_refused_by_predict_too(tmp_path: Path) -> None:
    folder = make_case("frames_and_masks_together", tmp_path) / "images" / "v"
    message = re.escape(f"clip_0000.jpg and clip_0000_mask.png, and 5 more pairs like it, in {folder}")
    with pytest.raises(DataError, match=message):
        FrameFolder(folder)


@pytest.mark.parametrize("orientation", ["stored", "shown"])
def test_frames_are_turned_where_masks_lie_on_what_viewers_show(orientation: str, tmp_path: Path) -> None:
    index = opened(make_case("turned_upside_down", tmp_path), orientation=orientation)
    video = index.video(0)
    (mask,) = index.masks(video, 0, [1], (72, 96))
    red = index.frame(video, 0)[mask].mean(axis=0)
    on_the_disc = red[0] > 180 and red[1] < 100
    assert on_the_disc == (orientation == "shown")


def test_turned_frames_are_refused_by_predict_too(tmp_path: Path) -> None:
    folder = make_case("turned_upside_down", tmp_path) / "images" / "v"
    with pytest.raises(DataError, match="6 frames of video v with an EXIF orientation"):
        FrameFolder(folder)
    stored, shown = (FrameFolder(folder, orientation) for orientation in ("stored", "shown"))
    video = stored.facts("v")
    assert (stored.frame(video, 0)[::-1, ::-1] == shown.frame(video, 0)).all()
