"""trainer.enable_progress_bar in the commands that show progress."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sam2_training.cli import main

from tests.terminal import Terminal
from tests.tiny_checkpoint import CPU, SETTINGS, save_tiny

GENERATED = "dataset={dataset_type: synthetic, synthetic: {num_videos: 1, num_frames: 3, size: 64, num_objects: 1}}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("weights") / "checkpoint.pt")


def predict_words(folder: Path) -> list[str]:
    (folder / "clip").mkdir()
    for t in range(3):
        Image.fromarray(np.full((48, 64, 3), 40 * t, np.uint8)).save(folder / "clip" / f"{t}.png")
    return ["predict", str(folder / "clip"), "--box", "1:10,8,40,36", "--no-overlay"]


def evaluate_words(folder: Path) -> list[str]:
    return ["evaluate", GENERATED, f"launcher.experiment_log_dir={folder / 'run'}"]


@pytest.mark.parametrize("words_of", [predict_words, evaluate_words])
def test_a_bar_is_shown_on_a_terminal_unless_the_setting_says_no(
    words_of, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*words_of(tmp_path), *SETTINGS, CPU, "--checkpoint", str(checkpoint)]
    for setting, has_bar in ((True, True), (False, False)):
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        output = tmp_path / f"out_{setting}"
        assert main([*words, "--output", str(output), f"trainer.enable_progress_bar={str(setting).lower()}"]) == 0
        assert ("100%|" in stream.getvalue()) is has_bar
        assert ("3 frames in 0:0" in stream.getvalue()) is not has_bar
