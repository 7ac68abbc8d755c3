"""Below output_dir: a start's folder, that of the newest run that it continues or a new one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sam2_training.core.errors import EXIT_FINISHED, ConfigError
from sam2_training.core.files import write_text
from sam2_training.core.rank_variables import rank_numbers
from sam2_training.core.schema import as_dict, flatten
from sam2_training.engine.checkpoint.last_save import read_last_save
from sam2_training.engine.config import LoadedConfig, RunConfig
from sam2_training.engine.folder_lock import FolderInUseError, folder_lock
from sam2_training.engine.processes import STATUS, read_status

ConfigT = TypeVar("ConfigT", bound=RunConfig)
RESOLVED = "config_resolved.yaml"
SECONDS_TO_DECIDE = 60.0
"""How long a start waits for another one that is choosing its folder."""


def in_run_folder(loaded: LoadedConfig[ConfigT]) -> LoadedConfig[ConfigT]:
    """The configuration with launcher.experiment_log_dir set to the start's folder below output_dir; it is made.

    Unchanged without an output_dir, and where the folder is named. To be called before ranks are started, so that all
    of them have the same folder. Two starts at once find the same one, and `folder_lock` refuses the second. Raises
    ConfigError in ranks that nobody told the folder.
    """
    config = loaded.config
    if config.output_dir is None or config.launcher.experiment_log_dir is not None:
        return loaded
    rank = rank_numbers()
    if rank is not None and rank.world_size > 1:
        raise ConfigError(
            f"output_dir={config.output_dir}: processes that torchrun starts cannot agree on a new folder; let this "
            "command start them (--num-gpus), or name the run's folder with launcher.experiment_log_dir"
        )
    root = Path(config.output_dir)
    with _alone(root):
        folder = unfinished_run(loaded) or _new_folder(root)
        found = replace(config, launcher=replace(config.launcher, experiment_log_dir=str(folder)))
        loaded = replace(loaded, config=found)
        write_text(folder / ".hydra" / "config.yaml", loaded.composed_yaml)
        write_text(folder / RESOLVED, loaded.resolved_yaml())  # by which the next start knows it
    return loaded


def unfinished_run(loaded: LoadedConfig[Any]) -> Path | None:
    """The folder of the newest run below output_dir with the same configuration that has not finished; None: none."""
    for path in sorted(Path(loaded.config.output_dir or "").glob(f"*/*/{RESOLVED}"), reverse=True):
        if _is_same_run(loaded, path) and not _has_finished(path.parent):
            return path.parent
    return None


def _is_same_run(loaded: LoadedConfig[Any], path: Path) -> bool:
    """Whether a run's resolved configuration is this one, but for keys that a resumed run may change."""
    import yaml

    try:
        saved = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    if not isinstance(saved, dict):
        return False
    before, now = flatten(saved), flatten(as_dict(loaded.config))
    kept = all(before.get(key) == now.get(key) for key in loaded.config.identity())
    return kept and not loaded.differences_from(saved)[0]


def _has_finished(folder: Path) -> bool:
    last, status = read_last_save(folder), read_status(folder / STATUS)
    return (last is not None and last.finished) or (status is not None and status[0] == EXIT_FINISHED)


def _new_folder(root: Path) -> Path:
    now = datetime.now().astimezone()
    name, number = now.strftime("%H-%M-%S"), 1
    while True:
        folder = root / now.strftime("%Y-%m-%d") / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """While one start chooses below `root`, others wait."""
    give_up = time.monotonic() + SECONDS_TO_DECIDE
    while True:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(folder_lock(root))
            except FolderInUseError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)
                continue
            yield
            return
