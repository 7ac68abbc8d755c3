"""SA-V: masklets of real files, masks at every fourth frame, and what is refused."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.data import rle
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats import detected_format
from sam2_training.data.formats.sav import read_masklets
from sam2_training.data.index import open_index

from tests.data.formats.documents import segmentation_of
from tests.data.formats.real_videos import (
    check_cache_and_pickle,
    check_masks,
    check_refused,
    check_trains,
    damages,
    read_or_named,
    write_frames,
)
from tests.places import TEST_DATA, require_test_data

DERIVED, REAL = TEST_DATA / "json_samples" / "sav_style_derived", TEST_DATA / "json_samples" / "sav"
SIZE = (24, 32)


def document(num_rows: int = 3, ids: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
    """Masklet i is i + 1 pixels wide and absent in the last row."""
    rows = []
    for row in range(num_rows):
        masks = [np.zeros(SIZE, np.bool_) for _ in ids]
        for value, mask in zip(ids, masks, strict=True):
            mask[:10, : (value + 1) * (row < num_rows - 1)] = True
        rows.append([segmentation_of(mask) for mask in masks])
    sizes = {"video_height": float(SIZE[0]), "video_width": float(SIZE[1])}
    return {"video_id": "v", "video_frame_count": 9.0, **sizes, "masklet": rows, "masklet_id": list(ids)}


def write(folder: Path, values: object, kind: str = "manual", name: str = "v") -> Path:
    path = folder / f"{name}_{kind}.json"
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Nine frames, of which the first, the fifth and the ninth are annotated."""
    write_frames(tmp_path / "v", [np.full((*SIZE, 3), 20 * t, np.uint8) for t in range(9)])
    write(tmp_path, document())
    return tmp_path


def config_of(root: Path, **changes: Any) -> DatasetConfig:
    return DatasetConfig("auto", data_path=str(root), **changes)


@pytest.mark.parametrize("kind", ["manual", "auto"])
def test_mean_areas_of_the_real_files_are_those_they_state(kind: str) -> None:
    path = REAL / f"sav_000001_{kind}.json"
    require_test_data(path.is_file(), path.name)
    read, values = read_masklets(str(path)), json.loads(path.read_text())
    assert (len(read.rows), len(read.ids)) == (121, {"manual": 5, "auto": 9}[kind])
    for column in range(len(read.ids)):
        areas = np.array([rle.area(read.counts(row, column), read.size) for row in range(121)])
        assert areas[areas > 0].mean() == pytest.approx(values["masklet_size_abs"][column], abs=1e-9)


def test_masks_of_the_mp4_are_those_of_every_fourth_png() -> None:
    require_test_data(DERIVED.is_dir(), DERIVED.name)
    index = open_index(config_of(DERIVED))
    assert detected_format(config_of(DERIVED)) == "sav"
    masks = TEST_DATA / "vos" / "Annotations" / "dogs-jump"
    check_masks(index, 0, {t: np.asarray(Image.open(masks / f"{t:05d}.png")) for t in range(0, 66, 4)})
    assert index.source.object_names("dogs-jump") == {1: "manual 0", 2: "manual 1", 3: "manual 2"}
    assert "labels: 3 masklets are numbered 1, 2, 3 ... in each video" in index.describe()


def test_all_frames_every_fourth_frame_and_a_given_distance(small: Path) -> None:
    video = open_index(config_of(small)).video(0)
    assert np.flatnonzero(video.labeled[:, 0]).tolist() == [0, 4, 8]
    assert video.areas[[0, 4, 8]].tolist() == [[10, 20], [10, 20], [0, 0]]
    video = open_index(config_of(small, ann_every=3)).video(0)
    assert np.flatnonzero(video.labeled[:, 0]).tolist() == [0, 3, 6]
    for t in (1, 2, 3, 5, 6, 7):
        (small / "v" / f"{t:06d}.png").unlink()
    assert open_index(config_of(small)).video(0).labeled.all()


def test_which_masklets(small: Path) -> None:
    write(small, document(ids=(7, 3)), "auto")
    both = open_index(config_of(small, masklets="both"))
    assert both.video(0).areas[0].tolist() == [10, 20, 40, 80]
    assert both.source.object_names("v") == {1: "manual 0", 2: "manual 1", 3: "auto 3", 4: "auto 7"}
    assert open_index(config_of(small, masklets="auto")).video(0).areas[0].tolist() == [40, 80]
    (small / "v_manual.json").unlink()
    check_refused(config_of(small), r"no document of manual masklets[\s\S]*v_auto\.json")


def test_names_with_spaces_and_accents(small: Path) -> None:
    (small / "v").rename(small / "my vidéo 2")
    (small / "v_manual.json").rename(small / "my vidéo 2_manual.json")
    assert list(open_index(config_of(small)).names) == ["my vidéo 2"]


def test_cache_and_pickling(small: Path, tmp_path: Path) -> None:
    changed = document()
    changed["masklet"][0][0] = changed["masklet"][0][1]
    check_cache_and_pickle(config_of(small), tmp_path / "cache", lambda: write(small, changed) and None)


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in document().items() if name != key}


def with_mask(**changes: Any) -> dict[str, Any]:
    values = copy.deepcopy(document())
    values["masklet"][1][1] |= changes
    return values


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (without("masklet"), "has no masklet, expected"),
        (without("masklet_id"), "has no masklet_id, expected"),
        (without("video_height"), "has no video_height"),
        (document() | {"masklet_id": [0, "a"]}, 'has masklet_id="a"'),
        (document() | {"masklet_id": [0, -1]}, "has masklet_id=-1"),
        (document() | {"masklet_id": [1, 1]}, "has masklet_id 1 twice"),
        (document() | {"masklet_id": [0, 1, 2]}, "annotated frame 0 has 2 masklets, expected one for each of the 3"),
        (document() | {"masklet": []}, "empty masklet list"),
        (document() | {"video_width": 33.0}, "24x32"),
        (with_mask(size=[32, 24]), "masklet 1 in annotated frame 1: the RLE is 32x24"),
        (with_mask(counts=[5, -5, 768]), "negative count"),
        (with_mask(counts="abc"), "masklet 1 in annotated frame 1"),
        (document(4), r"4 annotated frames, which are not a part of 9 frames"),
        ([], "the document is a list"),
    ],
)
def test_what_is_refused(small: Path, values: Any, match: str) -> None:
    write(small, values)
    config = DatasetConfig("sav", data_path=str(small))
    check_refused(config, match)
    check_refused(config, r"v_manual\.json")


def test_a_video_that_is_missing_is_named(small: Path) -> None:
    shutil.copytree(small / "v", small / "w")
    write(small, document(), name="w")
    write(small, document(), name="x")
    check_refused(config_of(small), r"video x has no folder of frames, expected .*/x\n")
    with pytest.raises(DataError, match=r"not every 5\. of 9 frames|annotated frames, which are not every 5"):
        open_index(config_of(small, ann_every=5))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damages(json.dumps(document()).encode()))
def test_a_damaged_document_is_named(small: Path, data: bytes) -> None:
    (small / "v_manual.json").write_bytes(data)
    read_or_named(lambda: open_index(DatasetConfig("sav", data_path=str(small))), "v_manual.json")


@pytest.mark.slow
def test_it_trains(tmp_path: Path) -> None:
    require_test_data(DERIVED.is_dir(), DERIVED.name)
    said = ["videos: 1 ", "frames: 66, 17 of them with masks", "objects: 3", "format: sav"]
    check_trains(tmp_path, said, f"dataset.data_path={DERIVED}", "dataset.img_folder=null")
