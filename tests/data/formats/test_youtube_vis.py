"""YouTube-VIS documents: masks as the PNGs have them, null as absent, and failures that name the place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats import open_source
from sam2_training.data.formats.annotated import AnnotatedSource
from sam2_training.data.index import VideoIndex, open_index
from sam2_training.data.source import Video

from tests.data.formats import documents, real_videos
from tests.data.formats.documents import segmentation_of, small_ytvis, write, ytvis_document
from tests.places import TEST_DATA, require_test_data

FRAMES = str(documents.VOS / "JPEGImages")
SAMPLES = TEST_DATA / "json_samples"
Document = dict[str, Any]


def config_of(document: Path, **settings: Any) -> DatasetConfig:
    return DatasetConfig(data_path=str(document), **settings)


def opened(folder: Path, document: object, **settings: Any) -> VideoIndex:
    return open_index(config_of(write(folder / "ann.json", document), **settings))


@pytest.mark.parametrize("kind", ["compressed", "uncompressed"])
def test_masks_are_those_of_the_pngs_pixel_by_pixel(tmp_path: Path, kind: documents.Kind) -> None:
    require_test_data(documents.VOS.is_dir(), "vos")
    index = opened(tmp_path, ytvis_document(["dogs-jump", "caps"], kind), img_folder=FRAMES)
    assert index.source.format_name == "ytvis"
    for number, name in enumerate(index.names):
        ids = {t: documents.ids_of(name, frame) for t, frame in enumerate(documents.frames_of(name))}
        real_videos.check_masks(index, number, ids)


def masks_digest(index: VideoIndex, name: str) -> str:
    """SHA-256 of all masks of a video."""
    digest = hashlib.sha256()
    video = index.video(list(index.names).index(name))
    for t in range(video.num_frames):
        size = index.frame(video, t).shape[:2]
        digest.update(index.masks(video, t, video.object_ids, (size[0], size[1])).tobytes())
    return digest.hexdigest()


def test_folders_coco_and_ytvis_give_equal_masks(tmp_path: Path) -> None:
    require_test_data(documents.VOS.is_dir(), "vos")
    coco = write(tmp_path / "coco.json", documents.coco_document(["dogs-jump"]))
    ytvis = write(tmp_path / "ytvis.json", ytvis_document(["dogs-jump"]))
    folders = DatasetConfig(img_folder=FRAMES, gt_folder=str(documents.VOS / "Annotations"))
    configs = [folders, config_of(coco, img_folder=FRAMES), config_of(ytvis, img_folder=FRAMES)]
    digests = [masks_digest(open_index(config), "dogs-jump") for config in configs]
    assert digests == [digests[0]] * 3


@pytest.mark.parametrize("kind", ["coco", "ytvis"])
def test_frames_may_be_in_a_video_file(tmp_path: Path, kind: str) -> None:
    videos = SAMPLES / "sav_style_derived"
    require_test_data(videos.is_dir(), "json_samples")
    document = documents.coco_document(["dogs-jump"]) if kind == "coco" else ytvis_document(["dogs-jump"])
    thinned = document["images"] if kind == "coco" else []
    thinned[:] = [image for image in thinned if image["order_in_video"] % 4 == 0]
    kept = {image["id"] for image in thinned}
    if kind == "coco":
        document["annotations"] = [one for one in document["annotations"] if one["image_id"] in kept]
    index = opened(tmp_path, document, img_folder=str(videos))
    assert index.video(0).num_frames == 66
    every = 4 if kind == "coco" else 1
    ids = {t: documents.ids_of("dogs-jump", f"{t:05d}") for t in range(0, 66, every)}
    real_videos.check_masks(index, 0, ids)
    entry = document["images"][0] if kind == "coco" else document["videos"][0]
    entry.update({"order_in_video": 66} if kind == "coco" else {"file_names": ["dogs-jump/first.jpg"] * 66})
    if kind == "ytvis":
        entry["file_names"] = [f"dogs-jump/{t + 1:05d}.jpg" for t in range(66)]
    path = write(tmp_path / "ann.json", document)
    real_videos.check_refused(config_of(path, img_folder=str(videos)), r"is no frame of .*dogs-jump\.mp4, expected")


def test_the_derived_sample_is_read_with_its_frames() -> None:
    path = SAMPLES / "ytvis_derived" / "instances.json"
    require_test_data(path.is_file(), "json_samples")
    index = open_index(config_of(path, img_folder=FRAMES))
    assert list(index.names) == ["bmx-bumps", "dogs-jump"]
    palette_ids = {a["id"]: a["palette_id"] for a in json.loads(path.read_text())["annotations"]}
    for number, name in enumerate(index.names):
        ids = {t: documents.ids_of(name, frame) for t, frame in enumerate(documents.frames_of(name))}
        object_of = {palette_ids[found]: found for found in index.video(number).object_ids}
        real_videos.check_masks(index, number, ids, lambda value, object_of=object_of: object_of[value])


@pytest.mark.parametrize("name", ["toy_saco_veval_sav_test_gt.json"])
def test_areas_of_the_real_sample_are_those_that_it_states(name: str) -> None:
    path = SAMPLES / "saco_veval" / name
    require_test_data(path.is_file(), "json_samples")
    source = open_source(config_of(path))
    assert isinstance(source, AnnotatedSource)
    assert source.format_name == "ytvis"
    source.prepare(None, lambda: None)
    assert list(source.videos()) == ["sav_000208"]
    document = json.loads(path.read_text())
    stated = {a["id"]: [area or 0 for area in a["areas"]] for a in document["annotations"]}
    found = source.annotated("sav_000208")
    assert found.size == (1280, 720)
    assert list(found.object_ids) == sorted(stated)
    video = Video("sav_000208", found.frames.files, found.object_ids, np.zeros((0, 0), np.int32), size=found.size)
    for t in range(0, 146, 5):
        masks = source.masks(video, t, found.object_ids)
        assert masks.sum((1, 2)).tolist() == [stated[object_id][t] for object_id in found.object_ids]


def test_null_is_absent_and_categories_unite(tmp_path: Path) -> None:
    document = small_ytvis(tmp_path)
    document["annotations"][0]["segmentations"][1] = None
    other = np.zeros((20, 30), np.bool_)
    other[15:, :] = True
    segmentations = [None, segmentation_of(other), None]
    document["annotations"].append({"id": 3, "video_id": 4, "category_id": 1, "segmentations": segmentations})
    index = opened(tmp_path, document)
    assert index.video(0).object_ids == (3, 7)
    assert index.video(0).areas.tolist() == [[0, 35], [150, 0], [0, 35]]
    assert opened(tmp_path, document, targets="category").video(0).areas.tolist() == [[35], [150], [35]]


def put(part: str, key: str, value: object) -> Callable[[Document], object]:
    return lambda document: document[part][0].update({key: value})


def drop(part: str, key: str) -> Callable[[Document], object]:
    return lambda document: document[part][0].pop(key)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("videos", "id"), r"videos\[0\] has no id"),
        (drop("videos", "file_names"), "video 4 has no file_names"),
        (put("videos", "file_names", []), "the document has no videos"),
        (put("videos", "file_names", [1, 2, 3]), r"video 4 has file_names\[0\]=1"),
        (put("videos", "length", 4), "video 4 has length=4, expected its number of file_names, 3"),
        (put("videos", "height", 20), "video 4 has no width"),
        (lambda d: d["videos"][0].update(height=30, width=20), "video v is 30x20 by its annotations"),
        (lambda d: d["videos"].append({"id": 4, "file_names": []}), r"videos\[1\] has id=4, as another"),
        (lambda d: d["videos"][0]["file_names"].__setitem__(1, "v/gone.png"), "v/gone.png"),
        (drop("annotations", "id"), r"annotations\[0\] has no id"),
        (drop("annotations", "video_id"), "annotation 7 has no video_id"),
        (drop("annotations", "category_id"), "annotation 7 has no category_id"),
        (drop("annotations", "segmentations"), "annotation 7 has no segmentations"),
        (put("annotations", "video_id", 5), "uses video_id=5"),
        (put("annotations", "category_id", 5), r"annotations\[0\] with category_id=5"),
        (lambda d: d["annotations"][0]["segmentations"].pop(), r"annotations\[0\] with 2 segmentations, expected 3"),
        (
            lambda d: d["annotations"][0]["segmentations"].__setitem__(1, {"size": [20, 30], "counts": [-3, 603]}),
            r"annotations\[0\], on frame v/1.png: the RLE has a negative count",
        ),
        (
            lambda d: d["annotations"][0]["segmentations"].__setitem__(1, {"size": [30, 20], "counts": [600]}),
            "the RLE is 30x20, its frame 20x30",
        ),
        (lambda d: d["annotations"].append(dict(d["annotations"][0])), "annotations with the same id=7"),
        (
            lambda d: d["annotations"].append({**d["annotations"][0], "id": 8, "track_id": 7}),
            r"annotations\[0\] without track_id",
        ),
        (lambda d: d.update(categories=[]), "the document has no categories"),
        (lambda d: d.update(annotations=[]), "the document has no annotations"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_place(
    tmp_path: Path, change: Callable[[Document], object], words: str
) -> None:
    document = small_ytvis(tmp_path)
    change(document)
    path = write(tmp_path / "ann.json", document)
    real_videos.check_refused(config_of(path, dataset_type="youtube_vis"), words)
    if "gone" not in words:
        real_videos.check_refused(config_of(path, dataset_type="youtube_vis"), str(path))


def test_a_changed_document_is_noticed_and_a_pickled_source_reads_the_same(tmp_path: Path) -> None:
    document = small_ytvis(tmp_path)
    path = write(tmp_path / "ann.json", document)

    def change() -> None:
        document["annotations"][0]["segmentations"][0] = None
        write(path, document)
        os.utime(path, ns=(1, 1))

    real_videos.check_cache_and_pickle(config_of(path), tmp_path / "cache", change)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(data=st.data())
def test_damaged_documents_never_end_in_anything_but_a_named_error(tmp_path: Path, data: st.DataObject) -> None:
    path = write(tmp_path / "ann.json", small_ytvis(tmp_path))
    path.write_bytes(data.draw(real_videos.damages(path.read_bytes())))

    def read() -> None:
        index = open_index(config_of(path, dataset_type="ytvis"))
        video = index.video(0)
        for t in range(video.num_frames):
            index.masks(video, t, video.object_ids, (20, 30))

    real_videos.read_or_named(read, str(tmp_path))


@pytest.mark.slow
def test_it_is_trained_on_from_the_command_line(tmp_path: Path) -> None:
    path = SAMPLES / "ytvis_derived" / "instances.json"
    require_test_data(path.is_file(), "json_samples")
    said = ["videos: 2", "frames: 156, 156 of them with masks", "objects: 4", "format: ytvis", "an object is a track"]
    real_videos.check_trains(tmp_path, said, f"dataset.data_path={path}", f"dataset.img_folder={FRAMES}")
