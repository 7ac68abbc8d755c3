"""Prompts from the command line and from files of boxes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sam2_training.core.errors import ConfigError, DataError
from sam2_training.vos.evaluation.prompts import Click
from sam2_training.vos.prediction.boxes import read_boxes
from sam2_training.vos.prediction.object_prompts import PromptArguments

SIZE = (48, 64)


def test_boxes_and_points_of_one_object_are_one_prompt() -> None:
    given = PromptArguments.parse(None, None, ["7:1,2,30.5,40"], ["2:5,6,+", "7:8,9,-", "2:1,1,-"])
    two, seven = given.prompts("0", SIZE)
    assert (two.object_id, two.box, two.clicks) == (2, None, (Click(5, 6, True), Click(1, 1, False)))
    assert (seven.object_id, seven.box, seven.clicks) == (7, (1, 2, 30.5, 40), (Click(8, 9, False),))


@pytest.mark.parametrize(
    ("boxes", "points", "message"),
    [
        (["1:1,2,3"], [], "is not understood"),
        (["1,2,3,4"], [], "is not understood"),
        (["0:1,2,3,4"], [], "ids from 1"),
        (["65536:1,2,3,4"], [], "ids from 1"),
        (["1:1,2,x,4"], [], "is not understood"),
        (["1:1,2,inf,4"], [], "is not finite"),
        (["1:9,2,3,4"], [], "is empty"),
        (["1:1,2,3,4", "1:1,2,3,5"], [], "object 1 has 2 boxes"),
        ([], ["1:1,2"], "is not understood"),
        ([], ["1:1,2,0"], "is not a point"),
        ([], ["1:1,2,-"], "only negative points"),
    ],
)
def test_words_that_are_no_prompt(boxes: list[str], points: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PromptArguments.parse(None, None, boxes, points)


def test_the_last_row_and_column_belong_to_the_frame_and_nothing_beyond() -> None:
    assert PromptArguments.parse(None, None, ["1:0,0,64,48"], ["2:63,47,+"]).prompts("0", SIZE)
    for boxes, points in ((["1:0,0,64.5,48"], []), (["1:-1,0,6,4"], []), ([], ["1:63,48,+"]), ([], ["1:-1,4,+"])):
        with pytest.raises(ConfigError, match="outside the frame"):
            PromptArguments.parse(None, None, boxes, points).prompts("0", SIZE)


def coco(boxes: list[list[float]], **image: object) -> str:
    annotations = [{"image_id": 1, "bbox": box} for box in boxes]
    return json.dumps({"images": [{"id": 1, "file_name": "a.jpg", **image}], "annotations": annotations})


def test_coco_boxes_become_corners_and_rounding_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(coco([[1, 2, 3, 4], [60, 40, 4.5, 8.25]], width=64, height=48))
    assert read_boxes(tmp_path / "a.json", "anything", SIZE) == [(1, 2, 4, 6), (60, 40, 64, 48)]


def test_a_list_of_detections_is_read(tmp_path: Path) -> None:
    entries = [{"image_id": 9, "bbox": [1, 2, 3, 4], "score": 0.5, "category_id": 1}]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    assert read_boxes(tmp_path / "a.json", "0", SIZE) == [(1, 2, 4, 6)]
    (tmp_path / "a.json").write_text(json.dumps([*entries, {**entries[0], "image_id": 10}]))
    with pytest.raises(DataError, match="several images"):
        read_boxes(tmp_path / "a.json", "0", SIZE)


def test_yolo_boxes_are_fractions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n\n3 0.25 0.25 0.5 0.5 0.9\n")
    assert read_boxes(tmp_path / "a.txt", "0", SIZE) == [(24, 12, 40, 36), (0, 0, 32, 24)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "0 0.5 0.5 0.25", "has 4 values"),
        ("a.txt", "0 0.1 0.1 0.2 0.2 0.3 0.3", "has 7 values"),
        ("a.txt", "0 30 20 10 10", "outside 0 to 1"),
        ("a.txt", "0 0.5 0.5 x 0.5", "expected 4 numbers"),
        ("a.txt", "0 0.9 0.5 0.5 0.5", "lies outside the frame of 64x48"),
        ("a.txt", "0 0.5 0.5 0 0.5", "is empty"),
        ("a.txt", "\n", "holds no box"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "3", "is not a COCO file"),
        ("a.json", '{"images": []}', "has 0 images"),
        ("a.json", '{"images": [{"id": 1, "file_name": "a"}]}', 'no list "annotations"'),
        ("a.json", coco([[1, 2, 3]]), "expected 4 numbers"),
        ("a.json", coco([[1, 2, 3, 4]], width=640, height=480), "scale the boxes"),
        ("a.json", coco([[1, 2, 300, 4]]), "lies outside the frame"),
        ("a.json", coco([]), "holds no box"),
    ],
)
def test_files_that_hold_no_usable_boxes(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_boxes(tmp_path / name, "0", SIZE)
    assert str(tmp_path / name) in str(error.value)


def test_a_file_of_several_images_must_name_the_first_frame(tmp_path: Path) -> None:
    content = {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]}
    content["annotations"] = [{"image_id": 2, "bbox": [1, 2, 3, 4]}]  # type: ignore[list-item]
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read_boxes(tmp_path / "a.json", "b", SIZE) == [(1, 2, 4, 6)]
    with pytest.raises(DataError, match="0 of them named like the first frame, c"):
        read_boxes(tmp_path / "a.json", "c", SIZE)
    with pytest.raises(DataError, match="holds no box for frame a"):
        read_boxes(tmp_path / "a.json", "a", SIZE)


def test_a_device_is_no_file_of_boxes(tmp_path: Path) -> None:
    (tmp_path / "boxes.txt").symlink_to("/dev/null")
    with pytest.raises(DataError, match=r"boxes\.txt is a device, expected a file"):
        read_boxes(tmp_path / "boxes.txt", "00000", (48, 64))
