"""Clips: whole videos with label states, from every layout that training reads, and their faults by name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.data.config import SyntheticConfig
from sam2_training.data.formats.synthetic import synthetic_video
from sam2_training.vos.clips.config import VosDatasetConfig
from sam2_training.vos.evaluation.clips import EvaluationClip, first_frame

from tests.vos.opened import open_clips

HEIGHT, WIDTH = 24, 32


class Videos:
    """A dataset folder under construction."""

    def __init__(self, root: Path) -> None:
        self.images, self.masks = root / "images", root / "masks"
        self.images.mkdir()
        self.masks.mkdir()

    def frame(self, video: str, t: int) -> Path:
        path = self.images / video / f"{t:05d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.random.default_rng(t).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        return path

    def mask(self, folder: str, t: int, ids: np.ndarray) -> Path:
        path = self.masks / folder / f"{t:05d}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(ids.astype(np.uint8)).save(path)
        return path

    def video(self, name: str, ids_per_frame: list[list[int] | None]) -> None:
        """One frame per entry: the ids its mask shows, or None for no mask."""
        for t, ids in enumerate(ids_per_frame):
            self.frame(name, t)
            if ids is not None:
                self.mask(name, t, squares(ids))

    def config(self, **changes: object) -> VosDatasetConfig:
        return VosDatasetConfig(img_folder=str(self.images), gt_folder=str(self.masks), **changes)  # type: ignore[arg-type]

    def clips(self, **changes: object) -> list[EvaluationClip]:
        return open_clips(self.config(**changes), 0, None)


def squares(ids: list[int]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for n, object_id in enumerate(ids):
        mask[4:12, 2 + 9 * n : 10 + 9 * n] = object_id
    return mask


@pytest.fixture
def videos(tmp_path: Path) -> Videos:
    return Videos(tmp_path)


def test_a_clip_is_the_whole_video_with_its_label_states(videos: Videos) -> None:
    videos.video("a", [None, [3], None, [3, 7], []])
    (clip,) = videos.clips()
    assert (clip.name, clip.num_frames, clip.object_ids) == ("a", 5, (3, 7))
    assert clip.frame_names == ("00000", "00001", "00002", "00003", "00004")
    assert clip.labeled.tolist() == [[False] * 2, [True] * 2, [False] * 2, [True] * 2, [True] * 2]
    assert [first_frame(clip, n) for n in (0, 1)] == [1, 3]
    truth = clip.ground_truth(3)
    assert np.array_equal(truth, np.stack([squares([3, 7]) == i for i in (3, 7)]))
    assert not clip.ground_truth(4).any()
    assert clip.read_frame(2).shape == (HEIGHT, WIDTH, 3)


def test_one_folder_per_object_may_label_and_overlap_as_it_likes(videos: Videos) -> None:
    for t in range(3):
        videos.frame("a", t)
        videos.mask("a/1", t, 255 * squares([1]))
    videos.mask("a/2", 1, squares([1, 1]))
    videos.mask("a/3", 2, squares([]))
    (clip,) = videos.clips()
    assert clip.object_ids == (1, 2, 3)
    assert clip.labeled.tolist() == [[True, False, False], [True, True, False], [True, False, True]]
    assert [first_frame(clip, n) for n in (0, 1, 2)] == [0, 1, None]
    truth = clip.ground_truth(1)
    assert np.array_equal(truth[0], squares([1]) > 0)
    assert np.array_equal(truth[1], squares([1, 1]) > 0)
    assert not truth[2].any()


def test_sparse_labels_of_a_real_video(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("caps\n")
    folder = real_data / "vos"
    config = VosDatasetConfig(
        img_folder=str(folder / "JPEGImages"),
        gt_folder=str(folder / "Annotations"),
        file_list_txt=str(tmp_path / "list.txt"),
    )
    (clip,) = open_clips(config, 0, None)
    assert np.flatnonzero(clip.labeled.any(1)).tolist() == [0, 14, 33, 43, 66]
    assert [first_frame(clip, n) for n in (0, 1)] == [0, 33]
    assert clip.ground_truth(33).shape == (2, 853, 480)
    assert clip.ground_truth(33).any((1, 2)).tolist() == [True, True]


def test_generated_clips_are_training_s_videos_of_that_seed() -> None:
    made = SyntheticConfig(num_videos=3, num_frames=4, size=48, num_objects=2)
    clips = open_clips(VosDatasetConfig(dataset_type="synthetic", synthetic=made), 11, None)
    assert [clip.name for clip in clips] == ["synthetic-0", "synthetic-1", "synthetic-2"]
    for number, clip in enumerate(clips):
        frames, masks = synthetic_video(11, number, made)
        assert clip.labeled.all()
        assert clip.object_ids == (1, 2)
        assert first_frame(clip, 0) == 0
        for t in range(4):
            assert np.array_equal(clip.read_frame(t), frames[t])
            assert np.array_equal(clip.ground_truth(t), masks[t])
            assert np.array_equal(clip.visible[t], masks[t].any((1, 2)))


def test_a_list_that_names_a_missing_video_is_refused(videos: Videos, tmp_path: Path) -> None:
    videos.video("a", [[1], [1]])
    (tmp_path / "list.txt").write_text("a\nghost\n")
    with pytest.raises(DataError, match="ghost") as raised:
        videos.clips(file_list_txt=str(tmp_path / "list.txt"))
    assert "list.txt" in str(raised.value)
    made = VosDatasetConfig(dataset_type="synthetic", file_list_txt=str(tmp_path / "list.txt"))
    with pytest.raises(DataError, match=r"2 videos in the list that the dataset does not have: a, ghost"):
        open_clips(made, 0, None)
    (tmp_path / "list.txt").write_text("")
    with pytest.raises(DataError, match=r"list\.txt names no video"):
        videos.clips(file_list_txt=str(tmp_path / "list.txt"))


def test_a_list_keeps_the_datasets_order(videos: Videos, tmp_path: Path) -> None:
    for name in ("v2", "v10", "v1"):
        videos.video(name, [[1]])
    (tmp_path / "list.txt").write_text("v10\nv1\n")
    assert [clip.name for clip in videos.clips(file_list_txt=str(tmp_path / "list.txt"))] == ["v1", "v10"]
    (tmp_path / "list.txt").write_text("synthetic-10\nsynthetic-2\n")
    made = VosDatasetConfig(dataset_type="synthetic", file_list_txt=str(tmp_path / "list.txt"))
    assert [clip.name for clip in open_clips(made, 0, None)] == ["synthetic-2", "synthetic-10"]


def test_a_video_whose_masks_are_all_empty_is_refused(videos: Videos) -> None:
    videos.video("a", [[1], [1]])
    videos.video("bare", [[], []])
    with pytest.raises(DataError, match="bare"):
        videos.clips()


def test_a_mask_of_another_size_is_named_with_its_image(videos: Videos) -> None:
    videos.video("a", [[1], [1]])
    path = videos.mask("a", 1, np.ones((HEIGHT, WIDTH + 8), np.uint8))
    with pytest.raises(DataError, match="24x40") as raised:
        videos.clips()
    assert str(path) in str(raised.value)
    assert str(videos.images / "a" / "00001.png") in str(raised.value)


@pytest.mark.parametrize("folder", ["a", "a/1"])
def test_a_mask_overwritten_after_indexing_is_noticed(videos: Videos, tmp_path: Path, folder: str) -> None:
    for t in range(2):
        videos.frame("a", t)
        videos.mask(folder, t, squares([1]))
    (clip,) = open_clips(videos.config(), 0, tmp_path / "run")
    path = videos.masks / folder / "00001.png"
    changed = squares([1])
    changed[0, 0] = 1
    path.write_bytes(videos.mask("elsewhere", 0, changed).read_bytes())  # in place: no modification time changes
    assert clip.ground_truth(0).any()
    with pytest.raises(DataError, match=r"has changed since .* object 1 has 65 pixels, expected 64: ") as raised:
        clip.ground_truth(1)
    assert str(path) in str(raised.value)
    assert clip.index.cache_path in str(raised.value)
