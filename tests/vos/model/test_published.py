"""Published weights: where they are looked for, and the command that fetches them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.core.ranks import Ranks
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model import published
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.names import PUBLISHED, resolve_network
from sam2_training.vos.model.published import (
    download_command,
    initial_checkpoint,
    published_files,
    published_name,
)
from sam2_training.vos.task import VosTask


def test_every_published_network_has_its_file_in_the_table() -> None:
    names = [resolve_network(key).checkpoint_name for key in PUBLISHED]
    assert names == list(published_files())
    assert all(len(file.sha256) == 64 and file.num_bytes > 10**8 for file in published_files().values())


def test_automatic_weights_are_the_published_file_in_either_checkpoints_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, repository = tmp_path / "here", tmp_path / "repository"
    (here / "checkpoints").mkdir(parents=True)
    repository.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(published, "PROJECT_CHECKPOINTS", repository)
    config = ModelConfig(name="b+", checkpoint="auto")
    with pytest.raises(CheckpointError, match=r"download\.sh.* sam2\.1_hiera_base_plus\.pt") as caught:
        initial_checkpoint(config)
    assert str(here / "checkpoints") in str(caught.value)
    assert str(repository) in str(caught.value)
    for folder in (repository, here / "checkpoints"):  # the nearer one wins
        (folder / "sam2.1_hiera_base_plus.pt").touch()
        assert initial_checkpoint(config) == str(folder / "sam2.1_hiera_base_plus.pt")


def test_a_given_checkpoint_and_none_are_taken_as_they_are() -> None:
    assert initial_checkpoint(ModelConfig(name="t", checkpoint="some/file.pt")) == "some/file.pt"
    assert initial_checkpoint(ModelConfig(name="t", checkpoint=None)) is None


def test_automatic_weights_of_an_unpublished_architecture_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match="no weights are published"):
        initial_checkpoint(ModelConfig(name="architecture/tiny.yaml", checkpoint="auto"))


def test_the_container_s_weights_folder_is_looked_into_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "sam2.1_hiera_tiny.pt").touch()
    monkeypatch.setattr(published, "CONTAINER_CHECKPOINTS", mounted)
    assert initial_checkpoint(ModelConfig(name="t")) == str(mounted / "sam2.1_hiera_tiny.pt")


def test_only_automatic_weights_have_a_published_name() -> None:
    assert published_name(ModelConfig(name="b+")) == "sam2.1_hiera_base_plus.pt"
    assert published_name(ModelConfig(name="b+", checkpoint=None)) is None


def test_the_download_command_names_the_folder_unless_it_is_the_usual_one(tmp_path: Path) -> None:
    assert download_command("a.pt", tmp_path).endswith(f"download.sh --folder {tmp_path} a.pt")
    assert download_command("a.pt").endswith("download.sh a.pt")


def test_a_run_that_continues_opens_without_weights_to_start_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "checkpoint_folders", lambda: [tmp_path])

    def open_task(*overrides: str) -> VosTask:
        asked = ["model.name=t", "model.checkpoint=auto", *overrides]
        return VosTask(load_config("sam2.1_training/demo", asked, VosConfig).config, Ranks(), tmp_path)

    with pytest.raises(CheckpointError, match="no weights of"):
        open_task()
    open_task("checkpoint.resume_from=some/checkpoint.pt")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_00000003.pt").touch()
    open_task()
