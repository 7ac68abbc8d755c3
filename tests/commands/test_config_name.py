"""Hydra's spellings: --config-name, --config-path, --cfg job and group overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from sam2_training.cli import main

SETTINGS = ("dataset.dataset_type=synthetic", "dataset.val_fraction=0", "trainer.max_steps=3")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    """The configuration that `train --cfg job` prints."""
    assert main(["train", *words, "--cfg", "job"]) == 0
    found: dict[str, object] = yaml.safe_load(capsys.readouterr().out)
    return found


def test_the_resolved_configuration_is_printed_and_nothing_is_started(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    by_c = printed(capsys, "-c", "custom_finetune", *SETTINGS)
    assert by_c["trainer"]["max_steps"] == 3  # type: ignore[index]
    for words in (["--config-name", "custom_finetune"], ["--config-name=custom_finetune", "--resolve"]):
        assert printed(capsys, *words, *SETTINGS) == by_c
    assert not list(tmp_path.iterdir())


def test_a_folder_of_recipes_may_be_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("defaults:\n  - /sam2.1_training/custom_finetune@_here_\n  - _self_\nseed: 99\n")
    words = ["--config-path", str(tmp_path), "--config-name", "own", *SETTINGS]
    assert printed(capsys, *words)["seed"] == 99
    assert main(["train", "--config-path", str(tmp_path), "--config-name", "other"]) == 2
    assert f"--config-path {tmp_path}: there is no other.yaml in it" in capsys.readouterr().err


def test_groups_are_chosen_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "-c", "coco_video", "dataset=coco_val", "dataset.data_path=a.json", "data.val_path=b.json")
    assert found["dataset"]["data_path"] == "a.json"  # type: ignore[index]
    assert found["val_dataset"]["data_path"] == "b.json"  # type: ignore[index]
    found = printed(capsys, "-c", "custom_finetune", "prompts=box-only", "transforms=none", *SETTINGS)
    assert found["prompts"]["prompt_types"] == ["box"]  # type: ignore[index]
    assert found["transforms"]["horizontal_flip_prob"] == 0  # type: ignore[index]


def test_what_only_goes_together_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-c", "custom_finetune", "--resolve", *SETTINGS]) == 2
    assert "--resolve goes with --cfg job" in capsys.readouterr().err
