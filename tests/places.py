"""Where the tests find the project, and the data that is kept beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = REPOSITORY / "training"
"""The folder of the commands' scripts, and of the package."""
TEST_DATA = Path(os.environ.get("SAM2_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
"""Real videos with masks; beside it, cases/ holds inputs that once failed."""


def require_test_data(found: bool, what: str) -> None:
    """Skips a test where data is not there; fails it where SAM2_REQUIRE_TEST_DATA=1 says that it must be (in CI)."""
    if found:
        return
    reason = f"no {what} at {TEST_DATA}; set SAM2_TEST_DATA"
    if os.environ.get("SAM2_REQUIRE_TEST_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
