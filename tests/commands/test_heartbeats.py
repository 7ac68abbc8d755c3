"""Long commands are seen alive: by Docker's health check, or by whoever else asks `health`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sam2_training.cli import main
from sam2_training.commands import evaluate, export, predict

from tests.commands.conftest import NUM_FRAMES
from tests.tiny_checkpoint import CPU, SETTINGS, save_tiny


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
