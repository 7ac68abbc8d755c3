"""The index lists what is there, refuses what cannot be trained on, and is built once."""

from __future__ import annotations

import numpy as np
import pytest
from sam2_training.core.errors import DataError
from sam2_training.data.index import open_index


def names(index) -> list[str]:
    return list(index.table.names)


def test_videos_and_frames_are_in_natural_order(folders, make_squares):
    for name in ("clip10", "clip2", "Clip1", "a"):
        for frame in ("f10.jpg", "f9.jpeg", "f2.png"):
            folders.image(name, frame)
        folders.mask(name, "f2.png", make_squares([1]))
    index = open_index(folders.config())
    assert names(index) == ["a", "Clip1", "clip2", "clip10"]
    assert index.video(0).frame_files == ("f2.png", "f9.jpeg", "f10.jpg")
    assert index.video(0).mask_files == ("f2.png", "", "")


def test_three_label_states(folders):
    folders.video("v", [[1, 2], None, [2], []])
    video = open_index(folders.config()).video(0)
    assert video.object_ids == (1, 2)
    assert np.sign(video.areas).tolist() == [[1, 1], [-1, -1], [0, 1], [0, 0]]
    assert video.areas[0, 0] == 36


@pytest.mark.parametrize("mode", ["P", "L", "I;16", "1"])
def test_mask_kinds_give_the_same_index(folders, make_squares, mode):
    folders.image("v", "0.png")
    folders.mask("v", "0.png", make_squares([1]), mode)
    video = open_index(folders.config()).video(0)
    assert (video.object_ids, video.areas.tolist()) == ((1,), [[36]])


def test_more_than_255_objects_in_16_bit_masks(folders, make_squares):
    folders.image("v", "0.png")
    folders.image("v", "1.png")
    folders.mask("v", "0.png", make_squares([300, 40000]), "I;16")
    folders.mask("v", "1.png", make_squares([2]))
    video = open_index(folders.config()).video(0)
    assert video.object_ids == (2, 300, 40000)
    assert np.sign(video.areas).tolist() == [[0, 1, 1], [1, 0, 0]]


def test_a_folder_per_object_allows_overlaps_and_its_own_gaps(folders, make_squares):
    for t in range(3):
        folders.image("v", f"{t}.png")
    for t in range(3):
        folders.mask("v/7", f"{t}.png", make_squares([255]), "L")
    folders.mask("v/12", "1.png", make_squares([1, 1]), "1")
    index = open_index(folders.config())
    video = index.video(0)
    assert video.object_ids == (7, 12)
    assert video.areas.tolist() == [[36, -1], [36, 72], [36, -1]]
    assert index.source.where(video, 1, 12).mask == str(folders.masks / "v" / "12" / "1.png")


def test_object_folders_without_numbers_are_counted(folders, make_squares):
    folders.image("v", "0.png")
    for name, ids in (("dog10", [1]), ("dog2", [0, 1])):
        folders.mask(f"v/{name}", "0.png", make_squares(ids))
    video = open_index(folders.config()).video(0)
    assert video.object_ids == (1, 2)
    assert video.object_folders == ("dog2", "dog10")


def test_masks_match_frames_by_stem_and_number(folders, make_squares):
    folders.image("v", "7.jpg")
    folders.image("v", "frame_x.jpg")
    folders.mask("v", "00007.png", make_squares([1]))
    folders.mask("v", "frame_x.png", make_squares([1]))
    folders.mask("v", "99.png", make_squares([1]))
    index = open_index(folders.config())
    assert index.video(0).mask_files == ("00007.png", "frame_x.png")
    assert "not used: masks without a frame: 1 (v/99.png)" in index.describe()


def test_hidden_files_are_ignored(folders):
    folders.video("v", [[1]])
    (folders.images / "v" / "._00000.png").write_bytes(b"mac")
    (folders.masks / "v" / "._00000.png").write_bytes(b"mac")
    (folders.images / ".cache").mkdir()
    assert len(open_index(folders.config()).video(0).frame_files) == 1


def test_file_list_chooses_videos(folders, tmp_path):
    for name in ("a", "b", "c.d"):
        folders.video(name, [[1]])
    listed = tmp_path / "list.txt"
    listed.write_text("# mine\nc.d\r\n\na\n")
    assert names(open_index(folders.config(file_list_txt=str(listed)))) == ["a", "c.d"]


def test_listed_video_that_is_missing_names_list_and_folder(folders, tmp_path):
    folders.video("a", [[1]])
    listed = tmp_path / "list.txt"
    listed.write_text("a\nb\n")
    with pytest.raises(DataError) as caught:
        open_index(folders.config(file_list_txt=str(listed)))
    assert all(part in str(caught.value) for part in ("1 video ", ": b", str(listed), str(folders.images)))


@pytest.mark.parametrize(
    "line", ["/data/masks/a", "../masks/a", "a/../../b", "a/..", ".", "C:\\data\\a", "s3://bucket/a"]
)
def test_lines_of_a_list_that_lead_out_of_the_folder_are_refused(folders, tmp_path, line):
    folders.video("a", [[1]])
    (tmp_path / "list.txt").write_text(f"a\n{line}\n")
    with pytest.raises(DataError, match="expected a name below the dataset's folder") as caught:
        open_index(folders.config(file_list_txt=str(tmp_path / "list.txt")))
    assert str(tmp_path / "list.txt") in str(caught.value)
    assert line in str(caught.value)


def test_a_device_is_no_list(folders, tmp_path):
    (tmp_path / "list.txt").symlink_to("/dev/null")
    with pytest.raises(DataError, match=r"list\.txt is a device, expected a text file"):
        open_index(folders.config(file_list_txt=str(tmp_path / "list.txt")))


def test_listed_names_may_be_relative_paths_in_any_spelling(folders, tmp_path):
    for name in ("a", "b"):
        folders.video(name, [[1]])
    for side in (folders.images, folders.masks):
        (side / "part").mkdir()
        (side / "a").rename(side / "part" / "a")
    (tmp_path / "list.txt").write_text("./part//a/\nb/\n")
    assert names(open_index(folders.config(file_list_txt=str(tmp_path / "list.txt")))) == ["b", "part/a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "names no video"), ("a\na\n", "names a 2 times"), ("a\na/\n./a\n.//a\n", "names a 4 times")],
)
def test_useless_lists_are_refused(folders, tmp_path, text, message):
    folders.video("a", [[1]])
    listed = tmp_path / "list.txt"
    listed.write_text(text)
    with pytest.raises(DataError, match=message):
        open_index(folders.config(file_list_txt=str(listed)))


def refusal(folders, **changes) -> str:
    with pytest.raises(DataError) as caught:
        open_index(folders.config(**changes))
    return str(caught.value)


@pytest.mark.parametrize("key", ["img_folder", "gt_folder", "file_list_txt"])
def test_missing_folder_or_list_names_the_key_and_the_path(folders, key):
    folders.video("a", [[1]])
    message = refusal(folders, **{key: "/no/such/place"})
    assert f"dataset.{key}" in message
    assert "/no/such/place" in message


def test_folder_without_videos(folders):
    assert "has no folder in it" in refusal(folders)


def test_video_without_frames(folders, make_squares):
    (folders.images / "a").mkdir()
    folders.mask("a", "0.png", make_squares([1]))
    assert str(folders.images / "a") in refusal(folders)


def test_video_without_mask_folder_is_an_error(folders):
    folders.video("a", [[1]])
    folders.video("b", [None])
    message = refusal(folders)
    assert str(folders.masks / "b") in message
    assert "file_list_txt" in message


def test_no_video_with_a_mask_says_that_the_folders_do_not_match(folders):
    folders.video("b", [None])
    message = refusal(folders)
    assert "no video has masks" in message
    assert str(folders.images) in message
    assert str(folders.masks) in message


def test_masks_under_other_names_than_the_frames(folders, make_squares):
    folders.image("a", "0.png")
    folders.mask("a", "m0.png", make_squares([1]))
    message = refusal(folders)
    assert "m0.png" in message
    assert "0.png" in message


def test_two_frames_of_one_name(folders):
    folders.video("a", [[1]])
    folders.image("a", "00000.jpg")
    assert "00000.jpg" in refusal(folders)


def test_mask_files_beside_object_folders(folders, make_squares):
    folders.video("a", [[1]])
    folders.mask("a/1", "00000.png", make_squares([1]))
    assert "both mask files" in refusal(folders)


def test_every_problem_is_listed_at_once(folders):
    for n in range(14):
        folders.video(f"v{n}", [[1]])
        (folders.masks / f"v{n}" / "00000.png").write_bytes(b"broken")
    message = refusal(folders)
    assert message.count("is not a PNG file") == 10
    assert "and 4 more" in message


def test_a_cure_that_several_problems_share_is_said_once(folders):
    for name in ("a", "b", "c"):
        folders.video(name, [[1], None])
        folders.image(name, "00001.png", height=20)
    message = refusal(folders)
    assert message.count("another size than its first") == 3
    assert message.count("\nResize them") == 1


def test_unreadable_masks_are_left_out_and_counted_within_the_bound(folders):
    for n in range(4):
        folders.video(f"v{n}", [[1]])
    (folders.masks / "v2" / "00000.png").write_bytes(b"broken")
    changes = {"on_bad_sample": "skip", "max_bad_fraction": 0.25}
    index = open_index(folders.config(**changes))
    assert names(index) == ["v0", "v1", "v3"]
    assert "left out: 1 video with files that cannot be used: v2" in index.describe()
    assert "max_bad_fraction=0.2 of 4 videos" in refusal(folders, on_bad_sample="skip", max_bad_fraction=0.2)
