"""MOTS masks: PNGs and text files hold the same pixels as the ids they were made from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats import detected_format, open_source
from sam2_training.data.index import open_index

from tests.data.formats.real_videos import (
    Ids,
    check_cache_and_pickle,
    check_masks,
    check_refused,
    check_trains,
    frames_and_ids,
    read_or_named,
    write_frames,
)

PERSON = 2000


def write_png(root: Path, name: str, ids: Ids, rim: bool = True) -> None:
    """Object n is a pedestrian, 2000 + n; the left columns of a frame are ignored."""
    folder = root / "instances" / name
    folder.mkdir(parents=True)
    for t, values in ids.items():
        stored = np.where(values > 0, values.astype(np.uint16) + PERSON, 0).astype(np.uint16)
        if rim:
            stored[:, :10] = 10000
        assert cv2.imwrite(str(folder / f"{t:06d}.png"), stored)


def line(frame: int, object_id: int, mask: np.ndarray) -> str:
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    category = object_id // 1000
    return f"{frame} {object_id} {category} {mask.shape[0]} {mask.shape[1]} {encoded['counts'].decode()}\n"


def lines_of(ids: Ids, start: int = 0) -> list[str]:
    return [
        line(t + start, PERSON + int(value), values == value)
        for t, values in ids.items()
        for value in np.unique(values)
        if value
    ]


@pytest.fixture
def dogs(tmp_path: Path) -> tuple[Path, Ids]:
    frames, ids = frames_and_ids("dogs-jump", 4)
    write_frames(tmp_path / "images" / "0002", frames)
    return tmp_path, ids


def config_of(root: Path, masks: str, dataset_type: str = "mots", **changes: object) -> DatasetConfig:
    return DatasetConfig(dataset_type, img_folder=f"{root}/images", gt_folder=f"{root}/{masks}", **changes)


def test_pngs_hold_their_objects_and_what_is_ignored(dogs: tuple[Path, Ids]) -> None:
    root, ids = dogs
    write_png(root, "0002", ids)
    seen = {t: np.where(np.arange(values.shape[1]) < 10, 0, values) for t, values in ids.items()}
    index = open_index(config_of(root, "instances", "auto"))
    check_masks(index, 0, seen, lambda value: PERSON + value)
    ignored = index.labels(index.video(0), 0, [2001], ids[0].shape).ignored
    assert ignored is not None
    assert np.array_equal(ignored[0], np.broadcast_to(np.arange(ids[0].shape[1]) < 10, ids[0].shape))
    banner = "\n".join(index.describe())
    assert "format: mots" in banner
    assert "labels: value 10000 is ignored: 9,600 pixels in 4 files" in banner
    assert index.source.object_names("0002")[2001] == "class 2, instance 1"


def test_plain_ids_are_not_taken_for_mots(dogs: tuple[Path, Ids]) -> None:
    root, ids = dogs
    write_png(root, "0002", ids)
    (root / "instances").rename(root / "masks")
    config = config_of(root, "masks", "auto")
    assert detected_format(config) == "video"
    check_refused(config, r"(?s)value 10000 beside the objects.*dataset\.dataset_type=mots reads them")
    assert open_index(config_of(root, "masks")).video(0).object_ids == (2001, 2002, 2003)
    (root / "masks").rename(root / "instances")
    cv2.imwrite(str(root / "instances" / "0002" / "000000.png"), np.where(ids[0] == 1, 4001, 0).astype(np.uint16))
    assert detected_format(config_of(root, "instances", "auto")) == "video"


def test_values_below_1000_are_refused(dogs: tuple[Path, Ids]) -> None:
    root, ids = dogs
    write_png(root, "0002", ids)
    cv2.imwrite(str(root / "instances" / "0002" / "000002.png"), np.where(ids[2] == 1, 7, 0).astype(np.uint16))
    check_refused(config_of(root, "instances"), r"video 0002 has value 7 in 000002\.png, expected values of class")


@pytest.mark.parametrize("start", [0, 1])
def test_text_files_hold_the_same_masks(dogs: tuple[Path, Ids], start: int) -> None:
    """KITTI's files and MOT's, whose frames count from 1 and whose lines are in no order."""
    root, ids = dogs
    if start:
        (root / "images" / "0002").rename(root / "kitti")
        write_frames(root / "images" / "MOTS20 02" / "img1", frames_and_ids("dogs-jump", 4)[0], start=1)
        path = root / "texts" / "MOTS20 02" / "gt" / "gt.txt"
    else:
        path = root / "texts" / "0002.txt"
    path.parent.mkdir(parents=True)
    path.write_text("".join(reversed(lines_of(ids, start))))
    index = open_index(config_of(root, "texts", "auto"))
    assert index.source.format_name == "mots"
    check_masks(index, 0, ids, lambda value: PERSON + value)


def test_in_text_files_10000_is_ignored_and_frames_without_a_line_are_empty(dogs: tuple[Path, Ids]) -> None:
    root, ids = dogs
    (root / "texts").mkdir()
    rim = np.zeros(ids[0].shape, np.bool_)
    rim[:, :10] = True
    one = line(0, 2001, ids[0] == 1)
    (root / "texts" / "0002.txt").write_text(one + line(0, 10000, rim) + line(0, 10000, rim))
    index = open_index(config_of(root, "texts"))
    video = index.video(0)
    assert video.areas[:, 0].tolist() == [int(((ids[0] == 1) & ~rim).sum()), 0, 0, 0]
    labels = index.labels(video, 0, [2001], ids[0].shape)
    assert labels.ignored is not None
    assert np.array_equal(labels.ignored[0], rim)


def edited(lines: list[str], number: int, place: int, word: str) -> list[str]:
    words = lines[number].split()
    words[place] = word
    return [*lines[:number], " ".join(words) + "\n", *lines[number + 1 :]]


@pytest.mark.parametrize(
    ("place", "word", "match"),
    [
        (0, "9", "the video has no frame of number 9; it has 0 to 3"),
        (0, "-1", "it does not hold five whole numbers"),
        (1, "2003", "object 2003 has two masks in frame 0"),
        (1, "77", "its id is 77, expected class"),
        (1, "1002", "its id 1002 is of class 1, its class 2"),
        (1, "70001", "its id is 70001, expected class"),
        (3, "241", "counts sum to 103680, expected 241x432"),
        (5, "###", "counts are not a compressed RLE"),
    ],
)
def test_lines_that_cannot_be_used_are_named(dogs: tuple[Path, Ids], place: int, word: str, match: str) -> None:
    root, ids = dogs
    (root / "texts").mkdir()
    good = lines_of(ids)
    for name in ("0001", "0002", "0003"):
        if name != "0002":
            write_frames(root / "images" / name, frames_and_ids("dogs-jump", 4)[0])
        (root / "texts" / f"{name}.txt").write_text("".join(good))
    lines = [good[0], good[2], good[1], *good[3:]]
    (root / "texts" / "0002.txt").write_text("".join(edited(lines, 2, place, word)))
    check_refused(
        config_of(root, "texts"), rf"line 3 cannot be used, .*{match}.*: .*texts/0002\.txt\nExpected: frame id"
    )


def test_frames_that_are_missing_or_of_another_size_are_named(dogs: tuple[Path, Ids]) -> None:
    root, ids = dogs
    (root / "texts").mkdir()
    (root / "texts" / "0007.txt").write_text("".join(lines_of(ids)))
    check_refused(config_of(root, "texts"), "video 0007 has no")
    (root / "texts" / "0007.txt").unlink()
    half = {t: values[::2] for t, values in ids.items()}
    (root / "texts" / "0002.txt").write_text("".join(lines_of(half)))
    check_refused(config_of(root, "texts"), "video 0002 is 120x432 by its annotations, its frames are 240x432")


def test_settings_for_pngs_are_refused_with_text_files(dogs: tuple[Path, Ids]) -> None:
    root, ids = dogs
    (root / "texts").mkdir()
    (root / "texts" / "0002.txt").write_text("".join(lines_of(ids)))
    check_refused(config_of(root, "texts", ignore_ids=(255,)), r"dataset\.ignore_ids is for masks as PNGs")


def test_a_copy_reads_the_same_and_a_changed_text_is_noticed(dogs: tuple[Path, Ids]) -> None:
    root, ids = dogs
    (root / "texts").mkdir()
    path = root / "texts" / "0002.txt"
    path.write_text("".join(lines_of(ids)))
    check_cache_and_pickle(config_of(root, "texts"), root / "cache", lambda: void(path.write_text(lines_of(ids)[0])))


def void(_: object) -> None:
    """Nothing of a value."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(["0", "1", "2001", "2", "240", "432", "-5", "x", "1e9", "0" * 30, "é", "\n"])))
def test_any_text_is_read_or_named(dogs: tuple[Path, Ids], words: list[str]) -> None:
    root, ids = dogs
    (root / "texts").mkdir(exist_ok=True)
    (root / "texts" / "0002.txt").write_text("".join([*lines_of(ids)[:2], " ".join(words)]))
    read_or_named(lambda: open_source(config_of(root, "texts")).facts("0002"), "0002.txt")


@pytest.mark.slow
def test_it_trains(dogs: tuple[Path, Ids]) -> None:
    root, ids = dogs
    write_png(root, "0002", ids)
    said = ["videos: 1", "frames: 4, 4 of them with masks", "objects: 3", "format: mots"]
    check_trains(root, said, f"dataset.img_folder={root}/images", f"dataset.gt_folder={root}/instances")
