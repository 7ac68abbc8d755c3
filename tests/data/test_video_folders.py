"""Folders of mask PNGs beside video files."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from sam2_training.core.errors import ConfigError, DataError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.folders import FolderSource
from sam2_training.data.index import build_index, open_index
from sam2_training.data.source import UNLABELED
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

from tests.data.encoded_videos import CLOSED_GROUPS, decoded, encode


def write_masks(folder: Path, numbers: range | tuple[int, ...]) -> None:
    folder.mkdir(parents=True)
    for t in numbers:
        mask = np.zeros((48, 64), np.uint8)
        mask[: t + 1, :10] = 3
        cv2.imwrite(str(folder / f"{t:05d}.png"), mask)


@pytest.fixture
def videos(tmp_path: Path) -> tuple[Path, Path]:
    """Video files a.mp4 and B.MOV, with masks for some of their frames."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    encode(images / "a.mp4", number=20, options=CLOSED_GROUPS)
    shutil.copy(encode(tmp_path / "b.mov", "mpeg4", number=20), images / "B.MOV")
    write_masks(masks / "a", (0, 4, 19))
    write_masks(masks / "B", range(20))
    return images, masks


def test_masks_belong_to_the_frames_of_their_numbers(videos: tuple[Path, Path], tmp_path: Path) -> None:
    images, masks = videos
    (images / "readme.md").write_text("")
    config = DatasetConfig(img_folder=str(images), gt_folder=str(masks))
    index = open_index(config, tmp_path)
    assert list(index.names) == ["a", "B"]
    video = index.video(0)
    assert video.frame_files[4] == "00004"
    assert video.areas[[0, 4, 5, 19], 0].tolist() == [10, 50, UNLABELED, 200]
    assert index.masks(video, 4, (3,), (48, 64)).sum() == 50
    for t in (17, 3, 4):
        assert np.array_equal(index.frame(video, t), decoded(images / "a.mp4")[t])
    assert index.source.where(video, 4).image == str(images / "a.mp4")
    assert "not used: files beside the videos: 1 (readme.md)" in index.describe()
    index.source.close()
    assert index.frame(index.video(1), 19).shape == (48, 64, 3)


def test_a_list_of_names_and_a_single_file(videos: tuple[Path, Path], tmp_path: Path) -> None:
    images, masks = videos
    (tmp_path / "names.txt").write_text("B\n")
    source = FolderSource(str(images), str(masks))
    assert list(build_index(source, str(tmp_path / "names.txt")).names) == ["B"]
    (tmp_path / "names.txt").write_text("B\nc\n")
    with pytest.raises(DataError, match="1 video in the list that the dataset does not have: c"):
        build_index(source, str(tmp_path / "names.txt"))
    assert list(build_index(FolderSource(str(images / "a.mp4"), str(masks))).names) == ["a"]
    (tmp_path / "files.txt").write_text("images/B.MOV\n")
    assert list(build_index(FolderSource(str(tmp_path / "files.txt"), str(masks))).names) == ["B"]


def test_a_changed_file_and_another_decoder_are_read_again(
    videos: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, masks = videos
    source = FolderSource(str(images), str(masks))
    video = source.facts("a")
    stamp = source.stamp(video)
    assert FolderSource(str(images), str(masks)).stamp(video) == stamp
    monkeypatch.setattr("sam2_training.data.video_frames.DECODER", "pyav 99")
    assert source.stamp(video) != stamp
    monkeypatch.undo()
    encode(images / "a.mp4", number=20, options={"crf": "40"})
    assert source.stamp(video) != stamp
    assert FolderSource(str(images), str(masks)).facts("a").content != video.content


def test_masks_that_are_numbered_from_1_are_refused(videos: tuple[Path, Path]) -> None:
    images, masks = videos
    shutil.rmtree(masks / "B")
    write_masks(masks / "B", range(1, 21))
    with pytest.raises(
        DataError, match=r"masks of video B are numbered up to 00020\.png without a 0, its 20 frames from"
    ):
        build_index(FolderSource(str(images), str(masks)))


def test_masks_of_another_size_than_the_video_are_refused(videos: tuple[Path, Path]) -> None:
    images, masks = videos
    cv2.imwrite(str(masks / "a" / "00004.png"), np.ones((24, 32), np.uint8))
    with pytest.raises(DataError, match=r"24x32, its image 48x64[\s\S]*00004\.png[\s\S]*a\.mp4"):
        build_index(FolderSource(str(images), str(masks)))


def test_no_other_decoder_is_taken_in_its_place() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.decoder"):
        load_config("custom_finetune", ["dataset.decoder=torchcodec"], VosConfig)
    assert load_config("custom_finetune", ["dataset.decoder=pyav"], VosConfig).config.dataset.decoder == "pyav"
