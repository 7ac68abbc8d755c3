"""What is written in a format is read from it again: the same pixels, ids, labels and frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sam2_training.data.config import DatasetConfig
from sam2_training.data.index import VideoIndex, open_index
from sam2_training.writers import WRITERS, open_writer
from sam2_training.writers.conversion import Conversion
from sam2_training.writers.writer import MaskWriter

from tests.writers.made import SIZE, boxes, made_index

READ: dict[str, Callable[[Path], DatasetConfig]] = {
    "davis": lambda out: DatasetConfig(img_folder=str(out / "images"), gt_folder=str(out / "masks"), ignore_ids=(255,)),
    "coco": lambda out: DatasetConfig(img_folder=str(out / "images"), data_path=str(out / "annotations.json")),
    "ytvis": lambda out: DatasetConfig(img_folder=str(out / "images"), data_path=str(out / "instances.json")),
    "sav": lambda out: DatasetConfig(img_folder=str(out / "images"), data_path=str(out)),
    "cvat": lambda out: DatasetConfig(img_folder=str(out / "images"), data_path=str(out)),
    "labelme": lambda out: DatasetConfig(img_folder=str(out / "images"), data_path=str(out)),
    "tiff": lambda out: DatasetConfig(img_folder=str(out / "images"), gt_folder=str(out)),
}
"""{format: how it is read}."""
LOSES_OVERLAPS = {"tiff"}
LOSES_IGNORED = {"ytvis", "sav", "cvat", "tiff"}
LEAVES_OUT = {"coco", "ytvis"}
"""Frames without labels."""
MAKES_EMPTY = {"sav", "tiff"}
"""Frames without labels."""
KEEPS_SINGLE_LABELS = {"davis", "cvat"}
"""Which objects of a frame are labeled."""


def written(index: VideoIndex, name: str, out: Path) -> MaskWriter:
    with open_writer(name, out) as writer:
        Conversion(index, with_frames=True).run(out, [writer], lambda video: None)
    return writer


def read_again(name: str, out: Path) -> VideoIndex:
    return open_index(READ[name](out))


def masks_of(index: VideoIndex, number: int = 0) -> np.ndarray:
    """[F, N, H, W]."""
    video = index.video(number)
    return np.stack([index.masks(video, t, video.object_ids, SIZE) for t in range(video.num_frames)])


def test_every_format_that_is_written_is_read() -> None:
    assert READ.keys() == WRITERS.keys()


@pytest.mark.parametrize("name", WRITERS)
def test_masks_ids_and_frames_are_equal(name: str, tmp_path: Path) -> None:
    made = {"a clip": boxes(4, overlap=False), "ü": boxes(3, overlap=False)}
    index = made_index(tmp_path, made, object_ids=(3, 700))
    writer = written(index, name, tmp_path / "out")
    assert writer.lost() == []
    again = read_again(name, tmp_path / "out")
    assert list(again.names) == sorted(made)
    for number, video_name in enumerate(again.names):
        video = again.video(number)
        assert video.object_ids == (3, 700)
        assert np.array_equal(masks_of(again, number), made[video_name])
        assert (video.areas == made[video_name].sum((2, 3))).all()
        for t in range(video.num_frames):
            assert np.array_equal(again.frame(video, t), np.full((*SIZE, 3), 20 * t + 9))


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_overlaps_are_kept_or_counted(name: str, tmp_path: Path) -> None:
    masks = boxes(4, overlap=True)
    writer = written(made_index(tmp_path, {"a": masks}), name, tmp_path / "out")
    found = masks_of(read_again(name, tmp_path / "out"))
    if name in LOSES_OVERLAPS:
        shared = int((masks.sum(1) > 1).sum())
        assert writer.lost() == [f"pixels that several objects share, given to one of them: {shared} pixels"]
        assert np.array_equal(found.any(1), masks.any(1))
    else:
        assert writer.lost() == []
        assert np.array_equal(found, masks)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_frames_without_labels_are_kept_or_counted(name: str, tmp_path: Path) -> None:
    labeled = np.array([[True, True], [False, False], [True, True], [True, True]])
    index = made_index(tmp_path, {"a": boxes(4, overlap=False)}, labeled=labeled)
    writer = written(index, name, tmp_path / "out")
    found = read_again(name, tmp_path / "out").video(0)
    if name in LEAVES_OUT | MAKES_EMPTY:
        assert found.num_frames == (3 if name in LEAVES_OUT else 4)
        assert found.labeled.all()
        how = "left out" if name in LEAVES_OUT else "written as empty"
        assert writer.lost() == [f"frames without labels, {how}: 1 frame"]
    else:
        assert np.array_equal(found.labeled, labeled)
        assert writer.lost() == []


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_objects_that_alone_are_not_labeled_are_kept_or_counted(name: str, tmp_path: Path) -> None:
    labeled = np.array([[True, True], [True, True], [True, False], [True, True], [True, True]])
    index = made_index(tmp_path, {"a": boxes(5, overlap=False)}, labeled=labeled)
    writer = written(index, name, tmp_path / "out")
    found = read_again(name, tmp_path / "out").video(0)
    if name in KEEPS_SINGLE_LABELS:
        assert np.array_equal(found.labeled, labeled)
        assert writer.lost() == []
    else:
        assert writer.lost() == ["objects of which a frame of others says nothing, written as absent there: 1 mask"]
        assert found.areas[2].tolist() == [64, 0]


def test_cvat_has_no_place_for_unlabeled_frames_before_a_first_mask_and_after_an_end(tmp_path: Path) -> None:
    masks = boxes(6, overlap=False)
    masks[2, 1] = False
    labeled = np.array([[False, False], [True, True], [True, True], [True, False], [False, False], [True, True]])
    writer = written(made_index(tmp_path, {"a": masks}, labeled=labeled), "cvat", tmp_path / "out")
    found = read_again("cvat", tmp_path / "out").video(0)
    read_as = labeled.copy()
    read_as[0] = True
    read_as[[3, 4], 1] = True
    assert np.array_equal(found.labeled, read_as)
    assert sorted(writer.lost()) == [
        "frames without labels, written as empty: 2 frames",
        "objects of which a frame of others says nothing, written as absent there: 1 mask",
    ]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_ignored_pixels_are_kept_or_counted(name: str, tmp_path: Path) -> None:
    ignored = np.zeros((4, *SIZE), np.bool_)
    ignored[1, :12, :5] = True
    index = made_index(tmp_path, {"a": boxes(4, overlap=False)}, ignored=ignored)
    writer = written(index, name, tmp_path / "out")
    again = read_again(name, tmp_path / "out")
    assert np.array_equal(masks_of(again), boxes(4, overlap=False) & ~ignored[:, None])
    if name in LOSES_IGNORED:
        assert writer.lost() == ["frames with pixels of which nothing is known, written as background: 1 frame"]
    else:
        labels = again.labels(again.video(0), 1, (1, 2), SIZE)
        assert labels.ignored is not None
        assert np.array_equal(labels.ignored, np.broadcast_to(ignored[1], (2, *SIZE)))
        assert writer.lost() == []


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_names_of_objects_are_kept_or_counted(name: str, tmp_path: Path) -> None:
    names = {1: "left hand", 2: "tool"}
    writer = written(made_index(tmp_path, {"a": boxes(3, overlap=False)}, names=names), name, tmp_path / "out")
    if writer.lost():
        assert writer.lost() == ["names of objects: 2 names"]
        return
    found = read_again(name, tmp_path / "out").source.object_names("a")
    assert {object_id: found[object_id] for object_id in names} == names


def test_an_error_leaves_no_half_file(tmp_path: Path) -> None:
    index = made_index(tmp_path, {"a": boxes(3, overlap=False)})
    for name in WRITERS:
        out = tmp_path / name
        writer = open_writer(name, out)

        def stop(video: str) -> None:
            raise OSError("stopped")

        def write(writer: MaskWriter = writer, out: Path = out) -> None:
            with writer:
                Conversion(index, with_frames=False).run(out, [writer], stop)

        with pytest.raises(OSError, match="stopped"):
            write()
        assert not [path for path in out.rglob(".*") if path.is_file()], name
