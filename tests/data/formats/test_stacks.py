"""Stacks of frames and labels: TIFF, OME-TIFF, NumPy and folders of TIFFs hold the ids that they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sam2_training.core.errors import ConfigError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats import detected_format, open_source
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
from tests.places import TEST_DATA, require_test_data

TIME = {"metadata": {"axes": "TYX"}}
Video = tuple[np.ndarray, np.ndarray]
"""Frames [T, H, W, 3] and ids [T, H, W]."""


@pytest.fixture(scope="module")
def dogs() -> Video:
    frames, ids = frames_and_ids("dogs-jump", 5)
    return np.stack(frames), np.stack([ids[t] for t in range(5)])


def by_frame(ids: np.ndarray) -> Ids:
    return dict(enumerate(ids))


def config_of(root: Path, dataset_type: str = "auto", **changes: Any) -> DatasetConfig:
    return DatasetConfig(dataset_type, img_folder=f"{root}/frames", gt_folder=f"{root}/labels", **changes)


def write(root: Path, name: str, video: Video, suffix: str = ".tif", **options: Any) -> None:
    for folder, values in zip(("frames", "labels"), video, strict=True):
        (root / folder).mkdir(exist_ok=True)
        color = {"photometric": "rgb"} if values.ndim == 4 else {}
        tifffile.imwrite(root / folder / f"{name}{suffix}", values, **color, **options)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".tif", {}),
        (".tiff", {"compression": "zlib", "tile": (64, 64)}),
        (".ome.tif", {"ome": True}),
        (".btf", {"bigtiff": True}),
    ],
)
def test_tiff_stacks_hold_frames_and_ids(tmp_path: Path, dogs: Video, suffix: str, options: dict[str, Any]) -> None:
    options |= {"metadata": {"axes": "TYX"}} if "ome" in options else {}
    write(tmp_path, "Zelle ä 1", (dogs[0][..., 0], dogs[1].astype(np.uint16)), suffix, **options)
    index = open_index(config_of(tmp_path))
    assert index.source.format_name == "stack"
    assert index.names[0] == "Zelle ä 1"
    check_masks(index, 0, by_frame(dogs[1]))
    for t in range(5):
        assert np.array_equal(index.frame(index.video(0), t), np.repeat(dogs[0][t, :, :, :1], 3, 2))


def test_color_stacks_and_mixed_kinds_of_files(tmp_path: Path, dogs: Video) -> None:
    write(tmp_path, "a", dogs)
    np.save(tmp_path / "labels" / "b.npy", dogs[1])
    write_frames(tmp_path / "frames" / "b", list(dogs[0]))
    np.savez(tmp_path / "frames" / "c.npz", dogs[0])
    write_tiffs(tmp_path / "labels" / "c", dogs[1], "{:05d}.tif")
    index = open_index(config_of(tmp_path))
    for number in range(3):
        check_masks(index, number, by_frame(dogs[1]))
        assert np.array_equal(index.frame(index.video(number), 2), dogs[0][2])


@pytest.mark.parametrize("compressed", [True, False])
def test_npz_volumes_as_medsam2_has_them(tmp_path: Path, dogs: Video, compressed: bool) -> None:
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "gray.npz", imgs=dogs[0][..., 1], gts=dogs[1], spacing=[1.0, 1.0, 2.0])
    save(tmp_path / "rgb.npz", imgs=dogs[0], gts=dogs[1])
    index = open_index(DatasetConfig(data_path=str(tmp_path)))
    assert list(index.names) == ["gray", "rgb"]
    for number, frame in enumerate((np.repeat(dogs[0][3, :, :, 1:2], 3, 2), dogs[0][3])):
        check_masks(index, number, by_frame(dogs[1]))
        assert np.array_equal(index.frame(index.video(number), 3), frame)


def write_tiffs(folder: Path, pages: np.ndarray, pattern: str, **options: Any) -> None:
    folder.mkdir(parents=True)
    for t, page in enumerate(pages):
        tifffile.imwrite(folder / pattern.format(t), page, **options)


def test_folders_of_tiffs_pair_by_name_or_by_number(tmp_path: Path, dogs: Video) -> None:
    frames, ids = dogs
    write_tiffs(tmp_path / "frames" / "a", frames, "t{:03d}.tif", photometric="rgb")
    write_tiffs(tmp_path / "labels" / "a", ids, "mask{:03d}.tif")
    (tmp_path / "labels" / "a" / "mask003.tif").unlink()
    write_tiffs(tmp_path / "frames" / "b", frames, "{:02d}.tif", photometric="rgb")
    (tmp_path / "labels" / "b").mkdir()
    for t in (1, 4):
        assert cv2.imwrite(str(tmp_path / "labels" / "b" / f"{t}.png"), ids[t])
    index = open_index(config_of(tmp_path))
    check_masks(index, 0, {t: ids[t] for t in (0, 1, 2, 4)})
    check_masks(index, 1, {t: ids[t] for t in (1, 4)})


def test_the_cell_tracking_challenge_is_read_as_it_lies() -> None:
    """Counts of the data's own page: 25 ids in 373 instances; 16 bits, 40 in 326."""
    root = TEST_DATA / "association" / "ctc"
    require_test_data(root.is_dir(), "ctc")
    for name, objects, instances in (("Fluo-N2DH-GOWT1", 25, 373), ("Fluo-N2DH-SIM+", 40, 326)):
        index = open_index(DatasetConfig(img_folder=str(root / name), gt_folder=str(root / name)))
        video = index.video(0)
        assert (video.name, len(video.object_ids), int(video.visible.sum())) == ("01", objects, instances)
        assert (video.levels is None) == (name == "Fluo-N2DH-GOWT1")
        tracks = root / name / "01_GT" / "TRA"
        check_masks(index, 0, {t: np.asarray(Image.open(path)) for t, path in enumerate(sorted(tracks.glob("*.tif")))})


@pytest.mark.parametrize("kind", ["u4", "i8", "f4"])
def test_values_above_16_bits_are_numbered_and_said(tmp_path: Path, dogs: Video, kind: str) -> None:
    values = np.array([0, 7, 70_000, 1_000_000], np.int64)[dogs[1]].astype(kind)
    write(tmp_path, "a", (dogs[0], values))
    index = open_index(config_of(tmp_path))
    check_masks(index, 0, by_frame(dogs[1]))
    said = "labels: objects are numbered from 1 in 1 video with values above 65535, in their order: 7 is 1, 70000 is 2"
    assert said in "\n".join(index.describe())
    assert index.source.object_names("a") == {1: "7", 2: "70000", 3: "1000000"}
    check_refused(config_of(tmp_path, object_ids=(7,)), r"dataset\.object_ids cannot name them: .*a\.tif")


def test_ignored_values_stay_ignored_beside_numbered_ones(tmp_path: Path, dogs: Video) -> None:
    values = np.array([0, 2, 70_000, 1_000_000], np.uint32)[dogs[1]]
    write(tmp_path, "a", (dogs[0], values))
    index = open_index(config_of(tmp_path, ignore_ids=(2,)))
    video = index.video(0)
    assert video.object_ids == (1, 3)
    labels = index.labels(video, 0, [1, 3], dogs[1].shape[1:])
    assert np.array_equal(labels.masks, [dogs[1][0] == 2, dogs[1][0] == 3])
    assert labels.ignored is not None
    assert np.array_equal(labels.ignored[0], dogs[1][0] == 1)


def test_label_settings_hold_for_stacks(tmp_path: Path, dogs: Video) -> None:
    frames, ids = dogs
    binary = np.where(ids > 0, 255, 0).astype(np.uint8)
    write(tmp_path, "a", (frames, binary))
    assert open_index(config_of(tmp_path)).video(0).object_ids == (255,)
    nonzero = open_index(config_of(tmp_path, binary_masks="nonzero"))
    check_masks(nonzero, 0, by_frame((ids > 0).astype(np.uint8)))
    void = np.where(ids == 3, 255, ids)
    write(tmp_path, "a", (frames, void))
    check_refused(config_of(tmp_path), r"value 255 beside the objects 1, 2: .*labels/a\.tif/frame 0")
    index = open_index(config_of(tmp_path, ignore_ids=(255,)))
    assert index.video(0).object_ids == (1, 2)
    ignored = index.labels(index.video(0), 0, [1], ids.shape[1:]).ignored
    assert ignored is not None
    assert np.array_equal(ignored[0], ids[0] == 3)
    assert open_index(config_of(tmp_path, object_ids=(2,))).video(0).object_ids == (2,)


def test_colors_of_label_stacks_are_objects_where_that_is_said(tmp_path: Path, dogs: Video) -> None:
    colors = np.array([(0, 0, 0), (200, 0, 0), (0, 200, 0), (0, 0, 200)], np.uint8)[dogs[1]]
    (tmp_path / "labels").mkdir()
    (tmp_path / "frames").mkdir()
    for folder, values in (("frames", dogs[0]), ("labels", colors)):
        tifffile.imwrite(tmp_path / folder / "a.tif", values, photometric="rgb")
    check_refused(config_of(tmp_path), r"channels that differ, expected palette or gray .*labels/a\.tif")
    (tmp_path / "colors.txt").write_text("1 200 0 0 dog\n2 0 200 0 dog\n3 0 0 200 person\n0 0 0 0\n")
    check_masks(open_index(config_of(tmp_path, palette=str(tmp_path / "colors.txt"))), 0, by_frame(dogs[1]))
    assert open_index(config_of(tmp_path, palette="color")).video(0).object_ids == (1, 2, 3)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.full((5, 240, 432), -1, np.int16), r"the labels have the value -1, expected 0 for background"),
        (np.full((5, 240, 432), 0.5, np.float32), r"the value 0\.5, expected whole numbers"),
        (np.full((5, 240, 432), np.nan, np.float32), r"the value nan, expected whole numbers"),
        (np.ones((6, 240, 432), np.uint8), r"the labels have 6 pages, the video 5 frames"),
        (np.ones((4, 240, 432), np.uint8), r"the labels have 1 page with 4 color samples a pixel, the video 5 frames"),
        (np.ones((5, 120, 432), np.uint8), r"the mask is 120x432, its image 240x432"),
        (np.arange(5 * 240 * 432, dtype=np.uint32).reshape(5, 240, 432), r"518,399 different values, expected at most"),
    ],
)
def test_labels_that_cannot_be_ids_are_named(tmp_path: Path, dogs: Video, labels: np.ndarray, match: str) -> None:
    for name in ("x", "y"):
        write(tmp_path, name, dogs)
    write(tmp_path, "a", (dogs[0], labels))
    check_refused(config_of(tmp_path), rf"(?s){match}.*labels/a\.tif")


def test_what_is_missing_or_double_is_named(tmp_path: Path, dogs: Video) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path, name, dogs)
    (tmp_path / "frames" / "b.tif").unlink()
    check_refused(config_of(tmp_path), "video b has no")
    write(tmp_path, "b", dogs)
    np.save(tmp_path / "labels" / "b.npy", dogs[1])
    check_refused(config_of(tmp_path), r"two stacks of one name, b\.npy and b\.tif, in .*labels")
    (tmp_path / "labels" / "b.npy").unlink()
    (tmp_path / "labels" / "c.tif").unlink()
    assert open_index(config_of(tmp_path)).beside == ("files beside the videos: 1 (c.tif)",)
    np.savez(tmp_path / "labels" / "c.npz", masks=dogs[1], gts=dogs[1])
    check_refused(config_of(tmp_path), r"holds the arrays masks, gts, expected one of labels, .*c\.npz")
    nowhere = DatasetConfig(img_folder=f"{tmp_path}/no", gt_folder=f"{tmp_path}/labels")
    check_refused(nowhere, r"dataset\.img_folder is not a folder: .*no\n.*dataset\.img_folder=null")
    check_refused(DatasetConfig(data_path=f"{tmp_path}/frames"), r"would be both its frames and its labels: .*a\.tif")


def test_frames_of_a_folder_that_differ_are_named(tmp_path: Path, dogs: Video) -> None:
    write_tiffs(tmp_path / "frames" / "a", dogs[0], "{:02d}.tif", photometric="rgb")
    write_tiffs(tmp_path / "labels" / "a", dogs[1], "{:02d}.tif")
    tifffile.imwrite(tmp_path / "frames" / "a" / "03.tif", dogs[0][3, ..., 0])
    check_refused(config_of(tmp_path), r"two files of one video differ [^\n]*\n.*a/00\.tif\n.*a/03\.tif")
    tifffile.imwrite(tmp_path / "frames" / "a" / "03.tif", dogs[0][..., 0])
    check_refused(config_of(tmp_path), r"the file has 5 pages, expected one, .*a/03\.tif")


def test_settings_of_other_formats_are_refused(tmp_path: Path, dogs: Video) -> None:
    write_frames(tmp_path / "frames" / "a", list(dogs[0]))
    write_frames(tmp_path / "labels" / "a", list(dogs[0]))
    config = config_of(tmp_path, channel=1)
    assert detected_format(config) == "video"
    with pytest.raises(ConfigError, match=r"dataset\.channel has no effect here: format video does not use it"):
        open_source(config)


def test_a_copy_reads_the_same_and_a_changed_stack_is_noticed(tmp_path: Path, dogs: Video) -> None:
    write(tmp_path, "a", dogs, compression="zlib")
    change = dogs[0], np.where(dogs[1] == 2, 0, dogs[1])
    check_cache_and_pickle(config_of(tmp_path), tmp_path / "cache", lambda: write(tmp_path, "a", change))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_of_an_npz_is_read_or_named(tmp_path: Path, data: st.DataObject) -> None:
    whole = tmp_path / "whole.npz"
    if not whole.exists():
        (tmp_path / "videos").mkdir()
        ids = np.arange(2 * 12 * 16, dtype=np.uint8).reshape(2, 12, 16) % 3
        np.savez_compressed(whole, imgs=ids * 50, gts=ids)
    (tmp_path / "videos" / "b.npz").write_bytes(data.draw(damages(whole.read_bytes())))
    source = open_source(DatasetConfig("stack", data_path=f"{tmp_path}/videos"))

    def read() -> None:
        source.frame(source.facts("b"), 0)

    read_or_named(read, "b.npz")


def test_a_video_file_beside_a_label_stack_is_its_frames(tmp_path: Path) -> None:
    video = TEST_DATA / "json_samples" / "sav_style_derived" / "dogs-jump.mp4"
    require_test_data(video.is_file(), video.name)
    _, ids = frames_and_ids("dogs-jump", 66)
    (tmp_path / "labels").mkdir()
    tifffile.imwrite(tmp_path / "labels" / "dogs-jump.tif", np.stack([ids[t] for t in range(66)]), compression="zlib")
    index = open_index(DatasetConfig(img_folder=str(video.parent), gt_folder=f"{tmp_path}/labels"))
    check_masks(index, 0, ids)
    assert index.frame(index.video(0), 30).shape == (240, 432, 3)
    assert index.beside == ("files beside the videos: 1 (dogs-jump_manual.json)",)


@pytest.mark.slow
def test_it_trains(tmp_path: Path, dogs: Video) -> None:
    (tmp_path / "videos").mkdir()
    np.savez_compressed(tmp_path / "videos" / "a.npz", imgs=dogs[0].astype(np.uint16) * 200, gts=dogs[1])
    said = ["videos: 1", "frames: 5, 5 of them with masks", "objects: 3", "format: stack"]
    check_trains(tmp_path, said, f"dataset.data_path={tmp_path}/videos", "dataset.img_folder=null")
