"""train --check: everything that a run would refuse before its first step, on any machine, leaving nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from sam2_training.cli import main
from sam2_training.core.schema import as_dict
from sam2_training.tasks import load_config

from tests.small_datasets import Folders
from tests.tiny_checkpoint import SETTINGS, save_tiny

RANDOM = "model.checkpoint=null"


def check(*words: str) -> int:
    return main(["train", *SETTINGS, "--check", *words])


@pytest.fixture
def data(folders: Folders) -> list[str]:
    folders.video("cat", [[1], [1, 2], [2]])
    folders.video("dog", [[3], None, [3]])
    return [f"dataset.img_folder={folders.images}", f"dataset.gt_folder={folders.masks}"]


def test_prints_the_configuration_and_what_a_run_would_start_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert check(RANDOM) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown) == as_dict(load_config(SETTINGS[1], [*SETTINGS[2:], RANDOM]).config)
    assert "# network\n#   tiny at 64 px from random weights\n" in shown
    assert "# optimizer\n#   AdamW" in shown
    assert "# data" not in shown, "the folders of this recipe do not exist, and nobody asked for them"
    assert list(tmp_path.iterdir()) == []


def test_with_data_it_says_what_the_index_says(
    data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert check(RANDOM, "--data", "dataset.val_fraction=0.5", *data) == 0
    shown = capsys.readouterr().out
    assert "# data\n#   videos: 1 (" in shown
    assert "#   validation: 1 video(s), 3 frames, prompt mask" in shown
    assert list((tmp_path / "empty").iterdir()) == []


def test_with_data_wrong_files_are_found(data: list[str], folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    (folders.masks / "cat" / "00001.png").write_bytes(b"not a picture")
    assert check(RANDOM, *data) == 0
    assert check(RANDOM, "--data", *data) == 6
    assert "cat/00001.png" in capsys.readouterr().err


def test_a_run_does_not_take_what_is_of_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SETTINGS, RANDOM, "--data"]) == 2
    assert "--data goes with --check" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["model.name=sam2.1_hiera_q", RANDOM], 2, "did you mean sam2.1_hiera_"),
        (["model.checkpoint=nowhere.pt"], 4, "the checkpoint nowhere.pt does not exist"),
        (["model.checkpoint=auto"], 2, "no weights are published for the architecture"),
        ([RANDOM, "model.trainable_modules=[memory_atention]"], 2, "memory_attention"),
        ([RANDOM, "optimizer.lr_groups=[{pattern: encoder.*, lr: 1}]"], 2, "matches no parameter of the model"),
        ([RANDOM, "optimizer.type=Adam_W"], 2, "AdamW"),
    ],
    ids=str,
)
def test_what_the_network_its_weights_or_the_optimizer_refuse_is_found(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*words) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_names_and_shapes_of_weights_are_compared_with_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_tiny(tmp_path / "weights.pt")
    assert check(f"model.checkpoint={path}") == 0
    content = torch.load(path, weights_only=True)
    content["model"]["no_mem_embed"] = content["model"].pop("no_mem_embed")[..., :-1]
    torch.save(content, path)
    assert check(f"model.checkpoint={path}") == 4
    assert "1 of another shape (no_mem_embed [1, 1," in capsys.readouterr().err


@pytest.mark.parametrize(
    "prompt", ["click:²", "click:1000", "click:0", "click:007", "click:٣", "interactive:", "mask:1", ""]
)
def test_one_grammar_of_prompts_everywhere(prompt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "must be mask, box, click:N or interactive:N, with N from 1 to 999"
    assert check(RANDOM, f"evaluation.prompt='{prompt}'") == 2
    assert words in capsys.readouterr().err
    if prompt:
        weights, output = str(save_tiny(tmp_path / "w.pt")), str(tmp_path / "out")
        given = ["--checkpoint", weights, "--prompt", prompt, "--output", output]
        assert main(["evaluate", *SETTINGS, *given]) == 2
        assert words in capsys.readouterr().err
        assert not Path(output).exists()


@pytest.mark.parametrize("prompt", ["mask", "box", "click:1", "click:999", "interactive:8"])
def test_every_prompt_of_the_grammar_passes(prompt: str) -> None:
    assert check(RANDOM, f"evaluation.prompt='{prompt}'") == 0
