"""Runs every benchmark and writes the results, with the machine named, into benchmarks/README.md: `make bench`.

A benchmark is a file bench_*.py beside this one. Called with --json PATH it writes a JSON list of rows there:
{"name", "unit", "stock", "ours", "target", "note"}. stock, target and note may be missing or null; target is the
largest value of ours that counts as reached. To run some only: benchmarks/run.py start epoch.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
REPORT = FOLDER / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
COLUMNS = ("benchmark", "stock", "ours", "ratio", "target", "reached", "note")


@dataclass(frozen=True)
class Row:
    """One measured quantity; smaller is better."""

    name: str
    unit: str
    ours: float | None
    stock: float | None = None
    target: float | None = None
    note: str = ""

    def cells(self) -> list[str]:
        """The row's cells, in the order of COLUMNS."""
        ratio = f"{self.stock / self.ours:.1f}x" if self.stock and self.ours else ""
        reached = "" if self.target is None or self.ours is None else ("yes" if self.ours <= self.target else "**no**")
        target = "" if self.target is None else f"<= {self.amount(self.target)}"
        return [self.name, self.amount(self.stock), self.amount(self.ours), ratio, target, reached, self.note]

    def amount(self, value: float | None) -> str:
        return (
            "" if value is None else f"{value:.3g} {self.unit}".strip() if value < 1000 else f"{value:.0f} {self.unit}"
        )


def main() -> int:
    """Runs the benchmarks named on the command line, or all; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description="Time ours against SAM 2's own training code.")
    parser.add_argument(
        "names", nargs="*", help="benchmarks to run, such as start; none: all, and the report is written"
    )
    parser.add_argument("--write", action="store_true", help="write the report although only some were run")
    arguments = parser.parse_args()
    chosen = [FOLDER / f"bench_{name}.py" for name in arguments.names] or sorted(FOLDER.glob("bench_*.py"))
    rows: list[Row] = []
    failed = False
    for path in chosen:
        print(f"running {path.name} ...", file=sys.stderr, flush=True)
        measured = run_benchmark(path)
        failed |= any(row.ours is None for row in measured)
        rows += measured
    text = table([list(COLUMNS), *(row.cells() for row in rows)])
    print(text)
    if arguments.write or not arguments.names:
        write_report(f"{machine()}\n\n{text}")
    return int(failed)


def run_benchmark(path: Path) -> list[Row]:
    """The rows that a benchmark prints; one row without a value when it fails."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "rows.json"
        command = [sys.executable, str(path), "--json", str(result)]
        ended = subprocess.run(command, cwd=FOLDER.parent, env={**os.environ, **one_thread}, check=False)
        if ended.returncode != 0 or not result.exists():
            return [Row(path.stem.removeprefix("bench_"), "", None, note=f"failed with exit code {ended.returncode}")]
        return [row_of(values) for values in json.loads(result.read_text())]


def row_of(values: dict[str, Any]) -> Row:
    """A row of a benchmark's JSON object."""
    known = ("stock", "target", "note")
    given = {key: values[key] for key in known if values.get(key) is not None}
    return Row(values["name"], values.get("unit", ""), values["ours"], **given)


def table(rows: list[list[str]]) -> str:
    """A Markdown table whose columns line up; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine() -> str:
    """A sentence that names the machine, the versions and the day."""
    cpu_info = Path("/proc/cpuinfo")
    models = (
        [line.split(":")[1].strip() for line in cpu_info.read_text().splitlines() if line.startswith("model name")]
        if cpu_info.exists()
        else []
    )
    model = models[0] if models else platform.processor() or platform.machine()
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "sam2"))
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return (
        f"Measured on {today}: CPU {model}, {os.cpu_count()} cores, {memory_gib:.0f} GiB; "
        f"Python {platform.python_version()}, {versions}."
    )


def write_report(text: str) -> None:
    """Replaces what stands between the two marks of benchmarks/README.md."""
    page = REPORT.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    REPORT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    raise SystemExit(main())
