"""CVAT for video 1.1: masks and polygons of real videos, tracks over time, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from sam2_training.core.errors import DataError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.cvat_interpolation import polygon_between, rotation_between
from sam2_training.data.index import VideoIndex, open_index

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


def element(tag: str, **values: object) -> str:
    attributes = " ".join(f"{key}={quoteattr(str(value))}" for key, value in values.items() if value is not ...)
    return f'<{tag} {attributes} occluded="0" z_order="0"><attribute name="a">b</attribute></{tag}>'


def box(frame: int, left: float = 4, outside: int = 0, keyframe: int = 1, **changes: object) -> str:
    corners = {"xtl": left, "ytl": 4, "xbr": left + 8, "ybr": 10}
    return element("box", **{"frame": frame, "outside": outside, "keyframe": keyframe, **corners, **changes})


def polygon(frame: int, points: list[tuple[float, float]], outside: int = 0, keyframe: int = 1) -> str:
    text = ";".join(f"{x},{y}" for x, y in points)
    return element("polygon", frame=frame, outside=outside, keyframe=keyframe, points=text)


def mask(frame: int, pixels: np.ndarray, outside: int = 0, **changes: object) -> str:
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    inside = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    flat = np.concatenate([[False], inside.reshape(-1)]).astype(int)
    changed = np.flatnonzero(np.diff(flat)) + 0
    runs = np.diff(np.concatenate([[0], changed, [inside.size]]))
    place = {"left": columns[0], "top": rows[0], "width": inside.shape[1], "height": inside.shape[0]}
    text = ", ".join(map(str, runs.tolist()))
    return element("mask", **{"frame": frame, "outside": outside, "keyframe": 1, "rle": text, **place, **changes})


def track(number: int, *shapes: str, label: str = "dog", **values: object) -> str:
    attributes = " ".join(f'{key}="{value}"' for key, value in values.items())
    return f'<track id="{number}" label={quoteattr(label)} source="manual" {attributes}>{"".join(shapes)}</track>'


def task(num_frames: int, size: tuple[int, int] | None = SIZE, **values: object) -> str:
    meta = {"id": 7, "name": "v.mp4", "size": num_frames, "mode": "interpolation", **values}
    text = "".join(f"<{key}>{value}</{key}>" for key, value in meta.items() if value is not ...)
    labels = "<labels><label><name>dog</name></label></labels><segments><segment><id>1</id></segment></segments>"
    original = f"<original_size><width>{size[1]}</width><height>{size[0]}</height></original_size>" if size else ""
    return f"<task>{text}{labels}{original}</task>"


def document(*tracks: str, meta: str = "") -> str:
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
    return head + f"<meta>{meta or task(4)}<dumped>now</dumped></meta>\n" + "\n".join(tracks) + "\n</annotations>\n"


def write(root: Path, text: str, num_frames: int = 4, names: str = "frame_{:06d}.png") -> DatasetConfig:
    """A task as CVAT exports it with its frames: annotations.xml and images/."""
    if not (root / "images").exists():
        write_frames(root / "images", [np.full((*SIZE, 3), 9 * t, np.uint8) for t in range(num_frames)])
        for path in sorted((root / "images").iterdir()):
            path.rename(path.with_name(names.format(int(path.stem))))
    (root / "annotations.xml").write_text(text)
    return DatasetConfig("auto", data_path=str(root / "annotations.xml"))


def areas(index: VideoIndex) -> list[list[int]]:
    found: list[list[int]] = index.video(0).areas.tolist()
    return found


def tracks_of(ids: Ids, polygons: bool) -> list[str]:
    found = []
    for value in sorted({int(v) for one in ids.values() for v in np.unique(one) if v}):
        shapes = []
        for t in range(max(ids) + 1):
            if t in ids and (ids[t] == value).any():
                largest = max(outlines(ids[t] == value), key=len)
                shapes.append(polygon(t, largest) if polygons else mask(t, ids[t] == value))
            elif shapes and t in ids and 'outside="0"' in shapes[-1]:
                shapes.append(
                    shapes[-1].replace('outside="0"', 'outside="1"').replace(f'frame="{t - 1}"', f'frame="{t}"')
                )
        found.append(track(value - 1, *shapes))
    return found


@pytest.mark.parametrize(("name", "num_frames"), [("dogs-jump", 12), ("bmx-bumps", 70)])
def test_masks_are_those_of_the_pngs(tmp_path: Path, name: str, num_frames: int) -> None:
    frames, ids = frames_and_ids(name, num_frames)
    write_frames(tmp_path / "frames" / name, frames)
    size = frames[0].shape[:2]
    text = document(*tracks_of(ids, False), meta=task(num_frames, (size[0], size[1]), name=f"{name}.mp4"))
    (tmp_path / "annotations.xml").write_text(text)
    config = DatasetConfig("auto", data_path=str(tmp_path), img_folder=str(tmp_path / "frames"))
    index = open_index(config)
    assert "format: cvat" in index.describe()
    assert "labels: tracks are objects: id = number of the track + 1" in index.describe()
    check_masks(index, 0, ids)


def test_frames_of_a_task_with_a_step_are_every_so_many_of_the_video(tmp_path: Path) -> None:
    frames, ids = frames_and_ids("caps", 67)
    write_frames(tmp_path / "frames" / "caps", frames[:67])
    size = frames[0].shape[:2]
    shapes = [mask(t, values == 1) for t, values in ids.items() if t % 33 == 0]
    meta = task(3, (size[0], size[1]), name="caps", start_frame=0, stop_frame=66, frame_filter="step=33")
    (tmp_path / "caps.xml").write_text(document(track(0, *shapes), meta=meta))
    config = DatasetConfig("cvat", data_path=str(tmp_path / "caps.xml"), img_folder=str(tmp_path / "frames"))
    check_masks(open_index(config), 0, {t: np.where(ids[t] == 1, 1, 0) for t in (0, 33, 66)})


def test_polygons_hold_the_masks(tmp_path: Path) -> None:
    frames, ids = frames_and_ids("caps", 67)
    write_frames(tmp_path / "caps", [frames[t] for t in ids])
    dense = dict(enumerate(ids.values()))
    size = frames[0].shape[:2]
    meta = task(len(dense), (size[0], size[1]), name="caps")
    (tmp_path / "caps.xml").write_text(document(*tracks_of(dense, True), meta=meta))
    found = smallest_iou(open_index(DatasetConfig("auto", data_path=str(tmp_path))), 0, dense, {1: 1, 2: 2})
    assert found >= 0.98, found


def test_a_track_is_absent_before_it_begins_and_while_it_is_outside(tmp_path: Path) -> None:
    shapes = [box(1), box(2, keyframe=0), box(3, outside=1)]
    assert areas(open_index(write(tmp_path, document(track(0, *shapes))))) == [[0], [48], [48], [0]]


def test_frames_between_keyframes_are_computed_where_they_are_not_listed(tmp_path: Path) -> None:
    index = open_index(write(tmp_path, document(track(0, box(0, 0), box(2, 12)), track(3, box(3)))))
    video = index.video(0)
    assert video.object_ids == (1, 4)
    assert video.areas.tolist() == [[48, 0], [48, 0], [48, 0], [48, 48]]
    columns = [np.flatnonzero(index.masks(video, t, [1], SIZE)[0].any(0))[0] for t in range(4)]
    assert columns == [0, 6, 12, 12]
    assert "labels: 2 regions between keyframes are computed as CVAT does" in index.describe()
    assert any("1 tracks are in one frame only" in line for line in index.describe())


def test_what_a_track_with_all_frames_does_not_list_is_unlabeled_and_so_is_what_is_between_masks(
    tmp_path: Path,
) -> None:
    pixels = np.zeros(SIZE, np.bool_)
    pixels[2:5, 3:9] = True
    tracks = [track(0, box(0), box(1, keyframe=0), box(3)), track(1, mask(0, pixels), mask(2, pixels))]
    assert areas(open_index(write(tmp_path, document(*tracks)))) == [[48, 18], [48, -1], [-1, 18], [48, -1]]


def test_turned_boxes_and_ellipses_are_areas(tmp_path: Path) -> None:
    ellipse = element("ellipse", frame=0, outside=0, keyframe=1, cx=16, cy=12, rx=10, ry=4, rotation=90)
    index = open_index(write(tmp_path, document(track(0, box(0, rotation=90)), track(1, ellipse))))
    turned, round_one = index.masks(index.video(0), 0, [1, 2], SIZE)
    assert (np.flatnonzero(turned.any(1))[[0, -1]].tolist(), np.flatnonzero(turned.any(0))[[0, -1]].tolist()) == (
        [3, 10],
        [5, 10],
    )
    assert abs(round_one.sum() - np.pi * 40) < 4
    assert np.flatnonzero(round_one.any(0))[[0, -1]].tolist() == [12, 19]


def test_polygons_between_keyframes_are_those_of_cvat() -> None:
    """The numbers are what cvat/apps/dataset_manager/annotation.py computes for these two polygons."""
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
    other = np.array([[2, 2], [12, 2], [14, 8], [13, 12], [4, 13], [3, 7]], float)
    expected = [[0.5, 0.5], [10.5, 0.5], [11.0, 9.5], [10.75, 10.5], [1.0, 10.75], [0.75, 9.25]]
    assert polygon_between(square, other, 0.25).tolist() == expected
    back = [[1.0, 1.0], [11.0, 1.0], [12.0, 9.0], [11.5, 11.0], [2.0, 11.5], [1.5, 8.5]]
    assert polygon_between(other, square, 0.5).tolist() == back
    assert [rotation_between(350, 10, 0.5), rotation_between(10, 350, 0.5), rotation_between(0, 180, 1)] == [0, 0, 1]


def test_a_project_has_a_video_for_each_task(tmp_path: Path) -> None:
    tasks = task(2, id=1, name="eins ü.mp4") + task(3, id=2, name="zwei") + task(2, id=3, name="zwei")
    meta = f"<project><id>1</id><name>p</name><tasks>{tasks}</tasks></project>"
    tracks = [track(0, box(0), box(1), task_id=1), track(1, box(0), box(2, outside=1), task_id=2)]
    (tmp_path / "annotations.xml").write_text(document(*tracks, meta=meta))
    for name, number in (("eins ü", 2), ("zwei (2)", 3)):
        write_frames(tmp_path / "frames" / name, [np.zeros((*SIZE, 3), np.uint8)] * number)
    (tmp_path / "list.txt").write_text("eins ü\nzwei (2)\n")
    names = {"data_path": str(tmp_path / "annotations.xml"), "img_folder": str(tmp_path / "frames")}
    index = open_index(DatasetConfig("cvat", file_list_txt=str(tmp_path / "list.txt"), **names))
    assert list(index.names) == ["eins ü", "zwei (2)"]
    assert [index.video(n).areas.tolist() for n in range(2)] == [[[48], [48]], [[48], [48], [0]]]
    assert index.video(1).object_ids == (2,)
    check_refused(DatasetConfig("cvat", **names), r"video zwei \(3\) has no folder of frames")


def test_deleted_frames_are_found_by_the_names_that_cvat_gives(tmp_path: Path) -> None:
    config = write(tmp_path, document(track(0, box(10), box(14)), meta=task(3, start_frame=10, stop_frame=14)), 15)
    for path in (tmp_path / "images").iterdir():
        if int(path.stem[6:]) not in (10, 14):
            path.unlink()
    assert areas(open_index(config)) == [[48], [48]]


def test_points_and_lines_are_counted(tmp_path: Path) -> None:
    points = element("points", frame=0, outside=0, keyframe=1, points="1,2")
    index = open_index(write(tmp_path, document(track(0, box(0)), track(1, points))))
    assert index.video(0).object_ids == (1,)
    assert "labels: 1 tracks of points, lines or the like are not used" in index.describe()


ONES = np.ones((3, 4), np.bool_)
FAULTS: dict[str, tuple[str, str]] = {
    "no id": ("<track label='a'></track>", r"line 5 has a track without id"),
    "id": ("<track id='x' label='a'></track>", r'has a track with id="x"'),
    "twice": (track(0, box(0)) + track(0, box(1)), r"has a second track 0, expected each id once"),
    "no frame": (track(0, box(0).replace("frame=", "f=")), r"has a box of track 0 without frame"),
    "frame": (track(0, box(4)), r"has a box of track 0 in frame 4, expected frames of its task: 0 to 3"),
    "same frame": (track(0, box(1), box(1)), r"the box of track 0 in frame 1: is the second in frame 1"),
    "corner": (track(0, box(1, xtl="a")), r'the box of track 0 in frame 1: it has xtl="a", expected a number'),
    "far": (track(0, box(1, xtl=-1e9)), r"far outside the frame of 24x32"),
    "points": (track(0, polygon(1, [(1, 2), (3, 4)])), r"expected x,y;x,y;\.\.\. of at least three corners"),
    "kinds": (track(0, box(0), polygon(2, [(1, 2), (3, 4), (5, 6)])), r"the next shape is a polygon"),
    "negative": (track(0, mask(1, ONES, rle="-3,15")), r"its rle has a negative count, -3"),
    "sum": (track(0, mask(1, ONES, rle="0,13")), r"its rle's counts sum to 13, expected 4x3=12"),
    "no rle": (track(0, mask(1, ONES, rle=...)), r'its rle is "", expected whole numbers'),
    "box": (track(0, mask(1, ONES, left=29)), r"its box is 4x3 at 29, 0, the frame 32x24"),
    "pictures": ('<image id="0" name="a.png"></image>', r"has pictures, whose shapes do not say"),
    "torn": ("<track", r"the file is not XML \(not well-formed"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named(tmp_path: Path, fault: str) -> None:
    text, words = FAULTS[fault]
    check_refused(write(tmp_path, document(text)), rf"(?s){words}.*annotations\.xml")


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ("<other/>", r"the document has no task in its meta section"),
        (task(0), r'has a task with size="0"'),
        (task(4, size=(24, 33)), r"video v is 24x33 by its annotations, its frames are 24x32"),
        (task(9, stop_frame=5), r"ends a task of 9 frames from 0 to 5"),
        (task(9), r"task v\.mp4 has 9 frames, 0 to 8 of what was annotated, but there are 4"),
    ],
)
def test_a_task_that_is_wrong_is_named(tmp_path: Path, meta: str, words: str) -> None:
    check_refused(
        write(tmp_path, document(track(0, box(0)), meta=meta), names="{:03d}.png"), rf"(?s){words}.*annotations\.xml"
    )


def test_a_missing_frame_is_named(tmp_path: Path) -> None:
    config = write(tmp_path, document(track(0, box(0), box(1, keyframe=0), box(2))))
    (tmp_path / "images" / "frame_000001.png").unlink()
    check_refused(
        config, r"track 0 has a shape in frame 1, which is not among the frames of video v: .*annotations\.xml"
    )
    (tmp_path / "annotations.xml").unlink()
    check_refused(DatasetConfig("cvat", data_path=config.data_path), r"does not exist: .*annotations\.xml")


def test_pictures_whose_order_is_not_sure_are_refused(tmp_path: Path) -> None:
    text = document(track(0, box(0)), meta=task(11, None))
    config = write(tmp_path, text, 11, names="{}.png")
    check_refused(
        config, r"the order of the pictures is not sure, by name as CVAT sorts them \(0\.png, 1\.png, 10\.png"
    )


def test_entities_are_refused_before_they_expand(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    text = document(track(0, box(0)), meta=task(4, name="&l9;"))
    text = text.replace("<annotations>", f'<!DOCTYPE annotations [<!ENTITY l0 "ha">{laughs}]>\n<annotations>')
    check_refused(
        write(tmp_path, text), r"line 2 declares a document type, which could hold entities.*annotations\.xml"
    )


def test_the_cache_and_copies_read_the_same_and_changes_are_noticed(tmp_path: Path) -> None:
    config = write(tmp_path, document(track(0, box(0))))
    check_cache_and_pickle(
        config, tmp_path / "cache", lambda: [write(tmp_path, document(track(0, box(0, 3))))][0] and None
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damages(document(track(0, box(0), box(2)), track(1, mask(1, ONES))).encode()))
def test_damaged_documents_are_never_more_than_a_named_error(tmp_path: Path, data: bytes) -> None:
    write(tmp_path, "")
    (tmp_path / "annotations.xml").write_bytes(data)
    message = ""
    try:
        open_index(DatasetConfig("cvat", data_path=str(tmp_path / "annotations.xml")))
    except DataError as error:
        message = str(error)
    assert not message or "annotations.xml" in message or str(tmp_path) in message


@pytest.mark.parametrize("folder", [True, False])
def test_frames_of_a_video_file_are_counted_from_the_first(tmp_path: Path, folder: bool) -> None:
    file = TEST_DATA / "json_samples" / "sav_style_derived" / "dogs-jump.mp4"
    require_test_data(file.is_file(), "dogs-jump.mp4")
    video = tmp_path / "videos" / ("v.mp4" if folder else "other.mp4")
    video.parent.mkdir()
    shutil.copyfile(file, video)
    meta = task(3, (240, 432), start_frame=10, stop_frame=20, frame_filter="step=5")
    (tmp_path / "a.xml").write_text(document(track(0, box(10), box(20, outside=1)), meta=meta))
    frames = str(video.parent if folder else video)
    index = open_index(DatasetConfig("cvat", data_path=str(tmp_path / "a.xml"), img_folder=frames))
    found = index.video(0).areas[:, 0].tolist()
    assert len(found) == 66
    assert {t: area for t, area in enumerate(found) if area >= 0} == {10: 48, 15: 48, 20: 0}


@pytest.mark.slow
def test_it_is_trained_on_from_the_command_line(tmp_path: Path) -> None:
    frames, ids = frames_and_ids("dogs-jump", 6)
    write_frames(tmp_path / "dogs" / "images", frames)
    size = frames[0].shape[:2]
    text = document(*tracks_of(ids, False), meta=task(6, (size[0], size[1])))
    (tmp_path / "dogs" / "annotations.xml").write_text(text)
    said: list[Any] = ["videos: 1 ", "frames: 6, 6 of them with masks", "objects: 3", "format: cvat"]
    check_trains(tmp_path, said, f"dataset.data_path={tmp_path / 'dogs'}", "dataset.img_folder=null")
