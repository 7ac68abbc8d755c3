"""Where this project's own files are: in a checkout, or in an installed package."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
SCRIPTS = PACKAGE.parent
"""The scripts of the commands, in a checkout; with an installed package, a folder that is not ours."""
IS_CHECKOUT = (SCRIPTS.parent / "sam2_configs").is_dir() and (SCRIPTS / "run.py").is_file()
PROJECT = SCRIPTS.parent if IS_CHECKOUT else PACKAGE
"""What holds sam2_configs/ and checkpoints/: the checkout, or the package, which is installed with copies of both."""
CONFIG_ROOT = PROJECT / "sam2_configs"
"""Recipes and the groups that they are composed of."""


def start_words(verb: str) -> list[str]:
    """How a child process starts a verb: a script for Python, and the verb as its first argument.

    Never a file of this package: Python would put its folder first on the search path, and `engine/logging`, for one,
    before the standard library's. Raises RuntimeError if the package was installed without its command.
    """
    if IS_CHECKOUT:
        return [str(SCRIPTS / "run.py"), verb]
    for file in metadata.files("sam2-training") or ():
        if file.name == "sam2-training":
            return [str(Path(str(file.locate())).resolve()), verb]
    raise RuntimeError(f"the package at {PACKAGE} was installed without its command sam2-training; install it with pip")
