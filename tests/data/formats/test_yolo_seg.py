"""YOLO segmentation labels: polygons of real videos, identity over time, layouts, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from sam2_training.core.errors import DataError
from sam2_training.data import rle
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.overlap_identity import link_by_overlap
from sam2_training.data.index import open_index
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

from tests.data.formats.outlines import outlines, smallest_iou
from tests.data.formats.real_videos import (
    Ids,
    check_cache_and_pickle,
    check_refused,
    check_trains,
    damages,
    frames_and_ids,
    write_frames,
)

SIZE = (24, 32)


def line(
    class_number: int, *boxes: tuple[float, float, float, float], size: tuple[int, int] = SIZE, end: str = ""
) -> str:
    """A rectangle in pixels (left, top, right, bottom), as fractions."""
    left, top, right, bottom = boxes[0]
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return f"{class_number} " + " ".join(f"{x / size[1]:.6g} {y / size[0]:.6g}" for x, y in corners) + end + "\n"


def write_labels(root: Path, name: str, *texts: str | None, split: str = "train") -> None:
    """A video of one frame and label file per text; None: without a file."""
    write_frames(root / "images" / split / name, [np.full((*SIZE, 3), 9 * t, np.uint8) for t in range(len(texts))])
    folder = root / "labels" / split / name
    folder.mkdir(parents=True, exist_ok=True)
    for t, text in enumerate(texts):
        if text is not None:
            (folder / f"{t:06d}.txt").write_text(text)


def joined(parts: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """One polygon of several, with a way there and back to each, as Ultralytics joins the parts of an object."""
    start = parts[0][0]
    return [point for part in parts for point in (*part, part[0], start)]


def write_real(root: Path, name: str, frames: list[np.ndarray], ids: Ids, tracks: bool) -> None:
    write_frames(root / "images" / name, frames)
    (root / "labels" / name).mkdir(parents=True)
    for t, values in ids.items():
        text = ""
        for value in (int(v) for v in np.unique(values) if v):
            polygon = joined(outlines(values == value))
            numbers = [f"{x / values.shape[1]:.6g} {y / values.shape[0]:.6g}" for x, y in polygon]
            text += f"{value % 2} {' '.join(numbers)}{f' {value}' if tracks else ''}\n"
        (root / "labels" / name / f"{t:06d}.txt").write_text(text)


def config_of(root: Path, **changes: Any) -> DatasetConfig:
    return DatasetConfig("auto", data_path=str(root), **changes)


@pytest.mark.parametrize(("name", "num_frames", "values"), [("dogs-jump", 12, (1, 2, 3)), ("caps", 67, (1, 2))])
def test_polygons_hold_the_masks_and_tracks_are_objects(
    tmp_path: Path, name: str, num_frames: int, values: tuple[int, ...]
) -> None:
    frames, ids = frames_and_ids(name, num_frames)
    write_real(tmp_path, name, frames, ids, tracks=True)
    index = open_index(config_of(tmp_path, identity="track"))
    assert "format: yolo_seg" in index.describe()
    found = smallest_iou(index, 0, ids, {value: value for value in values})
    assert found >= 0.98, found


def test_overlap_finds_the_objects_of_a_real_video(tmp_path: Path) -> None:
    frames, ids = frames_and_ids("dogs-jump", 8)
    write_real(tmp_path, "dogs", frames, ids, tracks=False)
    index = open_index(config_of(tmp_path, identity="overlap"))
    assert (
        "labels: identity by overlap (IoU at least 0.3): 3 objects, 21 links between frames, 0 of them ambiguous"
        in (index.describe())
    )
    assert smallest_iou(index, 0, ids, {1: 1, 2: 2, 3: 3}) >= 0.98


A, B, C = (0.0, 0.0, 8.0, 8.0), (4.0, 0.0, 12.0, 8.0), (20.0, 10.0, 30.0, 20.0)


def test_overlap_links_the_best_pairs_of_a_class_above_the_threshold(tmp_path: Path) -> None:
    write_labels(tmp_path, "v", line(0, A) + line(1, C), line(1, C) + line(0, B), None, line(0, B), "", line(0, B))
    index = open_index(config_of(tmp_path, identity="overlap"))
    unknown = [-1, -1, -1]
    assert index.video(0).areas.tolist() == [[64, 100, 0], [64, 100, 0], unknown, [64, 0, 0], [0, 0, 0], [0, 0, 64]]
    assert index.source.object_names("train/v") == {1: "class 0", 2: "class 1", 3: "class 0"}
    stricter = open_index(config_of(tmp_path, identity="overlap", identity_iou=0.5))
    assert stricter.video(0).areas[:2].tolist() == [[64, 100, 0, 0], [0, 100, 64, 0]]


def test_a_link_with_two_candidates_is_counted_as_ambiguous() -> None:
    def box(left: int, right: int) -> bytes:
        mask = np.zeros(SIZE, np.bool_)
        mask[:8, left:right] = True
        return rle.encode(mask)

    before, now = [box(0, 8), box(20, 28)], [box(3, 11), box(1, 9), box(20, 28)]
    links = link_by_overlap([before, now], [[0, 0], [0, 0, 0]], SIZE, 0.3)
    assert links.objects == ((1, 2), (3, 1, 2))
    assert (links.number, links.links, links.ambiguous) == (3, 2, 1)
    assert link_by_overlap([before, now], [[0, 1], [1, 1, 1]], SIZE, 0.3).objects == ((1, 2), (3, 4, 2))


def test_each_image_is_a_video_where_identity_is_not_asked(tmp_path: Path) -> None:
    write_labels(tmp_path, "ein Ordner ü", line(0, A) + line(0, C), "", line(2, B))
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: {0: dog, 2: cat}\n")
    for path in (tmp_path, tmp_path / "data.yaml", tmp_path / "images", tmp_path / "labels" / "train"):
        index = open_index(config_of(path))
        assert [name[-6:] for name in index.names] == ["000000", "000002"]
        assert [index.video(n).areas.tolist() for n in range(2)] == [[[64, 100]], [[64]]]
        assert index.source.object_names(index.names[1]) == {1: "cat"}
    assert "not used: images whose label file is empty: 1" in index.describe()
    assert "labels: each image is a video of one frame; dataset.identity says" in "\n".join(index.describe())


def test_all_regions_of_a_class_are_one_object_where_that_is_asked(tmp_path: Path) -> None:
    write_labels(tmp_path, "v", line(0, A) + line(0, B) + line(4, C), line(4, C))
    index = open_index(config_of(tmp_path, identity="class"))
    assert index.video(0).object_ids == (1, 5)
    assert index.video(0).areas.tolist() == [[96, 100], [0, 100]]
    assert "labels: each class is one object: id = class + 1" in index.describe()


def test_tracks_that_are_no_ids_are_numbered(tmp_path: Path) -> None:
    write_labels(tmp_path, "v", line(0, A, end=" 0") + line(0, C, end=" 10"), line(0, C, end=" 9"))
    index = open_index(config_of(tmp_path, identity="track"))
    assert index.video(0).areas.tolist() == [[64, 0, 100], [0, 100, 0]]
    assert index.source.object_names("train/v") == {1: "0", 2: "9", 3: "10"}
    assert "labels: 3 tracks are numbered 1, 2, 3 ... in their order" in index.describe()


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "class": ("x 0 0 1 0 1 1\n", {}, r"line 1 begins with x, expected the number of a class"),
    "number": (line(0, A) + "0 0 0 1 0 1 y\n", {}, r"line 2 has a value that is not a number"),
    "nan": ("0 0 0 1 0 1 nan\n", {}, r"line 1 has a value that is not a number"),
    "box": ("0 0.5 0.5 0.2 0.2\n", {}, r"line 1 is a box \(4 values\).*Export segmentations"),
    "pixels": ("0 0 0 10 0 10 10\n", {}, r"line 1 has the coordinate 10, expected fractions"),
    "few": ("0 0.1 0.1\n", {}, r"line 1 is not a polygon"),
    "odd": (line(0, A, end=" 3"), {}, r"line 1 has 9 values after the class.*set dataset\.identity=track"),
    "no track": (line(0, A), {"identity": "track"}, r"line 1 does not end with the number of a track"),
    "confidence": (line(0, A, end=" 0.75"), {"identity": "track"}, r"line 1 does not end with the number of a track"),
    "both": (line(0, A, end=" 0.75 3"), {"identity": "track"}, r"line 1 does not end with the number of a track"),
    "twice": (line(0, A, end=" 3") * 2, {"identity": "track"}, r"track 3 has two lines"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, fault: str) -> None:
    text, changes, words = FAULTS[fault]
    write_labels(tmp_path, "v", text)
    changes = {"dataset_type": "yolo_seg", "data_path": str(tmp_path)} | changes
    with pytest.raises(DataError, match=rf"(?s){words}") as caught:
        open_index(DatasetConfig(**changes))
    assert "labels/train/v/000000.txt" in str(caught.value)


@pytest.mark.parametrize("identity", [None, "overlap"])
def test_a_missing_image_is_named(tmp_path: Path, identity: Any) -> None:
    write_labels(tmp_path, "v", line(0, A), line(0, A))
    (tmp_path / "images" / "train" / "v" / "000001.png").unlink()
    check_refused(config_of(tmp_path, identity=identity), r"labels/train/v/000001\.txt")


def test_folders_and_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    write_labels(tmp_path, "v", line(0, A))
    (tmp_path / "labels" / "train" / "v" / "other_1.txt").write_text(line(0, A))
    write_frames(tmp_path / "new", [np.zeros((*SIZE, 3), np.uint8)])
    (tmp_path / "new" / "000000.png").rename(tmp_path / "images" / "train" / "v" / "other_1.png")
    check_refused(
        config_of(tmp_path, identity="class"), r"frames of several videos in one folder, .*\(000000, other_1\)"
    )
    typed = {"dataset_type": "yolo_seg"}
    check_refused(
        DatasetConfig(**typed, data_path=str(tmp_path / "new")), r"no images/ and labels/ in this folder: .*/new"
    )
    check_refused(DatasetConfig(**typed, data_path=str(tmp_path / "gone")), r"does not exist: .*/gone")
    for text, words in (("train: x\n", "train=x names is not there"), ("- 1\n", "holds no keys"), ("{", "not YAML")):
        (tmp_path / "data.yaml").write_text(text)
        check_refused(DatasetConfig(**typed, data_path=str(tmp_path / "data.yaml")), rf"(?s){words}.*data\.yaml")


def test_identity_is_refused_where_a_format_does_not_use_it() -> None:
    for key in ("identity=track", "identity_iou=0.5"):
        with pytest.raises(Exception, match=r"dataset\.identity.* has no effect here: format video does not use it"):
            load_config("custom_finetune", [f"dataset.{key}", "dataset.dataset_type=video"], VosConfig)


@pytest.mark.parametrize("identity", [None, "overlap"])
def test_the_cache_and_copies_read_the_same_and_changes_are_noticed(tmp_path: Path, identity: Any) -> None:
    write_labels(tmp_path, "v", line(0, A), line(0, A))

    def change() -> None:
        (tmp_path / "labels" / "train" / "v" / "000001.txt").write_text(line(0, B) + line(0, C))

    check_cache_and_pickle(config_of(tmp_path, identity=identity), tmp_path / "cache", change)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damages((line(0, A) + line(3, C)).encode()))
def test_damaged_labels_are_never_more_than_a_named_error(tmp_path: Path, data: bytes) -> None:
    if not (tmp_path / "images").exists():
        write_labels(tmp_path, "v", line(0, A), line(0, A))
    (tmp_path / "labels" / "train" / "v" / "000001.txt").write_bytes(data)
    for identity in (None, "overlap", "track"):
        message = ""
        try:
            open_index(DatasetConfig("yolo_seg", data_path=str(tmp_path), identity=identity))
        except DataError as error:
            message = str(error)
        assert not message or "labels/train/v" in message


@pytest.mark.slow
def test_it_is_trained_on_from_the_command_line(tmp_path: Path) -> None:
    frames, ids = frames_and_ids("dogs-jump", 6)
    write_real(tmp_path / "data", "dogs", frames, ids, tracks=False)
    said = [
        "videos: 1 ",
        "frames: 6, 6 of them with masks",
        "objects: 3",
        "3 objects, 15 links between frames, 0 of them",
    ]
    keys = (f"dataset.data_path={tmp_path / 'data'}", "dataset.img_folder=null", "dataset.identity=overlap")
    check_trains(tmp_path, said, *keys)
