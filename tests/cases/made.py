"""Builds the datasets of cases/data/make_cases.py, which stands beside the test data."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from tests.places import TEST_DATA, require_test_data

MAKER = TEST_DATA.parent / "cases" / "data" / "make_cases.py"


def make_case(name: str, folder: Path) -> Path:
    """Writes the case into folder/<name>, with images/ and masks/ in it, and returns that folder.

    Skips the test where the maker is not there; see `require_test_data`.
    """
    maker = _maker()
    root = folder / name
    root.mkdir()
    maker.CASES[name](root)
    return root


def case_names() -> list[str]:
    """The cases there are, sorted. Skips like `make_case`."""
    return sorted(_maker().CASES)


def _maker() -> ModuleType:
    require_test_data(MAKER.is_file(), "cases/data/make_cases.py beside the test data")
    return _load_maker()


@cache
def _load_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_cases", MAKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
