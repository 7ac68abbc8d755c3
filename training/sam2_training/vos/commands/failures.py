"""How a command says that it failed, and with which exit code."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sam2_training.core.errors import ConfigError, TrainingError, described
from sam2_training.core.files import why_not_writable

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""


def report_failure(error: BaseException) -> int:
    """Says on standard error what went wrong; the exit code of it. Raises `error` again if it was not expected."""
    if isinstance(error, TrainingError):
        print(described(error), file=sys.stderr)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        print("Interrupted; what was written is not complete.", file=sys.stderr)
        return EXIT_INTERRUPTED
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        print(f"Writing or reading failed: {error.strerror or error}{where}", file=sys.stderr)
        return TrainingError.exit_code
    raise error


def check_output_folder(folder: Path) -> None:
    """Makes the folder; raises ConfigError when this user may not write there. Called before hours of work."""
    reason = why_not_writable(folder)
    if reason is not None:
        raise ConfigError(
            f"--output: the folder {folder} cannot be written by user {os.getuid()}: {reason}. Give another"
        )
