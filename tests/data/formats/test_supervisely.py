"""Supervisely's video projects hold the ids that they were made from; what is wrong names document and place."""

from __future__ import annotations

import base64
import copy
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats import open_source
from sam2_training.data.index import open_index

from tests.data.formats.real_videos import (
    Ids,
    check_cache_and_pickle,
    check_masks,
    check_refused,
    check_trains,
    damages,
    frames_and_ids,
    read_or_named,
    write_frames,
)

CLASSES = {1: "dog", 2: "dog", 3: "person"}


def bitmap(mask: np.ndarray, mode: str = "RGBA") -> dict[str, Any]:
    """As their SDK writes it: the PNG of the object's box, packed by zlib, in base64."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if mode == "RGBA":
        image = Image.fromarray(np.stack([part * 255] * 4, -1).astype(np.uint8))
    else:
        image = Image.fromarray(part).convert(mode)
    png = io.BytesIO()
    image.save(png, "PNG")
    data = base64.b64encode(zlib.compress(png.getvalue())).decode()
    return {"bitmap": {"data": data, "origin": [int(columns[0]), int(rows[0])]}}


def document_of(ids: Ids, num_frames: int, mode: str = "RGBA") -> dict[str, Any]:
    height, width = next(iter(ids.values())).shape
    frames = [
        {
            "index": t,
            "figures": [
                {
                    "key": f"figure{t}-{n}",
                    "objectKey": f"object{n}",
                    "geometryType": "bitmap",
                    "geometry": bitmap(values == n, mode),
                }
                for n in CLASSES
                if (values == n).any()
            ],
        }
        for t, values in ids.items()
    ]
    objects = [{"key": f"object{n}", "classTitle": title, "tags": []} for n, title in CLASSES.items()]
    size = {"height": height, "width": width}
    return {"size": size, "key": "v", "tags": [], "objects": objects, "frames": frames, "framesCount": num_frames}


def write(root: Path, name: str, document: Any) -> Path:
    path = root / "project" / "ds 1" / "ann" / f"{name}.mp4.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    (root / "project" / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "videos"}')
    return path


@pytest.fixture
def project(tmp_path: Path) -> tuple[Path, Ids]:
    """A video of 4 frames, of which 2 is not annotated."""
    frames, ids = frames_and_ids("dogs-jump", 4)
    write_frames(tmp_path / "project" / "ds 1" / "video" / "Vidéo 1", frames)
    del ids[2]
    return tmp_path, ids


def config_of(root: Path) -> DatasetConfig:
    return DatasetConfig(data_path=f"{root}/project")


@pytest.mark.parametrize("mode", ["RGBA", "L", "1"])
def test_bitmaps_hold_the_ids(project: tuple[Path, Ids], mode: str) -> None:
    root, ids = project
    document = document_of(ids, 4, mode)
    document["frames"].reverse()
    write(root, "Vidéo 1", document)
    index = open_index(config_of(root))
    assert (index.names[0], index.source.format_name) == ("ds 1/Vidéo 1", "supervisely")
    check_masks(index, 0, ids)
    assert index.source.object_names(index.names[0]) == CLASSES
    assert "labels: objects are numbered 1, 2, 3 ... in each video, in the order of its document" in index.describe()


def test_a_listed_frame_without_a_figure_shows_no_object(project: tuple[Path, Ids]) -> None:
    root, ids = project
    document = document_of(ids, 4)
    document["frames"].append({"index": 2, "figures": []})
    write(root, "Vidéo 1", document)
    video = open_index(config_of(root)).video(0)
    assert video.areas[2].tolist() == [0, 0, 0]


def test_ids_of_the_server_and_figures_without_pixels(project: tuple[Path, Ids]) -> None:
    root, ids = project
    document = document_of(ids, 4)
    for n, one in enumerate(document["objects"], start=1):
        del one["key"]
        one["id"] = 1000 + n
    for frame in document["frames"]:
        for figure in frame["figures"]:
            figure["objectId"] = 1000 + int(figure.pop("objectKey")[-1])
            figure["geometry"] = figure["geometry"]["bitmap"]
    box = {"points": {"exterior": [[1, 1], [5, 5]], "interior": []}}
    document["frames"][0]["figures"].append({"objectId": 1001, "geometryType": "rectangle", "geometry": box})
    write(root, "Vidéo 1", document)
    index = open_index(config_of(root))
    check_masks(index, 0, ids)
    assert "labels: figures without pixels, which are not read: rectangle 1" in index.describe()


def test_polygons_with_holes(project: tuple[Path, Ids]) -> None:
    """Outlines of masks and their holes, drawn again, cover the masks: IoU at least 0.98."""
    root, ids = project
    document = document_of(ids, 4)
    for frame in document["frames"]:
        values = ids[frame["index"]]
        frame["figures"] = [
            {"objectKey": f"object{n}", "geometryType": "polygon", "geometry": {"points": points}}
            for n in CLASSES
            for points in outlines(values == n)
        ]
    write(root, "Vidéo 1", document)
    index = open_index(config_of(root))
    for t, values in ids.items():
        for n, mask in zip(CLASSES, index.masks(index.video(0), t, tuple(CLASSES), values.shape), strict=True):
            truth = values == n
            assert (mask & truth).sum() >= 0.98 * (mask | truth).sum(), (t, n)
    square = {"exterior": [[2, 2], [12, 2], [12, 12], [2, 12]], "interior": [[[5, 5], [9, 5], [9, 9], [5, 9]]]}
    document["frames"][0]["figures"] = [
        {"objectKey": "object1", "geometryType": "polygon", "geometry": {"points": square}}
    ]
    write(root, "Vidéo 1", document)
    assert open_index(config_of(root)).video(0).areas[0].tolist() == [11 * 11 - 5 * 5, 0, 0]


def outlines(mask: np.ndarray) -> list[dict[str, Any]]:
    found, tree = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    shapes = {k: {"exterior": c[:, 0].tolist(), "interior": []} for k, c in enumerate(found) if tree[0][k][3] < 0}
    shapes = {k: shape for k, shape in shapes.items() if len(shape["exterior"]) >= 3}
    for k in shapes:
        inner = np.zeros(mask.shape, np.uint8)
        cv2.fillPoly(inner, [found[k]], 1)
        holes, _ = cv2.findContours(inner & ~mask.astype(np.uint8) & 1, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        shapes[k]["interior"] = [hole[:, 0].tolist() for hole in holes if len(hole) >= 3]
    return list(shapes.values())


def at(*place: str | int, value: Any = None) -> Callable[[Any], None]:
    """A change of a document: a value set, or, for None, a key removed."""

    def change(document: Any) -> None:
        *way, last = place
        for step in way:
            document = document[step]
        if value is None:
            del document[last]
        else:
            document[last] = value

    return change


FIGURE = ("frames", 0, "figures", 0)
BITMAP = (*FIGURE, "geometry", "bitmap")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (at("size"), "the document has no size"),
        (at("size", "height", value=239), "is 239x432 by its annotations, its frames are 240x432"),
        (at("frames"), "the document has no frames"),
        (at("frames", 1, "index", value=0), "frame 0 is there twice"),
        (at("frames", 1, "index", value=-3), "has index=-3, expected index to be at least 0"),
        (at("frames", 1, "index", value=4), "frame 4 lies behind the end of the video, expected an index below 4"),
        (at("objects", 0, "classTitle"), "object 0 has no classTitle"),
        (at("objects", 1, "key", value="object1"), "object 1 has the key object1, as another object has"),
        (at("objects", 1, "key"), "object 1 has neither key nor id"),
        (at(*FIGURE, "objectKey"), "frame 0 figure 0 has neither objectKey nor objectId"),
        (at(*FIGURE, "objectKey", value="no"), "frame 0 figure 0 belongs to the object of key no"),
        (at(*FIGURE, "geometry"), "frame 0 figure 0 has no geometry"),
        (at(*BITMAP, "data"), "frame 0 figure 0 geometry bitmap has no data"),
        (at(*BITMAP, "data", value="!"), "has data that cannot be decoded"),
        (at(*BITMAP, "data", value="eJzLKM3LBgAGRQIl"), "has data that is no PNG|cannot be decoded"),
        (at(*BITMAP, "origin", value=[430, 2]), "covers rows 2 to .* expected them to lie in the frame of 240x432"),
        (at(*BITMAP, "origin", value=[1e9, 2]), "has the coordinate '1000000000.0'"),
    ],
)
def test_what_is_wrong_names_document_and_place(
    project: tuple[Path, Ids], change: Callable[[Any], None], match: str
) -> None:
    root, ids = project
    good = document_of(ids, 4)
    for name in ("a", "b"):
        write_frames(root / "project" / "ds 1" / "video" / name, frames_and_ids("dogs-jump", 4)[0])
        write(root, name, good)
    bad = copy.deepcopy(good)
    change(bad)
    write(root, "Vidéo 1", bad)
    check_refused(config_of(root), rf"(?s)({match}).*Vidéo 1\.mp4\.json")


def test_a_video_without_frames_is_named(project: tuple[Path, Ids]) -> None:
    root, ids = project
    write(root, "other", document_of(ids, 4))
    check_refused(config_of(root), "video ds 1/video/other has no")


def test_a_copy_reads_the_same_and_a_changed_document_is_noticed(project: tuple[Path, Ids]) -> None:
    root, ids = project
    write(root, "Vidéo 1", document_of(ids, 4))
    del ids[0]

    def change() -> None:
        write(root, "Vidéo 1", document_of(ids, 4))

    check_cache_and_pickle(config_of(root), root / "cache", change)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_read_or_named(project: tuple[Path, Ids], data: st.DataObject) -> None:
    root, ids = project
    whole = json.dumps(document_of({0: ids[0]}, 4)).encode()
    path = write(root, "Vidéo 1", {})
    path.write_bytes(data.draw(damages(whole)))
    source = open_source(DatasetConfig("supervisely", data_path=f"{root}/project"))
    read_or_named(lambda: source.facts("ds 1/Vidéo 1"), "Vidéo 1.mp4.json")


@pytest.mark.slow
def test_it_trains(project: tuple[Path, Ids]) -> None:
    root, ids = project
    write(root, "Vidéo 1", document_of(ids, 4))
    said = ["videos: 1", "frames: 4, 3 of them with masks", "objects: 3", "format: supervisely"]
    check_trains(root, said, f"dataset.data_path={root}/project", "dataset.img_folder=null")
