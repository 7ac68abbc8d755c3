"""metrics.csv: one row for every optimizer step, append-only, and exact across a resume."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.columns import ColumnKind
from sam2_training.core.errors import DataError
from sam2_training.core.files import set_aside, write_bytes
from sam2_training.core.text import count, some
from sam2_training.engine.logging.sink import Values

if TYPE_CHECKING:
    import pandas

FILE_NAME = "metrics.csv"
HEADER = re.compile(rb"step(,[A-Za-z0-9_.-]+)+")
ROW = re.compile(rb"\d+(,(-?(\d+\.?\d*(e[-+]?\d+)?|inf)|nan))+")
log = logging.getLogger(__name__)

ENGINE_COLUMNS: dict[str, ColumnKind] = {
    "step": "step",
    "epoch": "step",
    "total": "loss",
    "grad_norm": "gradient",
    "lr": "rate",
    "step_seconds": "time",
    "data_wait_seconds": "time",
    "memory_mib": "memory",
    "left_out_steps": "step",
}
"""The columns that every run has. The task names the others: its losses, and the number of its samples in a step."""


def samples_column(sample_noun: str) -> str:
    """The column that counts the samples of a step."""
    return f"{sample_noun}s"


def run_columns(samples: str, task_columns: Mapping[str, ColumnKind]) -> dict[str, ColumnKind]:
    """What all values of a run mean, by name. samples: `samples_column`."""
    return {**ENGINE_COLUMNS, samples: "count", **task_columns}


class MetricsTable:
    """The metrics file of a run that continues after `start_step`: rows of later steps are removed at once.

    Equal floats are equal in the file. A row that could not be written (disk full) is kept and written with the next
    ones, and half a row never stays.
    """

    def __init__(self, path: Path, start_step: int, columns: Mapping[str, ColumnKind]) -> None:
        """columns: the kind of each value that may come, which decides how it is written."""
        self.path = path
        self._columns = columns
        self._header = ""
        self._end = 0
        """Bytes of the file that are good: header and whole rows."""
        self._unwritten: list[str] = []
        self._start_step = start_step
        if path.exists():
            self._continue(start_step)

    def log(self, step: int, values: Values) -> None:
        """Adds a row; the columns are those of the first row. Raises OSError when it cannot be written now."""
        self._unwritten.append(_csv_line([str(step), *(_text(values[name], self._columns[name]) for name in values)]))
        header = _csv_line(["step", *values])
        if header != self._header:
            self._begin(header)
        data = "".join(self._unwritten).encode()
        with g_pathmgr.open(str(self.path), "r+b") as file:
            file.seek(self._end)
            file.truncate()
            file.write(data)
        self._end += len(data)
        self._unwritten.clear()

    def _continue(self, start_step: int) -> None:
        """Keeps the whole rows up to `start_step`. A damaged file is set aside before, with a warning."""
        found = _parse(self.path.read_bytes()) if self.path.is_file() else _Parsed("", [], "it is not a file")
        kept = [line for step, line in found.rows if step <= start_step]
        newest = max((step for step, _ in found.rows), default=0)
        damage = found.damage or (f"it ends before step {start_step}" if newest < start_step else "")
        good = b"".join([found.header.encode(), *kept])
        if len(found.rows) > len(kept):
            repeated = count(len(found.rows) - len(kept), "step")
            log.info("%s of %s were not saved: they are done again", repeated, FILE_NAME)
        if damage:
            aside = set_aside(self.path, "corrupt")
            log.warning(
                "%s is damaged (%s): renamed %s; its whole rows are kept: %s",
                *(self.path, damage, aside.name, count(len(kept), "step")),
            )
            write_bytes(self.path, good)
        else:
            os.truncate(self.path, len(good))
        self._header, self._end = found.header, len(good)

    def _begin(self, header: str) -> None:
        """Starts a file with these columns; one with other columns is kept under another name."""
        if self._header:
            self.path.rename(self.path.with_name(f"metrics_until_step_{self._start_step}.csv"))
        with g_pathmgr.open(str(self.path), "wb") as file:
            file.write(header.encode())
        self._header, self._end = header, len(header.encode())


def read_metrics(log_dir: Path | str) -> pandas.DataFrame:
    """The metrics of a run, one row a step, in order of steps.

    Columns: step, epoch, total and the task's loss terms, grad_norm, lr, the number of samples under the task's name
    for them, step_seconds, data_wait_seconds, memory_mib, left_out_steps.
    Losses and grad_norm are float32 values: `.astype("float32")` gives them back bit for bit. Can be called during
    the run. Raises DataError if the folder holds no metrics.
    """
    import pandas  # takes 0.8 s, and training itself does not need it

    if not g_pathmgr.exists(str(Path(log_dir) / FILE_NAME)):
        raise DataError(f"no {FILE_NAME} in {log_dir}: give the folder of a training run, such as sam2_logs/<config>")
    rows = metric_rows(log_dir)
    # Not read_csv: its floats are exact only with an option that comes and goes between versions.
    columns = {name: [_number(row[name]) for row in rows] for name in (rows[0] if rows else ["step"])}
    table = pandas.DataFrame(columns)
    return table.drop_duplicates("step", keep="last").sort_values("step").reset_index(drop=True)


def metric_rows(log_dir: Path | str) -> list[dict[str, str]]:
    """The whole rows of a run's metrics as text; none before the first step."""
    path = str(Path(log_dir) / FILE_NAME)
    if not g_pathmgr.exists(path):
        return []
    with g_pathmgr.open(path, "rb") as file:
        found = _parse(file.read())
    if found.damage:
        raise DataError(f"{path} is damaged: {found.damage}. The next start of the run keeps its whole rows.")
    lines = [found.header, *(line.decode() for _, line in found.rows)]
    return list(csv.DictReader(io.StringIO("".join(lines))))


@dataclass(frozen=True)
class _Parsed:
    """The content of a metrics file."""

    header: str
    """With its line end; "" if it is not whole."""
    rows: list[tuple[int, bytes]]
    """(step, line) of each whole row."""
    damage: str
    """Why the file is not as it was written; "" if it is. Half a last line is normal: a kill, or just being written."""


def _parse(content: bytes) -> _Parsed:
    lines = content.split(b"\n")
    last = lines.pop()
    if not lines:
        return _Parsed("", [], "its first bytes are zeros" if b"\0" in last else "")
    header = lines[0]
    if not HEADER.fullmatch(header):
        return _Parsed("", [], "its first line is not a list of columns")
    rows: list[tuple[int, bytes]] = []
    bad = [len(lines) + 1] if b"\0" in last else []
    for number, line in enumerate(lines[1:], 2):
        if ROW.fullmatch(line) and line.count(b",") == header.count(b","):
            rows.append((int(line.split(b",", 1)[0]), line + b"\n"))
        else:
            bad.append(number)
    damage = f"not a row of numbers: line {some([str(number) for number in sorted(bad)])}" if bad else ""
    return _Parsed(header.decode() + "\n", rows, damage)


def _text(value: float, kind: ColumnKind) -> str:
    """A value as it stands in the file: losses as the shortest text that reads back as the same float32."""
    match kind:
        case "loss" | "score" | "gradient":
            return str(np.float32(value))
        case "rate":
            return repr(value)
        case "time":
            return f"{value:.6f}"
        case _:
            return f"{value:.0f}"


def _number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)


def _csv_line(values: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
