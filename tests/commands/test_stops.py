"""R12 outside of training: every command hears a stop wherever it is, says so at once, and leaves with 75."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sam2_training.cli import main
from sam2_training.core.outputs import MANIFEST
from sam2_training.data import images
from sam2_training.data.images import read_mask

from tests.commands.conftest import NUM_FRAMES
from tests.tiny_checkpoint import CPU, SETTINGS, save_tiny

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture
def signal_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """signal_at(owner, name, number, call): sends this process a signal at the nth call of owner.name."""

    def set_up(owner: Any, name: str, number: int, call: int = 1) -> None:
        original, calls = getattr(owner, name), []

        def signalling(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == call:
                os.kill(os.getpid(), number)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, signalling)

    return set_up


def data(folder: Path) -> tuple[str, ...]:
    sources = (f"dataset.img_folder={folder / 'images'}", f"dataset.gt_folder={folder / 'masks'}")
    return (*sources, f"launcher.experiment_log_dir={folder / 'run'}")


def check_stopped(code: int, number: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert code == 75
    said = capfd.readouterr().err
    assert f"\n{signal.Signals(number).name}: stopping; a second signal leaves at once\n" in said
    assert said.endswith("Stopped on request; the output is incomplete. Run the same command again.\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_r12_while_the_dataset_is_indexed(
    video: Path, signal_at: Callable[..., None], capfd: pytest.CaptureFixture[str], number: int
) -> None:
    signal_at(images, "read_bytes", number)
    check_stopped(main(["train", *SETTINGS, CPU, "model.checkpoint=null", *data(video)]), number, capfd)
    assert '"exit_code": 75' in (video / "run" / "run_status.json").read_text()


@pytest.mark.parametrize("verb", ["train", "evaluate", "predict", "export"])
def test_r12_while_weights_are_read_which_are_not_taken_for_damaged(
    video: Path, signal_at: Callable[..., None], capfd: pytest.CaptureFixture[str], verb: str
) -> None:
    weights = save_tiny(video / "weights.pt")
    words = {
        "train": (*data(video), f"model.checkpoint={weights}"),
        "evaluate": (*data(video), "--checkpoint", str(weights)),
        "predict": (str(video / "images/v"), "--box", "1:8,8,28,28", "--checkpoint", str(weights), "--output"),
        "export": ("--checkpoint", str(weights), "--output"),
    }[verb]
    output = {"predict": (str(video / "out"),), "export": (str(video / "out.pt"),)}.get(verb, ())
    signal_at(torch, "load", signal.SIGTERM)
    check_stopped(main([verb, *SETTINGS, CPU, *words, *output]), signal.SIGTERM, capfd)
    assert not (video / "out.pt").exists()
    assert not list(video.rglob("*.corrupt"))


def test_r12_in_an_evaluation_what_was_written_before_stays_whole(
    video: Path, signal_at: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", *SETTINGS, CPU, *data(video), "--checkpoint", str(save_tiny(video / "weights.pt"))]
    output = video / "scores"
    assert main([*words, "--output", str(output)]) == 0
    scores = (output / "scores.csv").read_text()
    masks = sorted(output.rglob("*.png"))
    assert len(masks) == NUM_FRAMES
    capfd.readouterr()
    signal_at(Image.Image, "resize", signal.SIGUSR1, 5)  # the fifth frame is made ready, in a thread
    check_stopped(main([*words, "--output", str(output)]), signal.SIGUSR1, capfd)
    assert all(read_mask(str(path)).shape == (48, 64) for path in masks)
    half = [path.name for path in output.rglob("*") if path.name.startswith((".", "scores."))]
    assert half == [MANIFEST], "what is ours is still known"
    assert main([*words, "--output", str(output)]) == 0
    assert (output / "scores.csv").read_text() == scores


def test_r12_in_a_prediction_no_half_written_file_is_left(
    video: Path, signal_at: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--checkpoint", str(save_tiny(video / "weights.pt")), str(video / "images/v"), "--box", "1:8,8,28,28"]
    signal_at(Image.Image, "resize", signal.SIGINT, 4)
    code = main(["predict", *SETTINGS, CPU, *words, "--output", str(video / "out")])
    check_stopped(code, signal.SIGINT, capfd)
    files = [path for path in (video / "out").rglob("*") if path.is_file() and path.name != MANIFEST]
    assert all(read_mask(str(path)).shape == (48, 64) for path in files)


def test_r12_while_the_demos_start_weights_are_made(
    tmp_path: Path, signal_at: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    signal_at(torch, "manual_seed", signal.SIGUSR2)
    check_stopped(main(["demo", f"launcher.experiment_log_dir={tmp_path}"]), signal.SIGUSR2, capfd)
