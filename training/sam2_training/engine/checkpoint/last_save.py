"""last_save.json: the step that a run saved last, kept beside its checkpoints/, so that their loss is noticed."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from sam2_training.core.errors import CheckpointError
from sam2_training.core.files import set_aside, write_text

FILE_NAME = "last_save.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LastSave:
    """What a run says of its newest checkpoint."""

    step: int
    finished: bool
    """Whether the run had ended by itself with it: nothing was left to do."""


def write_last_save(log_dir: Path, step: int, finished: bool) -> None:
    """Records that `step` is saved. A full disk is logged: the checkpoint itself is there."""
    path = log_dir / FILE_NAME
    try:
        write_text(path, json.dumps(asdict(LastSave(step, finished))) + "\n")
    except OSError as error:
        log.warning("%s cannot be written: %s", path, error)


def read_last_save(log_dir: Path) -> LastSave | None:
    """What the run's folder says; None if it says nothing. A damaged file is set aside with a warning."""
    path = log_dir / FILE_NAME
    try:
        content = json.loads(path.read_text())
        return LastSave(int(content["step"]), bool(content["finished"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        aside = set_aside(path, "corrupt")
        log.warning("%s is damaged (%s): renamed %s", path, error or type(error).__name__, aside.name)
        return None


def refuse_lost_checkpoints(log_dir: Path, folder: Path) -> None:
    """Raises CheckpointError for a run without any checkpoint whose record says that it had saved some."""
    saved = read_last_save(log_dir)
    if saved is None or saved.step == 0:
        return
    raise CheckpointError(
        f"the checkpoints of this run are gone: {log_dir / FILE_NAME} says that step {saved.step} was saved, and "
        f"{folder} {'holds none' if folder.is_dir() else 'is not there'}.\n"
        "Put them back (is a disk not mounted?), or name a copy with checkpoint.resume_from=<path>. To start again "
        f"from step 0, move {log_dir} away, or give another folder with launcher.experiment_log_dir."
    )
