"""docs/promises.md names every promise once, and claims tests only where there are some."""

from __future__ import annotations

import re

import pytest

from tests.places import REPOSITORY

PAGE = (REPOSITORY / "docs" / "promises.md").read_text()
ROWS = {int(row[1:].split("|")[0].strip()[1:]): row for row in PAGE.splitlines() if re.match(r"\| R\d+ \|", row)}
TESTS = {
    int(number)
    for path in (REPOSITORY / "tests").rglob("test_*.py")
    for name in re.findall(r"def (test_r\d{2}_\w+)", path.read_text())
    for number in re.findall(r"(?:^test_|_and_)r(\d{2})_", name)
}


def test_every_promise_is_listed() -> None:
    assert list(ROWS) == list(range(1, 26))


@pytest.mark.parametrize("number", range(1, 26))
def test_a_promise_has_the_tests_that_its_row_claims(number: int) -> None:
    claims = f"-k r{number:02d}" in ROWS[number]
    assert claims == (number in TESTS)
