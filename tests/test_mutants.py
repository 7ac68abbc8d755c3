"""scripts/mutants.py: what it changes, which tests it runs, and that it tells caught mutants from survivors."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.places import REPOSITORY

SCRIPT: dict[str, Any] = runpy.run_path(str(REPOSITORY / "scripts" / "mutants.py"))
MODULE = Path("training/sam2_training/core/size.py")
SOURCE = '''
def is_large(value: float) -> bool:
    """Whether a value is above 2."""
    return value > 2
'''


def test_comparisons_numbers_truth_values_and_connectives_are_changed() -> None:
    source = "a = 1 < x <= 2.5\nb = x is None and not y\nc = f(True, [0, 0.0], 'no', None)\n"
    assert [(m.line, m.before, m.after) for m in sorted(SCRIPT["mutants_of"](source), key=lambda m: m.line)] == [
        (1, "1 < x <= 2.5", "1 <= x <= 2.5"),
        (1, "1 < x <= 2.5", "1 < x < 2.5"),
        (1, "1", "2"),
        (1, "2.5", "2.75"),
        (2, "x is None and (not y)", "x is None or not y"),
        (2, "x is None", "x is not None"),
        (2, "not y", "y"),
        (3, "True", "False"),
        (3, "0", "1"),
        (3, "0.0", "1.0"),
    ]


def test_each_mutant_differs_from_the_module_in_one_place() -> None:
    sources = [mutant.source for mutant in SCRIPT["mutants_of"]("a = 1 < x\nb = not y\n")]
    assert sources == ["a = 1 <= x\nb = not y", "a = 1 < x\nb = y", "a = 2 < x\nb = not y"]


def test_tests_are_those_with_the_modules_name_or_the_whole_folder() -> None:
    package = Path("training/sam2_training")

    def tests_of(name: str) -> list[str]:
        return [str(path) for path in SCRIPT["tests_of"](package / name, REPOSITORY)]

    assert tests_of("core/cadence.py") == ["tests/core/test_cadence.py"]
    assert tests_of("engine/validation.py") == ["tests/engine/test_validation_schedule.py"]
    assert tests_of("report/axes.py") == ["tests/report"]


def test_survivors_are_printed_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, tests = tmp_path / MODULE, tmp_path / "test_size.py"
    path.parent.mkdir(parents=True)
    path.write_text(SOURCE)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = training/sam2_training\nmarkers =\n  gpu\n  slow\n")
    tests.write_text("from core.size import is_large\n\ndef test_it():\n    assert is_large(4) and not is_large(1)\n")
    assert SCRIPT["try_module"](MODULE, [Path("test_size.py")], tmp_path) == 2
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  line 4: value > 2  ->  value >= 2: survived",
        "  line 4: 2  ->  3: survived",
        "  2 of 2 survived",
    ]
    tests.write_text(tests.read_text() + "    assert is_large(2.5) and not is_large(2)\n")
    assert SCRIPT["try_module"](MODULE, [Path("test_size.py")], tmp_path) == 0
    assert path.read_text() == SOURCE
    tests.write_text("def test_it():\n    assert False\n")
    with pytest.raises(SystemExit, match="ends with 1 on the unchanged module"):
        SCRIPT["try_module"](MODULE, [Path("test_size.py")], tmp_path)
