"""The packages of an extra, exactly as locked, in a folder of their own: other tests do not see them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import REPOSITORY


def install_extra(name: str, folder: Path) -> None:
    """Installs requirements-<name>.lock into a folder for PYTHONPATH. Skips the test where no package registry is.

    CI sets SAM2_REQUIRE_EXTRAS, and then a failure to install is one of the test.
    """
    lock = REPOSITORY / f"requirements-{name}.lock"
    command = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--python", sys.executable, "--target", str(folder), "--requirement", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0 and "SAM2_REQUIRE_EXTRAS" not in os.environ:
        pytest.skip(f"the extra {name} cannot be installed here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
