"""output_dir: a folder a run, and the same command again continues the newest one that is not finished."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from sam2_training.cli import main
from sam2_training.core.errors import ConfigError
from sam2_training.engine.config import LoadedConfig
from sam2_training.engine.folder_lock import folder_lock
from sam2_training.engine.output_dir import in_run_folder, unfinished_run
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

TINY_RUN = (
    *("-c", "sam2.1_training/demo", "trainer.accelerator=cpu", "trainer.limit_val_batches=0", "loader.batch_size=1"),
    *("dataset.synthetic.num_videos=4", "loader.num_workers=0", "scratch.num_frames=2", "trainer.log_every_n_steps=1"),
)


def load(folder: Path, *overrides: str) -> LoadedConfig[VosConfig]:
    return load_config("sam2.1_training/demo", [f"output_dir={folder}", *overrides], VosConfig)


def folder_of(folder: Path, *overrides: str) -> Path:
    return in_run_folder(load(folder, *overrides)).log_dir


def finish(run: Path, code: int = 0) -> None:
    (run / "run_status.json").write_text(json.dumps({"exit_code": code, "message": ""}))


def runs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.is_dir())


@pytest.mark.slow
def test_the_same_command_continues_and_after_its_end_begins_anew(tmp_path: Path) -> None:
    own = [f"output_dir={tmp_path / 'my runs'}", "save_dir=./checkpoints", "trainer.max_steps=3"]
    assert main(["train", *TINY_RUN, *own]) == 0
    (first,) = runs(tmp_path / "my runs")
    for name in ("config.yaml", ".hydra/config.yaml", "training.log", "checkpoints/checkpoint.pt", "metrics.csv"):
        assert (first / name).is_file(), name
    assert not (first / "logs" / "train.log").exists()
    assert yaml.safe_load((first / ".hydra" / "config.yaml").read_text())["trainer"]["max_steps"] == 3
    finish(first, 75)  # as if it had been stopped
    (first / "last_save.json").write_text('{"step": 3, "finished": false}')
    assert main(["train", *TINY_RUN, *own]) == 0
    assert runs(tmp_path / "my runs") == [first]
    assert "continues at step 3" in (first / "training.log").read_text()
    assert main(["train", *TINY_RUN, *own]) == 0
    assert len(runs(tmp_path / "my runs")) == 2


def test_a_run_is_known_by_its_configuration_but_for_what_a_resume_may_change(tmp_path: Path) -> None:
    first = folder_of(tmp_path)
    assert folder_of(tmp_path) == first
    assert folder_of(tmp_path, "loader.num_workers=0", "trainer.log_every_n_steps=7") == first
    others = [
        folder_of(tmp_path, override)
        for override in ("seed=8", "trainer.max_steps=7", "model.checkpoint=a.pt", "ckpt_path=b.pt")
    ]
    assert len({first, *others}) == 5
    assert folder_of(tmp_path, "seed=8") == others[0]
    finish(first, 1)
    assert folder_of(tmp_path) == first
    finish(first)
    assert folder_of(tmp_path) not in (first, *others)


def test_other_videos_are_another_run(tmp_path: Path) -> None:
    videos = ["dataset.dataset_type=video", "dataset.gt_folder=b"]
    first = folder_of(tmp_path, *videos, "dataset.img_folder=a")
    assert folder_of(tmp_path, *videos, "dataset.img_folder=c") != first
    assert folder_of(tmp_path, *videos, "dataset.img_folder=a") == first


def test_the_newest_of_several_is_continued(tmp_path: Path) -> None:
    first = folder_of(tmp_path)
    for name in ("2001-02-03/04-05-06", "2999-01-01/00-00-00"):
        copy = tmp_path / name
        copy.mkdir(parents=True)
        (copy / "config_resolved.yaml").write_text((first / "config_resolved.yaml").read_text())
    assert unfinished_run(load(tmp_path)) == tmp_path / "2999-01-01" / "00-00-00"


def test_a_damaged_configuration_is_not_continued(tmp_path: Path) -> None:
    first = folder_of(tmp_path)
    for text in ("{", "3", ""):
        (first / "config_resolved.yaml").write_text(text)
        assert unfinished_run(load(tmp_path)) is None


def test_two_starts_at_once_find_one_folder_and_the_second_is_refused(tmp_path: Path) -> None:
    found: list[Path] = []
    loaded = load(tmp_path)
    threads = [threading.Thread(target=lambda: found.append(in_run_folder(loaded).log_dir)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    with folder_lock(found[0]), pytest.raises(ConfigError, match="is in use by"), folder_lock(found[0]):
        pass


def test_the_named_folder_comes_first_and_without_output_dir_nothing_changes(tmp_path: Path) -> None:
    assert folder_of(tmp_path, f"launcher.experiment_log_dir={tmp_path / 'x'}") == tmp_path / "x"
    loaded = load(tmp_path)
    plain = replace(loaded, config=replace(loaded.config, output_dir=None))
    assert in_run_folder(plain) is plain
    assert runs(tmp_path) == []


def test_ranks_that_nobody_told_the_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(ConfigError, match=r"name the run's folder with launcher\.experiment_log_dir"):
        folder_of(tmp_path)
