"""Fixtures and settings that all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders and groups the tests for several processes (`-n 2 --dist loadgroup --no-loadscope-reorder`).

    What needs the docker engine stays in one process, which builds the image once. End-to-end tests go one by one, the
    others file by file, so that a file's fixtures are made once. The longest come first: nobody waits for them at the
    end.
    """
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}

    def rank(item: pytest.Item) -> int:
        if "engine_environment" in getattr(item, "fixturenames", ()):
            return 0
        if item.path.parent.name == "e2e":
            return 1
        return 2 if item.path in slow_files else 3

    items.sort(key=rank)
    for item in items:
        if rank(item) != 1:
            item.add_marker(pytest.mark.xdist_group("docker" if rank(item) == 0 else item.path.name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests have measured: their property `shown`, which also comes from another process."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "shown" and report.when == "teardown":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small networks are fastest, and timings steadiest, on one thread."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(scope="session", autouse=True)
def hangups_count() -> None:
    """Started under nohup, this process and its children would ignore SIGHUP, and nothing could be said of it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real videos and masks: $SAM2_TEST_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("SAM2_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "vos" / "JPEGImages").is_dir():
        reason = f"no real test data at {folder}; set SAM2_TEST_DATA"
        if os.environ.get("SAM2_REQUIRE_TEST_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
