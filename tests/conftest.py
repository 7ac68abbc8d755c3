"""Fixtures and settings that all tests share."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.places import TEST_DATA, require_test_data
from tests.scheduling import Scheduling, sort_longest_first
from tests.small_datasets import folders, make_squares, resize_only  # noqa: F401  # fixtures


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sort_longest_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Called where several processes run the tests; xdist's own groups by mark do nothing with pytest 9.2."""
    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests have measured: their property `shown`, which also comes from another process."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "shown" and report.when == "call":
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


@pytest.fixture
def check_delay(record_property: Callable[[str, object], None]) -> Callable[[str, float, float], None]:
    """check_delay(what, seconds, promised): prints a measured delay; fails only at ten times what was promised."""

    def check(what: str, seconds: float, promised: float) -> None:
        record_property("shown", f"{what}: {seconds:.1f} s (promised: {promised:g} s)")
        assert seconds < 10 * promised, f"{what} took {seconds:.1f} s, ten times the promised {promised:g} s"

    return check


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real videos and masks: $SAM2_TEST_DATA, or shared/data beside the repository."""
    require_test_data((TEST_DATA / "vos" / "JPEGImages").is_dir(), "real videos")
    return TEST_DATA
