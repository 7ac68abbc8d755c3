"""COCO-style video data: masks as the PNGs have them, two readings of objects, failures that name image and cure."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sam2_training.data.config import DatasetConfig
from sam2_training.data.index import VideoIndex, open_index

from tests.data.formats import documents, real_videos
from tests.data.formats.documents import coco_document, segmentation_of, small, write
from tests.data.formats.outlines import smallest_iou
from tests.places import TEST_DATA, require_test_data

FRAMES = str(documents.VOS / "JPEGImages")
Document = dict[str, Any]


def config_of(document: Path, **settings: Any) -> DatasetConfig:
    return DatasetConfig(data_path=str(document), **settings)


def opened(folder: Path, document: object, **settings: Any) -> VideoIndex:
    return open_index(config_of(write(folder / "ann.json", document), **settings))


def all_masks(index: VideoIndex, number: int = 0) -> np.ndarray:
    """[F, N, H, W]"""
    video = index.video(number)
    size = video.size
    assert size is not None
    return np.stack([index.masks(video, t, video.object_ids, size) for t in range(video.num_frames)])


@pytest.mark.parametrize("kind", ["compressed", "uncompressed"])
@pytest.mark.parametrize("key", ["track_id", "instance_id", "attributes"])
def test_masks_are_those_of_the_pngs_pixel_by_pixel(tmp_path: Path, kind: documents.Kind, key: str) -> None:
    require_test_data(documents.VOS.is_dir(), "vos")
    index = opened(tmp_path, coco_document(["dogs-jump", "caps"], kind, key), img_folder=FRAMES)
    assert list(index.names) == ["caps", "dogs-jump"]
    assert index.source.format_name == "coco"
    assert "labels: an object is a track (dataset.targets=track)" in index.describe()
    for number, name in enumerate(index.names):
        ids = {t: documents.ids_of(name, frame) for t, frame in enumerate(documents.frames_of(name))}
        real_videos.check_masks(index, number, ids)
    assert index.video(0).frame_files[1] == "caps/00014.jpg"  # order_in_video has gaps


def test_polygons_cover_the_same_pixels(tmp_path: Path) -> None:
    require_test_data(documents.VOS.is_dir(), "vos")
    index = opened(tmp_path, coco_document(["dogs-jump"], "polygons"), img_folder=FRAMES)
    ids = {t: documents.ids_of("dogs-jump", frame) for t, frame in enumerate(documents.frames_of("dogs-jump"))}
    assert smallest_iou(index, 0, ids, {1: 1, 2: 2, 3: 3}) >= 0.98


def test_with_categories_all_annotations_of_one_are_an_object(tmp_path: Path) -> None:
    document = small(tmp_path)
    other = np.zeros((20, 30), np.bool_)
    other[10:12, 20:25] = True
    document["categories"] = [{"id": 90, "name": "hat"}, {"id": 1, "name": "box"}, {"id": 20, "name": "unused"}]
    for track, category in ((8, 1), (9, 90)):
        annotation = {"image_id": 1, "category_id": category, "track_id": track}
        document["annotations"].append(annotation | {"segmentation": segmentation_of(other)})
    index = opened(tmp_path, document, targets="category")
    assert index.video(0).object_ids == (1, 3)
    assert index.video(0).areas.tolist() == [[35, 0], [45, 10], [35, 0]]
    assert index.source.object_names("v") == {1: "box", 3: "hat"}
    assert "labels: categories are numbered in the order of their ids: 1 = box, 2 = unused, 3 = hat" in index.describe()
    tracks = opened(tmp_path, document)
    assert tracks.video(0).areas.tolist() == [[35, 0, 0], [35, 10, 10], [35, 0, 0]]
    assert tracks.fingerprint() != index.fingerprint()


def test_without_tracks_an_object_is_a_category_unless_tracks_are_asked_for(tmp_path: Path) -> None:
    document = small(tmp_path)
    for annotation in document["annotations"]:
        del annotation["track_id"]
    index = opened(tmp_path, document)
    assert (
        "labels: an object is all annotations of a category in a frame (dataset.targets=category)" in index.describe()
    )
    assert index.video(0).object_ids == (1,)
    path = write(tmp_path / "ann.json", document)
    real_videos.check_refused(config_of(path, targets="track"), "none of the annotations has track_id, instance_id")
    document["annotations"][2]["track_id"] = 5
    real_videos.check_refused(config_of(write(path, document)), r"annotations\[0\] has track_id, instance_id or")


@pytest.mark.parametrize("tracks", [[0, 3], [70_000, 70_001], ["left", "right"], [-1, 5], [7.0, "x"], ["07", "7"]])
def test_tracks_that_are_no_ids_are_numbered_in_their_order_and_that_is_said(tmp_path: Path, tracks: list[Any]) -> None:
    document = small(tmp_path)
    for annotation in document["annotations"][::-1]:
        other = annotation | {"id": annotation["id"] + 10, "track_id": tracks[0]}
        annotation["track_id"] = tracks[1]
        document["annotations"].append(other)
    index = opened(tmp_path, document)
    assert index.video(0).object_ids == (1, 2)
    assert index.source.object_names("v")[1].startswith(f"box, track {str(tracks[0]).removesuffix('.0')}")
    assert any("tracks are numbered from 1 in each video" in line for line in index.describe())


def test_a_crowd_without_a_track_is_ignored_and_one_with_a_track_is_an_object(tmp_path: Path) -> None:
    document = small(tmp_path)
    for annotation in document["annotations"]:
        annotation["iscrowd"] = 1
    assert opened(tmp_path, document).video(0).areas.tolist() == [[35], [35], [35]]
    del document["annotations"][0]["track_id"]
    index = opened(tmp_path, document)
    video = index.video(0)
    assert video.areas.tolist() == [[0], [35], [35]]
    ignored = index.labels(video, 0, (7,), (20, 30)).ignored
    assert ignored is not None
    assert ignored.sum() == 35
    assert "labels: 1 crowd region without a track (iscrowd=1): their pixels are ignored" in index.describe()


def test_an_image_without_annotations_shows_no_object_but_is_labeled(tmp_path: Path) -> None:
    document = small(tmp_path)
    del document["annotations"][1]
    assert opened(tmp_path, document).video(0).areas.tolist() == [[35], [0], [35]]


def test_annotations_of_one_track_in_a_frame_are_united_and_that_is_said(tmp_path: Path) -> None:
    document = small(tmp_path)
    document["annotations"].append(document["annotations"][1] | {"id": 50, "image_id": 0})
    index = opened(tmp_path, document)
    assert index.video(0).areas.tolist() == [[42], [35], [35]]
    assert "labels: in 1 frame a track has several annotations, which are united" in index.describe()


def test_names_with_spaces_accents_and_backslashes_and_an_order_of_any_kind(tmp_path: Path) -> None:
    document = small(tmp_path / "größe 日本")
    for t, image in enumerate(document["images"]):
        image["file_name"] = f"größe 日本\\v\\{t}.png"
        image["frame_id"] = 100 - 7 * image.pop("order_in_video")
    index = opened(tmp_path, document)
    assert [file[-5:] for file in index.video(0).frame_files] == ["2.png", "1.png", "0.png"]
    assert index.frame(index.video(0), 0).mean() == 80
    assert np.array_equal(all_masks(index)[2, 0, 0:5, 2:9], np.ones((5, 7), np.bool_))


def test_a_video_is_named_by_the_document_its_folder_or_its_id(tmp_path: Path) -> None:
    document = small(tmp_path)
    assert list(opened(tmp_path, document).names) == ["v"]
    document["videos"] = [{"id": 4, "name": "train/first"}, {"id": 5, "name": "second"}]
    index = opened(tmp_path, document)
    assert list(index.names) == ["first"]
    assert "not used: 1 video without frames: second" in index.describe()
    document["images"][2]["video_id"] = 5
    document["videos"][1]["name"] = "first"
    assert list(opened(tmp_path, document).names) == ["4", "5"]


def test_the_real_one_frame_sample(tmp_path: Path) -> None:
    path = TEST_DATA / "json_samples" / "cocovid" / "ann.json"
    require_test_data(path.is_file(), "json_samples")
    document = json.loads(path.read_text())
    frame = tmp_path / document["images"][0]["file_name"]
    frame.parent.mkdir()
    cv2.imwrite(str(frame), np.zeros((720, 1280, 3), np.uint8))
    index = open_index(config_of(path, img_folder=str(tmp_path)))
    assert index.source.format_name == "coco"
    assert list(index.names) == ["0043f083b5"]
    assert index.video(0).areas.tolist() == [[document["annotations"][0]["area"]]]


def drop(part: str, key: str) -> Callable[[Document], object]:
    return lambda document: document[part][1].pop(key)


def put(part: str, key: str, value: object) -> Callable[[Document], object]:
    return lambda document: document[part][1].update({key: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("images", "id"), r"images\[1\] has no id"),
        (drop("images", "file_name"), r"image 1 has no file_name"),
        (drop("images", "video_id"), r"image 1 has no video_id(.|\n)*Give each image video_id"),
        (drop("images", "order_in_video"), r"image 1 has no order_in_video(.|\n)*frame_id"),
        (put("images", "order_in_video", "x"), 'image 1 has order_in_video="x"'),
        (put("images", "order_in_video", 10**30), "image 1 has order_in_video=10"),
        (put("images", "order_in_video", 0), "image 0 and image 1 of one video with the same order_in_video=0"),
        (put("images", "id", 0), "image 0 is there twice"),
        (put("images", "file_name", 7), "image 1 has file_name=7"),
        (put("images", "file_name", "v/0.png"), "video v has two frames of one name, v/0.png, v/0.png"),
        (put("images", "file_name", "v/gone.png"), "v/gone.png"),
        (put("images", "height", 20), "image 1 has no width"),
        (lambda d: d["images"][1].update(height=0, width=30), "image 1 has height=0"),
        (
            lambda d: [i.update(height=30, width=20) for i in d["images"]],
            "video v is 30x20 by its annotations, its frames are 20x30",
        ),
        (lambda d: [i.update(height=20 + i["id"], width=30) for i in d["images"]], "image 1 with 21x30"),
        (drop("annotations", "image_id"), r"annotations\[1\] has no image_id"),
        (drop("annotations", "category_id"), r"annotations\[1\] has no category_id"),
        (drop("annotations", "segmentation"), r"annotations\[1\] has no segmentation"),
        (put("annotations", "image_id", 99), r"annotations\[1\] with image_id=99"),
        (put("annotations", "category_id", 99), r"annotations\[1\] with category_id=99"),
        (put("annotations", "track_id", [1]), r"annotations\[1\] has track_id=\[1\]"),
        (put("annotations", "id", 0), "annotations with the same id=0"),
        (put("annotations", "iscrowd", "no"), 'has iscrowd="no"'),
        (put("annotations", "segmentation", []), r"annotations\[1\], on frame v/1.png: the list of polygons is empty"),
        (put("annotations", "segmentation", [[0, 0, 5, 5]]), r"annotations\[1\], on frame .* at least three corners"),
        (put("annotations", "segmentation", {"size": [20, 30], "counts": [601, -1]}), "negative count, -1"),
        (put("annotations", "segmentation", {"size": [20, 30], "counts": [5]}), "counts sum to 5, expected 20x30"),
        (put("annotations", "segmentation", {"size": [30, 20], "counts": [600]}), "the RLE is 30x20, its frame 20x30"),
        (put("annotations", "segmentation", {"counts": [600]}), r"the RLE's size is None"),
        (put("annotations", "segmentation", "mask"), "the segmentation is text"),
        (lambda d: d.update(images=[]), "the document has no images"),
        (lambda d: d.update(categories=[]), "the document has no categories"),
        (lambda d: d.pop("annotations"), "the document has no annotations"),
        (lambda d: d.update(categories={"id": 1}), "has categories that is not a list"),
        (lambda d: d.update(categories=[{"id": 1}, {"id": 1}]), r"categories\[1\] has id=1, as another"),
        (lambda d: d.update(videos=[{"id": 9}]), "uses video_id=4, expected the id of one of its videos"),
        (lambda d: d["annotations"].append(7), r"annotations\[3\] is 7, expected an object with keys"),
        (put("images", "video_id", ".."), "videos whose ids are no names"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_place(
    tmp_path: Path, change: Callable[[Document], object], words: str
) -> None:
    document = small(tmp_path)
    change(document)
    path = write(tmp_path / "ann.json", document)
    real_videos.check_refused(config_of(path, dataset_type="coco"), words)
    if "gone" not in words:
        real_videos.check_refused(config_of(path, dataset_type="coco"), str(path))


def test_a_document_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ann.json"
    real_videos.check_refused(config_of(path), f"dataset.data_path does not exist: {path}")
    real_videos.check_refused(config_of(path, dataset_type="coco_video"), f"does not exist: {path}")
    real_videos.check_refused(config_of(tmp_path, dataset_type="coco"), f"this is a folder.*{tmp_path}")
    path.write_text('{"images": [')
    real_videos.check_refused(config_of(path, dataset_type="coco"), f"not JSON .*: {path}")


def test_a_changed_document_is_noticed_and_a_pickled_source_reads_the_same(tmp_path: Path) -> None:
    document = small(tmp_path)
    path = write(tmp_path / "ann.json", document)

    def change() -> None:
        document["annotations"][0]["segmentation"] = segmentation_of(np.ones((20, 30), np.bool_))
        write(path, document)
        os.utime(path, ns=(1, 1))

    real_videos.check_cache_and_pickle(config_of(path), tmp_path / "cache", change)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_documents_never_end_in_anything_but_a_named_error(tmp_path: Path, data: st.DataObject) -> None:
    path = write(tmp_path / "ann.json", small(tmp_path))
    path.write_bytes(data.draw(real_videos.damages(path.read_bytes())))
    real_videos.read_or_named(lambda: all_masks(open_index(config_of(path, dataset_type="coco"))), "ann.json")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "size", "counts"]), inner),
    max_leaves=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(data=st.data())
def test_values_of_any_kind_never_end_in_anything_but_a_named_error(tmp_path: Path, data: st.DataObject) -> None:
    document = small(tmp_path)
    document["videos"] = [{"id": 4, "name": "v"}]
    for _ in range(data.draw(st.integers(1, 2))):
        part = data.draw(st.sampled_from(sorted(document)))
        entry = data.draw(st.sampled_from(document[part]))
        keys = [*entry, "iscrowd", "attributes", "height", "width", "frame_id"]
        entry[data.draw(st.sampled_from(keys))] = data.draw(JUNK)
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(document))
    real_videos.read_or_named(lambda: all_masks(open_index(config_of(path))), str(tmp_path))


@pytest.mark.slow
def test_it_is_trained_on_from_the_command_line(tmp_path: Path) -> None:
    require_test_data(documents.VOS.is_dir(), "vos")
    path = write(tmp_path / "ann.json", coco_document(["dogs-jump"]))
    said = ["videos: 1", "frames: 66, 66 of them with masks", "objects: 3", "format: coco", "an object is a track"]
    real_videos.check_trains(tmp_path, said, f"dataset.data_path={path}", f"dataset.img_folder={FRAMES}")
    assert list((tmp_path / "run").glob("dataset_annotations_*.bin"))
