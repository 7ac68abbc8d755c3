"""How a command reports a failure, and with which exit code."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from sam2_training.core.errors import EXIT_PREEMPTED, ConfigError, TrainingError, described
from sam2_training.core.files import why_not_writable
from sam2_training.core.terminal import say
from sam2_training.engine.config import LoadedConfig, RunConfig
from sam2_training.engine.run_folder import RUN_FILES, run_folder


def report_failure(error: BaseException) -> int:
    """Prints on standard error what went wrong; returns its exit code. Raises `error` again if it is unexpected."""
    if isinstance(error, TrainingError):
        say(described(error), sys.stderr)
        return error.exit_code
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        say(f"Writing or reading failed: {error.strerror or error}{where}", sys.stderr)
        return TrainingError.exit_code
    raise error


def report_stop() -> int:
    """Prints that the command was stopped on request; returns the exit code of that."""
    print("Stopped on request; the output is incomplete. Run the same command again.", file=sys.stderr)
    return EXIT_PREEMPTED


DISK_IS_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def require_writable(folder: Path, name: str, cure: str) -> None:
    """Makes the folder; raises ConfigError when this user cannot write there. Called before hours of work.

    name: of the folder in the message, such as "the run's folder".
    """
    reason = why_not_writable(folder)
    if reason in DISK_IS_FULL:
        raise ConfigError(f"{name} {folder} cannot be written: {reason}. Free some space there first")
    if reason is not None:
        raise ConfigError(f"{name} {folder} cannot be written by user {os.getuid()}: {reason}. {cure}")


def require_writable_output(folder: Path) -> None:
    """`require_writable` for the folder that --output names."""
    require_writable(folder, "--output: the folder", "Give another")


def claim_run_folder(loaded: LoadedConfig[RunConfig]) -> None:
    """Makes the run's folder and marks it as one; called before anything is read or written there.

    Raises ConfigError where the run would write over its inputs or over files that are not a run's, and where this
    user cannot write.
    """
    folder = run_folder(loaded)
    folder.check(RUN_FILES)
    cure = "Change its owner, or set launcher.experiment_log_dir to a folder of this user"
    require_writable(loaded.log_dir, "the run's folder", cure)
    folder.record(RUN_FILES)
