"""Changes one expression of a module at a time, runs the tests that mirror the module, and prints what no test noticed.

    make mutants MODULE=core/cadence.py
    make mutants MODULE=engine/checkpoint ARGS="--tests tests/engine"

Changed are comparisons, numbers, True and False, and/or, and `not`. Everything happens in a copy of the repository, so
nothing has to be restored. A survivor is a missing test, or a change without effect, which a reader has to judge.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = Path("training") / "sam2_training"
OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
"""What a comparison becomes; an order keeps its direction, because tests miss the borders."""
LARGER = 1.1
"""Factor on a float; integers become the next one."""


@dataclass(frozen=True)
class Mutant:
    """A module with one expression changed."""

    line: int
    before: str
    after: str
    source: str
    """Of the whole module, without comments."""


def mutants_of(source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its syntax tree."""
    tree = ast.parse(source)
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            for place, node in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(node, ast.expr):
                    continue
                for changed in _changed(node):
                    _put(parent, name, place, changed)
                    yield Mutant(node.lineno, ast.unparse(node), ast.unparse(changed), ast.unparse(tree))
                    _put(parent, name, place, node)


def tests_of(module: Path, repository: Path) -> list[Path]:
    """The tests that mirror a module, relative to the repository: test_<name>*.py, else the whole folder."""
    folder = Path("tests") / module.relative_to(PACKAGE).parent
    found = sorted((repository / folder).glob(f"test_{module.stem}*.py"))
    return [path.relative_to(repository) for path in found] or [folder]


def _put(parent: ast.AST, name: str, place: int, node: ast.expr) -> None:
    value = getattr(parent, name)
    if isinstance(value, list):
        value[place] = node
    else:
        setattr(parent, name, node)


def _changed(node: ast.expr) -> Iterator[ast.expr]:
    """What one expression becomes in each mutant."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            operators = [*node.ops[:place], OPPOSITES[type(operator)](), *node.ops[place + 1 :]]
            yield ast.Compare(node.left, operators, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield ast.Constant(node.value * LARGER or 1.0)


def copy_repository(folder: Path) -> Path:
    """A copy of the project's files in a folder."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    copy = folder / "repository"
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy / name)
    return copy


def run_tests(tests: Sequence[Path], repository: Path, timeout_seconds: float | None = None) -> int | None:
    """pytest's exit code for the fast ones of some tests, up to the first failure; None after the time-out."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not gpu and not slow"]
    # Data is found where it would be without the copy. A module that changes twice within a second must not be cached.
    data = os.environ.get("SAM2_TEST_DATA", str(REPOSITORY.parent / "shared" / "data"))
    environment = {**os.environ, "SAM2_TEST_DATA": data, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [*command, *map(str, tests)],
        cwd=repository,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def try_module(module: Path, tests: Sequence[Path], repository: Path) -> int:
    """Tries every mutant of a module in a copy of the repository; prints and counts those that survive."""
    path = repository / module
    source = path.read_text()
    mutants = list(mutants_of(source))
    print(f"{module}: {len(mutants)} mutants, tests: {' '.join(map(str, tests))}", flush=True)
    began = time.monotonic()
    if mutants and (code := run_tests(tests, repository)) != 0:
        raise SystemExit(
            f"pytest {' '.join(map(str, tests))} ends with {code} on the unchanged module: mend that first"
        )
    # Generous, for a busy machine; what ends here is mostly a loop without end.
    timeout_seconds = 60 + 10 * (time.monotonic() - began)
    survivors = 0
    for mutant in mutants:
        path.write_text(mutant.source)
        code = run_tests(tests, repository, timeout_seconds)
        if code in (0, None):
            survivors += code == 0
            word = "survived" if code == 0 else f"no end within {timeout_seconds:.0f} s"
            print(f"  line {mutant.line}: {mutant.before}  ->  {mutant.after}: {word}", flush=True)
    path.write_text(source)
    print(f"  {survivors} of {len(mutants)} survived", flush=True)
    return survivors


def main() -> None:
    """Reads the command line and tries the modules one by one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("module", help="module or folder below training/sam2_training, such as core/cadence.py")
    parser.add_argument("--tests", type=Path, nargs="+", help="tests to run instead of those that mirror a module")
    arguments = parser.parse_args()
    wanted = REPOSITORY / PACKAGE / arguments.module
    modules = [wanted] if wanted.is_file() else sorted(wanted.rglob("*.py"))
    if not modules:
        parser.error(f"{PACKAGE / arguments.module} is neither a module nor a folder with modules")
    with tempfile.TemporaryDirectory(prefix="mutants_") as folder:
        copy = copy_repository(Path(folder))
        for path in modules:
            module = path.relative_to(REPOSITORY)
            try_module(module, arguments.tests or tests_of(module, copy), copy)


if __name__ == "__main__":
    main()
