"""Frames and masks are paired as people read their names; what is not used is counted, what cannot be meant refused."""

from __future__ import annotations

import unicodedata

import pytest
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.core.text import natural_key
from sam2_training.data.formats.frame_folder import FrameFolder
from sam2_training.data.index import build_index, open_index
from sam2_training.data.pairing import (
    frames_among,
    is_of_system,
    is_start_of_longer,
    left_out_line,
    masks_among,
    name_key,
)


def never(one: str, other: str) -> bool:
    raise AssertionError(f"{one} and {other} were compared")


def frames(*names: str, same: bool = False):
    return frames_among(names, "folder", lambda one, other: same)


def refusal(*names: str) -> str:
    with pytest.raises(DataError) as caught:
        frames(*names)
    return str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7", "0007"),
        ("frame_7", "frame_07"),
        ("a1_b2", "a01_b002"),
        (unicodedata.normalize("NFC", "café_1"), unicodedata.normalize("NFD", "café_01")),
        ("\u0663", "3"),
    ],
)
def test_names_that_look_the_same_are_the_same(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("7", "70"), ("a_7", "a7"), ("0.5", "5"), ("a", "b"), ("1²", "12")])
def test_other_names_are_others(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)
    assert name_key(one, decimals=True) != name_key(other, decimals=True)


def test_decimals_are_in_order_of_value_and_match_by_value() -> None:
    found = frames_among(["10.75.jpg", "1.5.jpg", "0.5.jpg", "10.0.jpg", "1.25.jpg", "2.0.jpg"], "folder", never)
    assert found.names == ("0.5.jpg", "1.25.jpg", "1.5.jpg", "2.0.jpg", "10.0.jpg", "10.75.jpg")
    masks, left_out = masks_among(["0.50.png", "2.png", "01.250.png"], "folder", found)
    assert list(masks.values()) == ["0.50.png", "2.png", "01.250.png"]
    assert left_out == []


@pytest.mark.parametrize(
    "names",
    [
        ("t_0.5s", "t_1.25s", "t_1.5s"),
        ("0.05", "0.5"),
        ("1.2.3", "1.10.3", "1.10.10"),  # three parts are no decimal
        ("1.1", "1.9", "1.10", "1.11"),  # 1.1 and 1.10 would be one number: the dot parts two counters
        ("2024.01.02", "2024.01.10"),
    ],
)
def test_dots_part_numbers_unless_they_are_decimal_points(names: tuple[str, ...]) -> None:
    assert frames(*(f"{name}.jpg" for name in reversed(names))).names == tuple(f"{name}.jpg" for name in names)


def test_names_of_other_kinds_keep_their_natural_order() -> None:
    names = ["b.jpg", "a1b.png", "1.jpg", "Aa.jpg", "a10.jpg", "a2.jpg", "ä3.jpg", "B10c2.jpg", "B9c11.jpg", "x y.jpg"]
    assert list(frames(*names).names) == sorted(names, key=natural_key)


@pytest.mark.parametrize(
    "copy",
    [
        *("00000 (1)", "00000(2)", "00000 - Copy", "00000 - Copy (3)", "00000 copy", "00000 copy 2", "00000 - Kopie"),
        *("Copy of 00000", "00000_copy", "00000 - コピー"),
    ],
)
def test_copies_are_left_out_and_other_content_under_such_a_name_is_refused(copy: str) -> None:
    names = ("00000.jpg", f"{copy}.jpg", "00001.jpg")
    found = frames(*names, same=True)
    assert found.names == ("00000.jpg", "00001.jpg")
    assert found.left_out == (("copies of other frames", f"{copy}.jpg"),)
    assert f"two pictures of one frame, 00000.jpg and {copy}.jpg, in folder" in refusal(*names)


@pytest.mark.parametrize(
    "pattern",
    [
        *("clip_{}_mask", "clip_{}_gtFine_labelIds", "clip_{}mask", "mask_clip_{}", "clip_{}_mask_1", "clip_{}-seg"),
        *("gt_{}", "Mask {}", "clip_{}_2.rf.0a1f_mask"),
    ],
)
def test_frames_and_masks_in_one_folder_are_refused(pattern: str) -> None:
    frame = "clip_{}_2.rf.0a1f" if ".rf." in pattern else "clip_{}"
    names = [f"{frame.format(f'{t:04d}')}.jpg" for t in range(6)]
    names += [f"{pattern.format(f'{t:04d}')}.png" for t in range(6)]
    message = refusal(*names)
    assert message.startswith("two pictures of one frame, ")
    assert "and 5 more pairs like it, in folder" in message
    assert "masks in a folder of their own" in message


@pytest.mark.parametrize(
    "names",
    [
        ("frame (1).jpg", "frame (2).jpg", "frame (10).jpg"),  # Windows numbers renamed files so
        ("intro.jpg", "intro_b.jpg", "take_1.jpg"),
        ("face_mask_0001.jpg", "face_mask_0002.jpg"),
        ("left_0001.jpg", "left_0002.jpg", "right_0001.jpg"),
        ("10.jpg", "10_5.jpg", "11.jpg"),
        ("0a1f.jpg", "0a2.jpg", "ff03.jpg"),
    ],
)
def test_frames_with_names_of_several_kinds_are_legitimate(names: tuple[str, ...]) -> None:
    assert len(frames_among(names, "folder", never).files) == len(names)


def test_two_files_of_one_name_are_refused() -> None:
    for pair in (("7.jpg", "0007.jpg"), ("f_7.jpg", "f_07.png"), ("é1.jpg", unicodedata.normalize("NFD", "é1.jpg"))):
        assert "two files for one frame" in refusal(*pair)


def test_frames_of_a_kind_that_is_not_read_are_refused_and_other_pictures_are_said() -> None:
    message = refusal("0.jpg", "1.TIF", "2.tif", "3.bmp")
    assert "3 frames of a kind that is not read beside 1 frame that are: 1.TIF, 2.tif, 3.bmp" in message
    found = frames("0.jpg", "0.tif", "preview.gif", "notes.txt", "Thumbs.db", "._0.jpg")
    assert found.names == ("0.jpg",)
    assert set(found.left_out) == {
        ("pictures of kinds that are not read", "0.tif"),
        ("pictures of kinds that are not read", "preview.gif"),
        ("files of other kinds", "notes.txt"),
        ("hidden and system files", "Thumbs.db"),
        ("hidden and system files", "._0.jpg"),
    }
    assert "it holds 0.tif, 1.tif" in refusal("0.tif", "1.tif")


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir", "__MACOSX", "lost+found", ".ipynb_checkpoints", "Thumbs.db", ".DS_Store", "._x.jpg", "desktop.ini"),
        "System Volume Information",
    ],
)
def test_files_of_other_programs_are_known(name: str) -> None:
    assert is_of_system(name)
    assert not is_of_system(name.strip("@_.$") + "1")


@pytest.mark.parametrize(
    ("labeled", "expected"),
    [("110", True), ("1111111110", True), ("100", False), ("111", False), ("101", False), ("011", False)],
)
def test_masks_at_the_start_of_a_longer_video_are_suspicious(labeled: str, expected: bool) -> None:
    assert is_start_of_longer([mark == "1" for mark in labeled]) is expected


def test_the_banner_names_what_is_not_used(folders, make_squares) -> None:
    folders.video("a", [[1], [1], None])
    folders.video("b", [[1]])
    copy = folders.images / "b" / "00000 (1).png"
    copy.write_bytes((folders.images / "b" / "00000.png").read_bytes())
    (folders.images / "b" / "preview.gif").write_bytes(b"")
    folders.mask("b", "00009.png", make_squares([1]))
    folders.mask("c", "00000.png", make_squares([1]))
    (folders.images / "readme.txt").write_text("")
    index = open_index(folders.config())
    assert index.describe()[-6:] == index.pairing_remarks()
    assert index.pairing_remarks() == [
        "not used: files beside the videos: 1 (readme.txt)",
        "not used: masks of no video: 1 (c)",
        "not used: copies of other frames: 1 (b/00000 (1).png)",
        "not used: pictures of kinds that are not read: 1 (b/preview.gif)",
        "not used: masks without a frame: 1 (b/00009.png)",
        "check: in 1 video the labeled frames are exactly the first ones of a longer video (a); if a program numbered "
        "the masks anew, they lie on other frames than they show",
    ]


def test_what_is_not_used_is_kept_in_the_cache(folders, tmp_path, make_squares) -> None:
    folders.video("a", [[1]])
    folders.mask("a/", "00001.png", make_squares([1]))
    first = open_index(folders.config(), tmp_path)
    assert open_index(folders.config(), tmp_path).describe() == first.describe()
    assert open_index(folders.config(), tmp_path).video(0).left_out == (("masks without a frame", "00001.png"),)


def test_a_folder_to_predict_on_says_what_it_leaves_out_and_refuses_masks(tmp_path) -> None:
    for name in ("0.png", "1.png", "1 (1).png"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    index = build_index(FrameFolder(tmp_path))
    assert index.video(0).frame_files == ("0.png", "1.png")
    expected = ["not used: copies of other frames: 1 (1 (1).png)", "not used: files of other kinds: 1 (notes.txt)"]
    assert index.remarks() == expected
    Image.new("L", (8, 8)).save(tmp_path / "1_mask.png")
    with pytest.raises(DataError, match=r"two pictures of one frame, 1\.png and 1_mask\.png"):
        FrameFolder(tmp_path)


def test_lists_and_mask_folders_may_compose_accents_otherwise(folders, tmp_path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    folders.video(apart, [[1], [1]])
    (folders.masks / apart).rename(folders.masks / composed)
    (tmp_path / "list.txt").write_text(composed)
    index = open_index(folders.config(file_list_txt=str(tmp_path / "list.txt")), tmp_path)
    assert list(index.names) == [apart]
    video = open_index(folders.config(), tmp_path).video(0)
    assert index.masks(video, 0, [1], (24, 32)).sum() == 36
    (tmp_path / "list.txt").write_text(f"{composed}\n{apart}")
    with pytest.raises(DataError, match=f"names {apart} 2 times"):
        open_index(folders.config(file_list_txt=str(tmp_path / "list.txt")))


def test_a_listed_video_may_lie_in_a_folder_of_its_own(folders, tmp_path) -> None:
    for side in (folders.images, folders.masks):
        (side / "part").mkdir()
    folders.video("part/v", [[1], [1]])
    (tmp_path / "list.txt").write_text("part/v")
    index = open_index(folders.config(file_list_txt=str(tmp_path / "list.txt")))
    assert index.masks(index.video(0), 1, [1], (24, 32)).sum() == 36


def test_links_that_lead_nowhere_are_refused_wherever_a_folder_was_meant(folders) -> None:
    folders.video("a", [[1]])
    folders.image("c", "0.png")
    for place in (folders.images / "b", folders.masks / "c", folders.masks / "a" / "2"):
        place.symlink_to("nowhere")
        with pytest.raises(DataError, match=f"leads nowhere: {place} -> nowhere"):
            open_index(folders.config())
        place.unlink()


def test_one_video_whose_frames_and_masks_are_one_folder_is_refused(folders) -> None:
    folders.video("a", [[1]])
    folders.video("b", [[1]])
    (folders.masks / "b" / "00000.png").unlink()
    (folders.masks / "b").rmdir()
    (folders.masks / "b").symlink_to(folders.images / "b")
    with pytest.raises(DataError, match="one folder is given for the frames and for the masks of video b"):
        open_index(folders.config())


def test_names_of_what_is_left_out_are_shown_escaped() -> None:
    line = left_out_line("files of other kinds", 1, ["a\n\x1b[2J\u202e.txt"])
    assert line == r"files of other kinds: 1 (a\x0a\x1b[2J\u202e.txt)"
