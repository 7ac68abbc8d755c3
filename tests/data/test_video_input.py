"""Frames of an mp4 and of a folder."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from sam2_training.core.errors import DataError
from sam2_training.data.formats.frame_folder import FrameFolder
from sam2_training.data.formats.video_file import VideoFile
from sam2_training.data.source import Video, VideoSource
from sam2_training.pictures.video import write_mp4


@pytest.fixture
def mp4(tmp_path: Path) -> Path:
    """Ten frames, each of one gray level: 10, 30, ... 190."""
    write_mp4(tmp_path / "gray.mp4", [np.full((48, 64, 3), 10 + 20 * t, np.uint8) for t in range(10)], 12.5)
    return tmp_path / "gray.mp4"


def opened(source: VideoSource) -> tuple[VideoSource, Video]:
    (name,) = source.videos()
    return source, source.facts(name)


def level(frame: np.ndarray) -> int:
    """Which of the ten frames it is."""
    return round((float(frame.mean()) - 10) / 20)


def test_frames_come_in_order_and_out_of_turn(mp4: Path) -> None:
    source, video = opened(VideoFile(mp4))
    assert (video.num_frames, source.frames_per_second(), video.name) == (10, 12.5, "gray")
    assert [level(source.frame(video, t)) for t in range(10)] == list(range(10))
    assert [level(source.frame(video, t)) for t in (3, 7, 2, 2, 9)] == [3, 7, 2, 2, 9]
    assert video.frame_names[7] == "00007"
    with pytest.raises(DataError, match="frame 10 of 10 cannot be decoded"):
        source.frame(video, 10)
    source.close()


def test_colors_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    write_mp4(tmp_path / "red.mp4", [red, red], 10)
    source, video = opened(VideoFile(tmp_path / "red.mp4"))
    frame = source.frame(video, 0)
    assert frame[..., 0].min() > 150
    assert frame[..., 2].max() < 50


@pytest.mark.parametrize(
    ("degrees", "matrix", "corner"),
    [
        (90, (0, 1, 0, -1, 0, 0, 48, 0), (0, -1)),
        (180, (-1, 0, 0, 0, -1, 0, 64, 48), (-1, -1)),
        (270, (0, -1, 0, 1, 0, 0, 0, 64), (-1, 0)),
    ],
)
def test_an_mp4_is_turned_as_players_show_it(
    tmp_path: Path, degrees: int, matrix: tuple[int, ...], corner: tuple[int, int]
) -> None:
    """The track's matrix turns the picture clockwise; its red upper left corner goes where players show it."""
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32, 0] = 220
    write_mp4(tmp_path / "turned.mp4", [stored] * 3, 10)
    content = bytearray((tmp_path / "turned.mp4").read_bytes())
    at = content.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2, version 0
    content[at : at + 36] = struct.pack(">9i", *(value << 16 for value in matrix), 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(content)
    source, video = opened(VideoFile(tmp_path / "turned.mp4"))
    for t in (0, 2, 1):  # the last one opens the file again
        frame = source.frame(video, t)
        assert frame.shape == ((64, 48, 3) if degrees % 180 else (48, 64, 3))
        y, x = (5 if place == 0 else -5 for place in corner)
        assert frame[y, x, 0] > 150
        assert frame[-y, -x, 0] < 50


def test_a_video_that_ends_before_its_header_says_is_refused(tmp_path: Path) -> None:
    """An AVI, whose header stands first: an mp4's stands last, so that a cut one cannot be opened at all."""
    writer = cv2.VideoWriter(str(tmp_path / "cut.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    noise = np.random.default_rng(0)
    for _ in range(40):
        writer.write(noise.integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    content = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"header says 40 frames, 1\d can be decoded"):
        VideoFile(tmp_path / "cut.avi")


def test_a_folder_is_read_in_natural_order_under_its_files_names(tmp_path: Path) -> None:
    for t in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"{t:03d}.png"), np.full((8, 8, 3), t, np.uint8))
    (tmp_path / "notes.txt").write_text("")
    source, video = opened(FrameFolder(tmp_path))
    assert video.frame_names == ("001", "002", "010")
    assert [int(source.frame(video, t)[0, 0, 0]) for t in range(3)] == [1, 2, 10]
    assert source.frames_per_second() is None


def test_a_video_of_enormous_frames_is_refused_before_one_is_decoded(
    mp4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam2_training.data.timeline.LARGEST_PIXELS", 48 * 64 - 1)
    monkeypatch.setattr("sam2_training.data.timeline._timeline", lambda *_: pytest.fail("read through"))
    with pytest.raises(DataError, match=r"frames are 48x64 .*, expected at most 3,071 pixels: .*gray\.mp4"):
        VideoFile(mp4)


def test_a_pipe_is_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    monkeypatch.setattr("av.open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(DataError, match=r"this is a named pipe, expected a video file: .*clip\.mp4"):
        VideoFile(tmp_path / "clip.mp4")
