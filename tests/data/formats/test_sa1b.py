"""SA-1B and Roboflow's SAM 2 export: images with one JSON each."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats import detected_format
from sam2_training.data.index import open_index

from tests.data.formats.documents import segmentation_of
from tests.data.formats.real_videos import (
    check_cache_and_pickle,
    check_masks,
    check_refused,
    check_trains,
    damages,
    frames_and_ids,
    read_or_named,
)

SIZE = (24, 32)


def document(file: str, ids: np.ndarray, first_id: int = 500_000_000) -> dict[str, Any]:
    """As SA-1B: large ids, not in order. The id of value v is first_id + v."""
    image = {"image_id": 7, "width": ids.shape[1], "height": ids.shape[0], "file_name": file}
    values = [int(value) for value in np.unique(ids) if value]
    found = [
        {"id": first_id + value, "bbox": [0, 0, 1, 1], "area": 1, "segmentation": segmentation_of(ids == value)}
        for value in reversed(values)
    ]
    return {"image": image, "annotations": found}


def write_image(folder: Path, name: str, pixels: np.ndarray, ids: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / f"{name}.json").write_text(json.dumps(document(f"{name}.png", ids)))


def ids_of_small() -> np.ndarray:
    ids = np.zeros(SIZE, np.uint8)
    ids[:5, :6], ids[10:, 20:] = 1, 2
    return ids


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """sa_2 and sa_10."""
    for name in ("sa_10", "sa_2"):
        write_image(tmp_path / "data", name, np.full((*SIZE, 3), 90, np.uint8), ids_of_small())
    return tmp_path / "data"


def config_of(root: Path, **changes: Any) -> DatasetConfig:
    return DatasetConfig("auto", data_path=str(root), **changes)


@pytest.mark.parametrize("name", ["dogs-jump", "caps"])
def test_masks_are_those_of_the_pngs(tmp_path: Path, name: str) -> None:
    frames, ids = frames_and_ids(name, 40)
    some = list(ids)[:3]
    for t in some:
        write_image(tmp_path, f"{t}", frames[t], ids[t])
    index = open_index(config_of(tmp_path))
    assert len(index) == len(some)
    for number, t in enumerate(some):
        values = [int(value) for value in np.unique(ids[t]) if value]
        check_masks(index, number, {0: ids[t]}, lambda value, values=values: values.index(value) + 1)
        assert np.array_equal(index.frame(index.video(number), 0), frames[t])


def test_each_image_is_a_video_and_objects_are_numbered_by_id(small: Path) -> None:
    assert detected_format(config_of(small)) == "sa1b"
    index = open_index(config_of(small))
    assert list(index.names) == ["sa_2", "sa_10"]
    assert index.video(0).areas.tolist() == [[30, 14 * 12]]
    assert index.source.object_names("sa_2") == {1: "500000001", 2: "500000002"}


def test_roboflows_example_with_images_in_a_folder_of_their_own(small: Path, tmp_path: Path) -> None:
    """The keys of Roboflow's published example; names end with a hash."""
    images = tmp_path / "train images"
    images.mkdir()
    for path in small.iterdir():
        path.unlink()
    name = "A2_jpg.rf.1aa89274b154e74a1f960fbb192c6bf2"
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(images / f"{name}.jpg")
    image = {"image_id": 3, "license": 1, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]}
    image |= {"date_captured": "2024-10-07T11:35:58+00:00"}
    one = {"id": 3, "bbox": [0, 0, 6, 5], "area": 30.5, "segmentation": segmentation_of(ids_of_small() == 1)}
    (small / f"{name}.json").write_text(json.dumps({"image": image, "annotations": [one]}))
    index = open_index(config_of(small, img_folder=str(images)))
    assert list(index.names) == [name]
    assert index.video(0).areas.tolist() == [[30]]
    check_refused(config_of(small), rf"image of a document is not there: .*/{name}\.jpg[\s\S]*{name}\.json")


def test_cache_and_pickling(small: Path, tmp_path: Path) -> None:
    def change() -> None:
        (small / "sa_2.json").write_text(json.dumps(document("sa_2.png", ids_of_small() // 2)))

    check_cache_and_pickle(config_of(small), tmp_path / "cache", change)


def changed(what: str, key: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(document("sa_2.png", ids_of_small()))
    place = {"image": values["image"], "annotation": values["annotations"][1], "document": values}[what]
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return values


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (changed("document", "annotations", ...), "has no annotations"),
        (changed("document", "image", []), "image is a list"),
        (changed("image", "file_name", ...), "image has no file_name"),
        (changed("image", "width", 33), "24x32"),
        (changed("image", "height", -1), "height=-1"),
        (changed("annotation", "id", ...), "annotation 1 has no id"),
        (changed("annotation", "id", "x"), 'has id="x"'),
        (changed("annotation", "id", 500_000_002), "annotation 500000002 is there twice"),
        (changed("annotation", "segmentation", ...), "annotation 500000001 cannot be read"),
        (changed("annotation", "segmentation", {"size": [32, 24], "counts": [768]}), "the RLE is 32x24"),
        (changed("annotation", "segmentation", {"size": [24, 32], "counts": [769, -1]}), "negative count"),
    ],
)
def test_what_is_refused(small: Path, values: Any, match: str) -> None:
    (small / "sa_2.json").write_text(json.dumps(values))
    config = DatasetConfig("sa1b", data_path=str(small))
    check_refused(config, match)
    check_refused(config, r"sa_2\.json")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damages(json.dumps(document("sa_2.png", ids_of_small())).encode()))
def test_a_damaged_document_is_named(small: Path, data: bytes) -> None:
    (small / "sa_2.json").write_bytes(data)
    read_or_named(lambda: open_index(DatasetConfig("sa1b", data_path=str(small))), "sa_2.json")


@pytest.mark.slow
def test_it_trains(small: Path, tmp_path: Path) -> None:
    said = ["videos: 2 ", "frames: 2, 2 of them with masks", "objects: 4", "format: sa1b"]
    settings = (f"dataset.data_path={small}", "dataset.img_folder=null", "scratch.num_frames=1")
    check_trains(tmp_path, said, *settings)
