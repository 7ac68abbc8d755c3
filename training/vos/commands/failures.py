"""How a command says that it failed, and with which exit code."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from training.core.errors import ConfigError, TrainingError

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""


def report_failure(error: BaseException) -> int:
    """Says on standard error what went wrong; the exit code of it. Raises `error` again if it was not expected."""
    if isinstance(error, ConfigError):
        print("\n".join(["Configuration error:", *(f"  {line}" for line in error.problems)]), file=sys.stderr)
        return error.exit_code
    if isinstance(error, TrainingError):
        print(f"{error.kind}: {error}", file=sys.stderr)
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return
        reason = "no permission"
    except OSError as error:
        reason = error.strerror or str(error)
    raise ConfigError(f"--output: the folder {folder} cannot be written by user {os.getuid()}: {reason}. Give another")
