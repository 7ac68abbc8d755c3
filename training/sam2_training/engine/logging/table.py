"""metrics.csv: one row for every optimizer step, append-only, and exact across a resume."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.columns import ColumnKind
from sam2_training.core.errors import DataError
from sam2_training.engine.logging.sink import Values

if TYPE_CHECKING:
    import pandas

FILE_NAME = "metrics.csv"

ENGINE_COLUMNS: dict[str, ColumnKind] = {
    "step": "step",
    "epoch": "step",
    "total": "loss",
    "grad_norm": "gradient",
    "lr": "rate",
    "step_seconds": "time",
    "data_wait_seconds": "time",
    "memory_mib": "memory",
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
        if g_pathmgr.exists(str(path)):
            with g_pathmgr.open(str(path), "r+b") as file:
                content: bytes = file.read()
                self._header, self._end = _good_part(content, start_step)
                file.truncate(self._end)
        self._start_step = start_step

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
    for them, step_seconds, data_wait_seconds, memory_mib.
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
        content: bytes = file.read()
    whole_lines = content[: content.rfind(b"\n") + 1]  # the last line may be in the making
    return list(csv.DictReader(io.StringIO(whole_lines.decode())))


def _good_part(content: bytes, last_step: int) -> tuple[str, int]:
    """Header line, and length in bytes of header and whole rows up to `last_step`; ("", 0) without a whole header."""
    lines = content.splitlines(keepends=True)
    if not lines or not lines[0].startswith(b"step,") or not lines[0].endswith(b"\n"):
        return "", 0
    end = len(lines[0])
    for line in lines[1:]:
        step = line.split(b",", 1)[0]
        if not line.endswith(b"\n") or not step.isdigit() or int(step) > last_step:
            break
        end += len(line)
    return lines[0].decode(), end


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
