"""What the values in people's mask files mean: refused with both files and the setting, or read as they are meant."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.index import VideoIndex, open_index
from sam2_training.vos.prediction.object_prompts import mask_prompts

from tests.cases.made import make_case

MakeSquares = Callable[..., np.ndarray]
DISC, BAR = 314, 304
"""Pixels of the two objects of make_cases.py."""


def index_of(root: Path, **settings: Any) -> VideoIndex:
    return open_index(DatasetConfig(img_folder=str(root / "images"), gt_folder=str(root / "masks"), **settings))


def areas(index: VideoIndex) -> list[list[int]]:
    return index.video(0).areas.tolist()


REFUSED = {
    "antialiased_mask": [r"6 mask files with soft edges.*00000\.png", "23 values", "157 pixels", "binary_masks=half"],
    "void_255": [r"value 255 beside the objects 1, 2.*1,992 pixels in 6 files.*00000\.png", r"ignore_ids=\[255\]"],
    "zero_one_and_zero_255": [r"two values, 1 in .*00001\.png and 255 in .*00000\.png", "binary_masks=nonzero"],
    "palette_reordered": [r"\(0, 0, 0\) in .*00000\.png and \(128, 0, 0\) in .*00001\.png", "palette=color"],
    "masks_one_folder_deeper": [r"v/masks/00000\.png holds 2", "move the files up"],
    "class_and_object_folders": ["SegmentationClass and .*SegmentationObject", "more than one value"],
    "object_files_with_soft_edges": [r"v/1/00000\.png holds 22", "soft edges", "binary_masks=half"],
    "one_folder_given_twice": ["one folder"],
}


@pytest.mark.parametrize("case", REFUSED)
def test_masks_without_one_meaning_are_refused_with_file_and_setting(case: str, tmp_path: Path) -> None:
    root = make_case(case, tmp_path)
    with pytest.raises(DataError) as caught:
        index_of(root)
    for pattern in REFUSED[case]:
        assert re.search(pattern, str(caught.value), re.DOTALL), pattern


@pytest.mark.parametrize(
    ("case", "settings", "expected"),
    [
        ("antialiased_mask", {"binary_masks": "half"}, [DISC]),
        ("void_255", {"ignore_ids": (255,)}, [DISC, BAR]),
        ("void_255", {"object_ids": (1, 2)}, [DISC, BAR]),
        ("zero_one_and_zero_255", {"binary_masks": "nonzero"}, [DISC]),
        ("palette_reordered", {"palette": "color"}, [DISC, BAR]),
        ("grey_as_rgb", {}, [DISC]),
        ("grey_with_alpha", {}, [DISC, BAR]),
        ("object_files_with_soft_edges", {"binary_masks": "half"}, [DISC, BAR]),
        ("ids_from_zero", {}, [DISC, BAR]),
    ],
)
def test_the_setting_that_the_message_names_gives_the_true_objects(
    case: str, settings: dict[str, Any], expected: list[int], tmp_path: Path
) -> None:
    index = index_of(make_case(case, tmp_path), **settings)
    assert areas(index) == [expected] * 6
    video = index.video(0)
    masks = index.masks(video, 3, video.object_ids, index.frame(video, 3).shape[:2])
    assert [int(mask.sum()) for mask in masks] == expected


def test_a_case_read_by_its_palette_file_has_the_ids_named_there(tmp_path: Path) -> None:
    root = make_case("palette_reordered", tmp_path)
    (root / "colors.txt").write_text("0 0 0 0\n5 0 128 0 bar\n9 128 0 0 disc\n")
    index = index_of(root, palette=str(root / "colors.txt"))
    assert index.video(0).object_ids == (5, 9)
    assert areas(index) == [[BAR, DISC]] * 6


@pytest.mark.parametrize("case", ["antialiased_mask", "void_255"])
def test_predict_refuses_the_same_prompt_mask(case: str, tmp_path: Path) -> None:
    root = make_case(case, tmp_path)
    mask = root / "masks/v/00000.png"
    with pytest.raises(DataError, match=r"--mask: .*00000") as caught:
        mask_prompts(mask, (72, 96))
    settings = {"binary_masks": "half"} if case == "antialiased_mask" else {"ignore_ids": (255,)}
    assert all(f"dataset.{key}" in str(caught.value) for key in settings)
    rules = DatasetConfig(**settings).label_rules  # type: ignore[arg-type]
    found = [int(one.mask.sum()) for one in mask_prompts(mask, (72, 96), rules) if one.mask is not None]
    assert found == ([DISC] if case == "antialiased_mask" else [DISC, BAR])


def jpeg_worn(ids: np.ndarray) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(ids).save(data, "JPEG", quality=92)
    return np.asarray(Image.open(data))


def resized(ids: np.ndarray) -> np.ndarray:
    small = Image.fromarray(ids).resize((44, 33), Image.Resampling.BILINEAR)
    return np.asarray(small)


@pytest.mark.parametrize("wear", [jpeg_worn, resized])
def test_ids_that_were_smoothed_between_are_refused(
    folders: Any, make_squares: MakeSquares, wear: Callable[[np.ndarray], np.ndarray]
) -> None:
    for t in range(2):
        ids = make_squares([40, 80, 0, 120, 200, 0, 160], height=48, width=64).astype(np.uint8)
        worn = wear(ids)
        folders.image("v", f"{t}.png", height=worn.shape[0], width=worn.shape[1])
        folders.mask("v", f"{t}.png", worn, "L")
    with pytest.raises(DataError, match=r"2 mask files with soft edges, such as .*v/0\.png"):
        open_index(folders.config())


@pytest.mark.parametrize(
    ("per_frame", "mode", "match"),
    [
        ([[1001, 2003, 10000], [1001]], "I;16", r"value 10000 beside the objects 1001, 2003.*ignore_ids=\[10000\]"),
        ([[3, 65535]], "I;16", "value 65535 beside the object 3"),
        ([[1, 2, 255], [1, 2]], "L", "value 255 beside the objects 1, 2"),
        ([[128, 255]], "P", "value 255 beside the object 128"),
    ],
)
def test_values_that_mark_pixels_to_ignore_are_refused_beside_ids(
    folders: Any, make_squares: MakeSquares, per_frame: list[list[int]], mode: str, match: str
) -> None:
    for t, ids in enumerate(per_frame):
        folders.image("v", f"{t}.png")
        folders.mask("v", f"{t}.png", make_squares(ids), mode)
    with pytest.raises(DataError, match=f"(?s){match}"):
        open_index(folders.config())


def test_one_meaning_holds_for_all_videos_of_a_dataset(folders: Any) -> None:
    folders.video("a", [[1]])
    folders.video("b", [[255]])
    with pytest.raises(DataError, match=r"1 in .*a/00000\.png and 255 in .*b/00000\.png"):
        open_index(folders.config())
    assert len(open_index(folders.config(binary_masks="nonzero"))) == 2
    assert open_index(folders.config(object_ids=(1, 255))).video(1).object_ids == (255,)


@pytest.mark.parametrize("value", [1, 38, 255])
def test_one_value_throughout_is_one_object_whatever_it_is(folders: Any, value: int) -> None:
    folders.video("a", [[value], []])
    index = open_index(folders.config())
    assert index.video(0).object_ids == (value,)
    assert f"labels: one object: value {value} is object {value}" in index.describe()


@pytest.mark.parametrize(
    "per_frame",
    [
        [list(range(1, 9))],
        [[254, 255, 253]],
        [[1], [1, 2], [2], [2, 3]],
        [[7], [], [7]],
    ],
)
def test_what_is_legitimate_is_read_without_a_word(folders: Any, per_frame: list[list[int]]) -> None:
    folders.video("v", per_frame)
    index = open_index(folders.config())
    assert index.label_report.problems == index.label_report.warnings == ()


def test_a_close_up_that_fills_a_frame_is_read_and_a_video_of_them_is_said(folders: Any) -> None:
    for name, filled in (("some", [1]), ("all", [0, 1, 2])):
        for t in range(3):
            folders.image(name, f"{t}.png")
            mask = np.ones((24, 32)) if t in filled else np.pad(np.ones((20, 20)), ((2, 2), (6, 6)))
            folders.mask(name, f"{t}.png", mask)
    index = open_index(folders.config())
    assert index.label_report.warnings == ("in 1 video no mask has a pixel of background (value 0): all",)
    assert "check: in 1 video no mask has a pixel of background (value 0): all" in index.describe()


def test_a_dataset_whose_background_is_not_0_is_refused(folders: Any) -> None:
    for t in range(2):
        folders.image("v", f"{t}.png")
        folders.mask("v", f"{t}.png", np.pad(np.full((20, 20), 2), ((2, 2), (6, 6)), constant_values=1))
    with pytest.raises(DataError, match="no mask has a pixel of 0, the background: the values are 1, 2 in 2 files"):
        open_index(folders.config())
    index = open_index(folders.config(object_ids=(2,)))
    assert areas(index) == [[400], [400]]
    assert "labels: read as background, not being in dataset.object_ids: 1 (736 pixels)" in index.describe()


def test_objects_that_take_turns_are_said(folders: Any) -> None:
    folders.video("v", [[1], [2], [1], [2], [1]])
    warning = open_index(folders.config()).label_report.warnings
    assert warning == (
        "objects 1, 2 of video v are never in one frame and take turns (4 changes in 5 masks); if they are one object, "
        "set dataset.binary_masks=nonzero",
    )
    assert areas(open_index(folders.config(binary_masks="nonzero"))) == [[36]] * 5


def test_ignored_values_are_counted_in_the_banner_and_problems_come_all_at_once(
    folders: Any, make_squares: MakeSquares
) -> None:
    folders.video("v", [[1, 255], [1]])
    said = open_index(folders.config(ignore_ids=(255,))).describe()
    assert "labels: value 255 is ignored: 36 pixels in 1 file (dataset.ignore_ids)" in said
    folders.image("w", "0.png")
    folders.mask("w", "0.png", np.zeros((24, 32))).write_bytes(b"no png")
    folders.image("x", "0.png")
    folders.mask("x/1", "0.png", make_squares([1, 2]))
    with pytest.raises(DataError) as caught:
        open_index(folders.config(on_bad_sample="skip", max_bad_fraction=0.9))
    assert "value 255 beside the object 1" in str(caught.value)
    assert re.search(r"x/1/0\.png holds 2", str(caught.value))
    with pytest.raises(DataError, match=r"(?s)x/1/0\.png holds 2.*value 255 .*w/0\.png"):
        open_index(folders.config())


def test_a_cached_index_refuses_as_the_first_one_did_and_follows_the_settings(folders: Any, tmp_path: Path) -> None:
    folders.video("v", [[1, 255], [1]])
    for _ in range(2):
        with pytest.raises(DataError, match="value 255 beside"):
            open_index(folders.config(), tmp_path)
    assert open_index(folders.config(ignore_ids=(255,)), tmp_path).video(0).object_ids == (1,)
    assert open_index(folders.config(object_ids=(255,)), tmp_path).video(0).object_ids == (255,)
