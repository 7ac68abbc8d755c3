"""Moving pictures, read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sam2_training.core.errors import DataError, TrainingError
from sam2_training.pictures.overlay import overlay
from sam2_training.pictures.video import write_mp4, write_overlay_gif


def frames(count: int = 6, height: int = 48, width: int = 64) -> Iterator[npt.NDArray[np.uint8]]:
    for number in range(count):
        yield np.full((height, width, 3), 40 + 30 * number, np.uint8)


def masks(count: int = 6) -> list[npt.NDArray[np.bool_]]:
    one = np.zeros((2, 48, 64), bool)
    one[0, 8:40, 4:28] = True
    one[1, 8:40, 36:60] = True
    return [one] * count


def read(path: Path) -> list[npt.NDArray[np.uint8]]:
    reader = cv2.VideoCapture(str(path))
    pictures = []
    while (step := reader.read())[0]:
        pictures.append(cv2.cvtColor(step[1], cv2.COLOR_BGR2RGB))
    return pictures


def test_overlay_video_has_every_frame_in_order_and_in_color(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "clip.mp4"
    drawn = (overlay(frame, shown, [1, 5], numbers=True) for frame, shown in zip(frames(), masks(), strict=True))
    assert write_mp4(path, drawn, 10) == 6
    pictures = read(path)
    assert len(pictures) == 6
    corners = [int(picture[2, 2].mean()) for picture in pictures]
    assert np.abs(np.array(corners) - [40 + 30 * number for number in range(6)]).max() < 12
    orange, blue = pictures[0][24, 12].astype(int), pictures[0][24, 54].astype(int)
    assert orange[0] > orange[2] + 30
    assert blue[2] > blue[0] + 30
    assert [entry.name for entry in path.parent.iterdir()] == ["clip.mp4"]


def test_odd_sizes_become_even_by_a_line(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    write_mp4(path, frames(3, 47, 63), 5)
    assert [picture.shape for picture in read(path)] == [(48, 64, 3)] * 3


def test_no_frame_and_mixed_sizes_leave_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(DataError, match="no frame"):
        write_mp4(path, [], 5)
    with pytest.raises(DataError, match=r"frame 2 of .* is 32x24, the first is 64x48"):
        write_mp4(path, [*frames(2), *frames(1, 24, 32)], 5)
    assert not list(tmp_path.iterdir())


def test_missing_encoder_is_said_with_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam2_training.pictures.video.CODEC", "zzzz")
    with pytest.raises(TrainingError, match=r"no video writer for .*a\.mp4 \(64x48.*zzzz.*opencv-python-headless"):
        write_mp4(tmp_path / "a.mp4", frames(), 5)


def test_gif_has_every_frame_and_loops(tmp_path: Path) -> None:
    path = tmp_path / "clip.gif"
    write_overlay_gif(path, list(frames()), masks(), [1, 5], 10)
    with Image.open(path) as image:
        assert image.n_frames == 6  # type: ignore[attr-defined]
        assert image.info["duration"] == 100
        assert image.info["loop"] == 0
        assert image.size == (64, 48)


def test_gif_of_large_frames_is_shrunk(tmp_path: Path) -> None:
    path = tmp_path / "clip.gif"
    large = [np.zeros((480, 854, 3), np.uint8), np.full((480, 854, 3), 90, np.uint8)]
    write_overlay_gif(path, large, [np.zeros((0, 480, 854), bool)] * 2, [], 10)
    with Image.open(path) as image:
        assert image.size == (480, 270)


def test_gif_without_frames_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no frame"):
        write_overlay_gif(tmp_path / "a.gif", [], [], [], 5)
