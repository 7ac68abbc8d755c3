"""Long commands are seen alive: by Docker's health check, or by whoever else asks `health`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sam2_training.cli import main
from sam2_training.commands import evaluate, export, predict

from tests.tiny_checkpoint import CPU, SETTINGS, save_tiny

NUM_FRAMES = 6


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by "begin" when a command begins its heartbeat, and by "beat" with each."""
    noted: list[str] = []

    @contextmanager
    def command_heartbeat() -> Iterator[Callable[[], None]]:
        noted.append("begin")
        yield lambda: noted.append("beat")

    for module in (evaluate, predict, export):
        monkeypatch.setattr(module, "command_heartbeat", command_heartbeat)
    return noted


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A folder with images/v and masks/v/1: a square that stands still."""
    frame, mask = np.full((48, 64, 3), 90, np.uint8), np.zeros((48, 64), np.uint8)
    frame[8:28, 8:28], mask[8:28, 8:28] = 200, 1
    for kind, pixels, suffix in (("images/v", frame, "jpg"), ("masks/v/1", mask, "png")):
        (tmp_path / kind).mkdir(parents=True)
        for t in range(NUM_FRAMES):
            Image.fromarray(pixels).save(tmp_path / kind / f"{t:05d}.{suffix}")
    return tmp_path


def test_evaluation_and_prediction_beat_with_every_frame(video: Path, beats: list[str]) -> None:
    weights = ("--checkpoint", str(save_tiny(video / "weights.pt")))
    data = (f"dataset.img_folder={video / 'images'}", f"dataset.gt_folder={video / 'masks'}")
    assert main(["evaluate", *SETTINGS, CPU, *weights, *data, "--output", str(video / "scores")]) == 0
    assert beats[0] == "begin"
    assert beats.count("beat") >= NUM_FRAMES
    beats.clear()
    words = (str(video / "images" / "v"), "--box", "1:8,8,28,28", "--output", str(video / "out"))
    assert main(["predict", *SETTINGS, CPU, *weights, *words]) == 0
    assert beats.count("beat") == NUM_FRAMES
    beats.clear()
    assert main(["export", *SETTINGS, CPU, *weights, "--output", str(video / "slim.pt")]) == 0
    assert beats == ["begin"]
