"""The commands: which there are, and how each is started."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from sam2_training.core.places import PACKAGE

VERBS = ("train", "evaluate", "predict", "export", "demo", "health", "needs")


def run_script(verb: str) -> int:
    """Runs a verb for the script of that name in training/; the exit code."""
    leave_search_path()
    code: int = import_module(f"sam2_training.commands.{verb}").main()
    return code


def leave_search_path() -> None:
    """Takes the scripts' folder off `sys.path`: `evaluate`, for one, is also the name of a package of others."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != PACKAGE.parent]
