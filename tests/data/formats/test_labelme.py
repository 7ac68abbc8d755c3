"""LabelMe and X-AnyLabeling JSON: masks and polygons of real videos, identity, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats import detected_format
from sam2_training.data.index import open_index

from tests.data.formats.outlines import outlines, smallest_iou
from tests.data.formats.real_videos import (
    Ids,
    check_cache_and_pickle,
    check_masks,
    check_refused,
    check_trains,
    damages,
    frames_and_ids,
    write_frames,
)
from tests.places import TEST_DATA, require_test_data

SIZE = (24, 32)


def mask_shape(label: str, mask: np.ndarray, group: int | None) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = (int(v) for v in (rows[0], rows[-1], columns[0], columns[-1]))
    file = io.BytesIO()
    Image.fromarray(mask[top : bottom + 1, left : right + 1].astype(np.uint8)).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    points = [[left, top], [right, bottom]]
    return {"label": label, "points": points, "group_id": group, "shape_type": "mask", "flags": {}, "mask": text}


def shape(label: str = "dog", group: int | None = 1, kind: str = "rectangle", points: Any = None) -> dict[str, Any]:
    points = [[4, 4], [12, 10]] if points is None else points
    return {"label": label, "group_id": group, "shape_type": kind, "points": points, "difficult": False}


def write_document(path: Path, regions: list[dict[str, Any]], size: tuple[int, int], **changes: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"version": "5.4.1", "flags": {}, "shapes": regions, "imagePath": f"{path.stem}.png", "imageData": None}
    values |= {"imageHeight": size[0], "imageWidth": size[1]} | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}, ensure_ascii=False))


def write_ids(folder: Path, ids: Ids, polygons: bool = False) -> None:
    for t, values in ids.items():
        shapes = []
        for value in (int(v) for v in np.unique(values) if v):
            if polygons:
                shapes += [shape("thing", value, "polygon", one) for one in outlines(values == value)]
            else:
                shapes.append(mask_shape("thing", values == value, value))
        write_document(folder / f"{t:06d}.json", shapes, values.shape)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """One video of three frames, with a document for the first two, beside the frames."""
    write_frames(tmp_path / "v", [np.full((*SIZE, 3), 60 * t, np.uint8) for t in range(3)])
    for t in range(2):
        write_document(tmp_path / "v" / f"{t:06d}.json", [shape()], SIZE)
    return tmp_path


def config_of(root: Path, **changes: Any) -> DatasetConfig:
    return DatasetConfig("auto", data_path=str(root), **changes)


def rewrite(root: Path, *regions: dict[str, Any], frame: int = 1, **changes: Any) -> DatasetConfig:
    write_document(root / "v" / f"{frame:06d}.json", list(regions), SIZE, **changes)
    return config_of(root)


@pytest.mark.parametrize(("name", "num_frames"), [("dogs-jump", 12), ("caps", 67)])
def test_masks_are_those_of_the_pngs(tmp_path: Path, name: str, num_frames: int) -> None:
    frames, ids = frames_and_ids(name, num_frames)
    write_frames(tmp_path / "images" / name, frames)
    write_ids(tmp_path / "json" / name, ids)
    index = open_index(config_of(tmp_path / "json", img_folder=str(tmp_path / "images")))
    check_masks(index, 0, ids)
    assert "format: labelme" in index.describe()


@pytest.mark.parametrize(("name", "num_frames"), [("dogs-jump", 12), ("caps", 67)])
def test_polygons_hold_the_masks(tmp_path: Path, name: str, num_frames: int) -> None:
    frames, ids = frames_and_ids(name, num_frames)
    write_frames(tmp_path / name, frames)
    write_ids(tmp_path / name, ids, polygons=True)
    values = sorted({int(v) for one in ids.values() for v in np.unique(one) if v})
    found = smallest_iou(open_index(config_of(tmp_path)), 0, ids, {value: value for value in values})
    assert found >= 0.98, found


def test_boxes_turned_boxes_circles_and_parts_are_areas(small: Path) -> None:
    shapes = [
        shape("a", 1, "rectangle", [[12, 10], [4, 4]]),
        shape("b", 2, "rectangle", [[4, 4], [12, 4], [12, 10], [4, 10]]),
        shape("c", 3, "rotation", [[8, 4], [12, 8], [8, 12], [4, 8]]),
        shape("d", 4, "circle", [[16, 12], [16, 17]]),
        shape("e", 5, "rectangle", [[0, 0], [2, 2]]),
        shape("e", 5, "rectangle", [[1, 1], [4, 4]]),
    ]
    rewrite(small, *shapes, frame=0)
    index = open_index(rewrite(small, *shapes))
    areas = index.video(0).areas[1].tolist()
    assert areas[:2] == [48, 48]
    assert abs(areas[2] - 32) <= 4
    assert abs(areas[3] - np.pi * 25) < 3
    assert areas[4] == 4 + 9 - 1


def test_objects_are_labels_where_no_group_is_given_and_are_numbered_by_name(small: Path) -> None:
    rewrite(small, shape("öl", None), shape("car 10", None), shape("car 9", None), frame=0)
    index = open_index(rewrite(small, shape("car 10", None)))
    assert index.source.object_names("v") == {1: "car 9", 2: "car 10", 3: "öl"}
    assert "labels: 3 objects are named by label and group_id, and numbered 1, 2, 3 ... by name" in index.describe()
    assert index.video(0).areas.tolist() == [[48, 48, 48], [0, 48, 0], [-1, -1, -1]]


def test_a_group_id_of_two_labels_in_one_frame_is_two_objects(small: Path) -> None:
    rewrite(small, shape("dog", 0), shape("cat", 0), frame=0)
    index = open_index(rewrite(small))
    assert index.source.object_names("v") == {1: "cat 0", 2: "dog 0"}
    assert index.video(0).areas.tolist() == [[48, 48], [0, 0], [-1, -1]]


def test_what_is_labeled_ignore_takes_no_part(small: Path) -> None:
    index = open_index(rewrite(small, shape(), shape("__ignore__", None, points=[[4, 4], [6, 10]])))
    assert index.video(0).areas.tolist() == [[48], [36], [-1]]
    assert index.labels(index.video(0), 1, [1], SIZE).ignored.sum() == 12  # type: ignore[union-attr]


def test_the_named_picture_decides_the_frame_and_the_single_folder_is_a_video(small: Path) -> None:
    folder = (small / "v").rename(small / "ein Video ü")
    (folder / "000001.json").unlink()
    write_document(folder / "other.json", [shape()], SIZE, imagePath="..\\pictures\\000002.png")
    config = config_of(folder)
    assert detected_format(config) == "labelme"
    index = open_index(config)
    assert list(index.names) == ["ein Video ü"]
    assert index.video(0).areas.tolist() == [[48], [-1], [48]]
    assert not [line for line in index.describe() if "not used" in line]
    elsewhere = open_index(config_of(folder, img_folder=str(folder)))
    assert elsewhere.fingerprint() == index.fingerprint()


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no label": ({"label": ...}, r"shape 0 has no label"),
    "group": ({"group_id": "x"}, r'shape 0 has group_id="x", expected group_id to be a whole number'),
    "no points": ({"points": ...}, r"shape 0 has no points"),
    "point": ({"points": [[4, 4], [float("nan"), 3]]}, r"shape 0 is not a rectangle .*a point is \[nan, 3\]"),
    "far": ({"points": [[4, 4], [4e8, 3]]}, r"far outside the frame of 24x32"),
    "corner": ({"points": [[4, 4]]}, r"it has 1 points, expected its corners"),
    "polygon": ({"shape_type": "polygon"}, r"expected x, y of at least three corners"),
    "circle": ({"shape_type": "circle", "points": [[4, 4]]}, r"expected its center and one on its edge"),
    "line": ({"shape_type": "line"}, r'has shape_type="line", which has no area'),
    "no mask": ({"shape_type": "mask"}, r"shape 0 has no mask"),
    "mask": ({"shape_type": "mask", "mask": "?"}, r"its mask is not base64"),
    "mask size": (
        mask_shape("dog", np.ones((3, 4), bool), 1) | {"points": [[0, 0], [4, 2]]},
        r"its mask is 3x4, its box 3x5 \(height x width\)",
    ),
    "mask box": ({"shape_type": "mask", "mask": "", "points": [[30, 20], [32, 20]]}, r"its box goes from 30, 20 to 32"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_shape_that_is_wrong_is_named(small: Path, fault: str) -> None:
    change, words = FAULTS[fault]
    values = {key: value for key, value in (shape() | change).items() if value is not ...}
    check_refused(rewrite(small, values), rf"(?s){words}.*v/000001\.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"imageHeight": 25}, r"has imageHeight=25, expected 24: its video's frames are 24x32 .*v/000001\.json"),
        ({"shapes": ...}, r"has no shapes, expected .*v/000001\.json"),
        ({"imagePath": "000000.png"}, r"two documents for frame 000000\.png: .*000000\.json and .*000001\.json"),
    ],
)
def test_a_document_that_is_wrong_is_named(small: Path, changes: dict[str, Any], words: str) -> None:
    check_refused(rewrite(small, **changes), words)


def test_a_missing_or_damaged_file_is_named(small: Path) -> None:
    check_refused(
        config_of(small, img_folder=str(small / "i")), r"dataset\.img_folder does not exist: .*/i\nCorrect it"
    )
    (small / "v" / "000001.png").unlink()
    check_refused(config_of(small), r"the document belongs to no frame: .*v/000001\.json")
    (small / "v" / "000001.json").write_text("{")
    check_refused(config_of(small), r"not JSON .*v/000001\.json")
    check_refused(config_of(small / "gone"), r"dataset\.data_path does not exist: .*/gone\n")
    check_refused(DatasetConfig("labelme", data_path=str(small / "w")), r"annotations is not there: .*/w\n")
    (small / "w" / "empty").mkdir(parents=True)
    check_refused(config_of(small / "w"), r"dataset\.data_path is of no format that is recognized: .*/w\nName the")
    check_refused(DatasetConfig("labelme", data_path=str(small / "w")), r"no folder with LabelMe JSON files: .*/w\n")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([shape("dog", None)] * 2, [], r"2 shapes are dog and have no group_id.*000000\.json\nGive each object"),
        ([shape("dog", None)], [shape("dog", 1)], r"dog has a group_id in .*000001\.json and none in .*000000\.json"),
        ([shape("dog", 1)], [shape("cat", 1)], r"group_id 1 is dog in .*000000\.json and cat in .*000001\.json"),
    ],
)
def test_identity_that_is_not_said_is_refused(small: Path, first: list, second: list, words: str) -> None:
    rewrite(small, *first, frame=0)
    check_refused(rewrite(small, *second), words)


@pytest.mark.parametrize("frames", ["videos", "videos/v.mp4"])
def test_documents_of_one_video_belong_to_the_frames_of_its_file(tmp_path: Path, frames: str) -> None:
    file = TEST_DATA / "json_samples" / "sav_style_derived" / "dogs-jump.mp4"
    require_test_data(file.is_file(), "dogs-jump.mp4")
    (tmp_path / "videos").mkdir()
    shutil.copyfile(file, tmp_path / "videos" / "v.mp4")
    for t in (0, 7):
        write_document(tmp_path / "v" / f"{t:05d}.json", [shape()], (240, 432), imagePath=f"{t:05d}.jpg")
    index = open_index(config_of(tmp_path / "v", img_folder=str(tmp_path / frames)))
    assert list(index.names) == ["v"]
    assert np.flatnonzero(index.video(0).areas[:, 0] >= 0).tolist() == [0, 7]


def test_frames_without_a_document_are_said(small: Path) -> None:
    write_frames(small / "w", [np.zeros((*SIZE, 3), np.uint8)])
    assert "not used: videos without a JSON file: 1 (w)" in open_index(config_of(small)).describe()


def test_the_cache_and_copies_read_the_same_and_changes_are_noticed(small: Path, tmp_path: Path) -> None:
    def change() -> None:
        rewrite(small, shape(points=[[4, 4], [13, 10]]))

    check_cache_and_pickle(config_of(small), tmp_path / "cache", change)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damages(json.dumps({"imagePath": "000001.png", "imageHeight": 24, "shapes": [shape()]}).encode()))
def test_damaged_documents_are_never_more_than_a_named_error(small: Path, data: bytes) -> None:
    path = small / "v" / "000001.json"
    path.write_bytes(data)
    message = ""
    try:
        open_index(DatasetConfig("labelme", data_path=str(small)))
    except DataError as error:
        message = str(error)
    assert not message or "v/000001" in message


@pytest.mark.slow
def test_it_is_trained_on_from_the_command_line(tmp_path: Path) -> None:
    frames, ids = frames_and_ids("dogs-jump", 6)
    write_frames(tmp_path / "data" / "dogs", frames)
    write_ids(tmp_path / "data" / "dogs", ids)
    said = ["videos: 1 ", "frames: 6, 6 of them with masks", "objects: 3", "format: labelme"]
    check_trains(tmp_path, said, f"dataset.data_path={tmp_path / 'data'}", "dataset.img_folder=null")
