"""Which tests run in one process, and in which order, when several processes run them (`make test`)."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

CONTAINER, END_TO_END = "tests/container/", "tests/e2e/"


class Scheduling(LoadScopeScheduling):
    """Hands out the container's tests together, end-to-end tests one by one, the others file by file.

    The container's share one engine and the image, which is built once; a file's share its fixtures.
    """

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def scope_of(nodeid: str) -> str:
    """What is handed to one process as a whole."""
    if nodeid.startswith(CONTAINER):
        return CONTAINER
    return nodeid if nodeid.startswith(END_TO_END) else nodeid.split("::")[0]


def sort_longest_first(items: list[pytest.Item]) -> None:
    """Sorts tests so that nobody waits for a long one at the end; files stay whole."""
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}

    def rank(item: pytest.Item) -> int:
        if item.nodeid.startswith(CONTAINER):
            return 0
        if item.nodeid.startswith(END_TO_END):
            return 1
        return 2 if item.path in slow_files else 3

    items.sort(key=rank)
