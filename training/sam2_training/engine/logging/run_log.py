"""The run's log: terminal, log file, metrics.csv and loggers, on all ranks."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from iopath.common.file_io import g_pathmgr
from torch import Tensor

from sam2_training.core.columns import ColumnKind
from sam2_training.core.ranks import Ranks
from sam2_training.core.text import shown_lines
from sam2_training.engine.heartbeat import Heartbeat
from sam2_training.engine.logging.console import Console, StepLines, banner_text, value_table
from sam2_training.engine.logging.loggers import LOGGERS, service_openers
from sam2_training.engine.logging.sink import Logger, Values, step_scalars, validation_scalars
from sam2_training.engine.logging.table import FILE_NAME, MetricsTable, metric_rows, run_columns
from sam2_training.engine.logging.zero_gradients import ZeroGradients
from sam2_training.engine.plan import RunPlan
from sam2_training.engine.task import Picture


@dataclass(frozen=True)
class _Step:
    """One optimizer step, its losses still on the device."""

    step: int
    losses: Tensor
    """[K] float32: the losses in the order of their columns, the gradient norm, the number of steps left out."""
    lr: float
    num_samples: int
    seconds: float
    data_wait_seconds: float


class RunLog:
    """Everything a run shows and records: the main rank for all, other ranks keep a file for their messages.

    Losses stay on the device until the next reading: on CPU every step, elsewhere where the plan logs. `step` and
    `flush` must be called by all ranks alike. A log that cannot be written (disk full) is reported once and does not
    end the run.
    """

    def __init__(
        self,
        log_dir: Path,
        ranks: Ranks,
        plan: RunPlan,
        samples: str,
        task_columns: Mapping[str, ColumnKind],
        stream: TextIO | None = None,
    ) -> None:
        """What older starts logged beyond the plan's first step is removed.

        samples: the column that counts the samples of a step. task_columns: what the task's own values mean. stream:
        where lines appear, by default stdout.
        """
        self.folder = log_dir
        self._ranks, self._plan, self._samples = ranks, plan, samples
        self._columns = run_columns(samples, task_columns)
        self._console = Console(stream or sys.stdout, plan.config.trainer.enable_progress_bar and ranks.is_main)
        g_pathmgr.mkdirs(str(log_dir / "logs"))
        self._logger = logging.getLogger("sam2_training")
        self._handlers = self._attach_handlers()
        self._heartbeat = Heartbeat(log_dir / "logs")
        self._lines = StepLines(self._console, plan, samples, self._show_in_bar)
        self._warned: set[str] = set()
        self._table: MetricsTable | None = None
        self._loggers: dict[str, Logger] = {}
        if ranks.is_main:
            self._table = MetricsTable(log_dir / FILE_NAME, plan.start_step, self._columns)
            chosen = LOGGERS if plan.config.trainer.logger else {}
            self._loggers = {name: open_logger(log_dir, plan.start_step) for name, open_logger in chosen.items()}
            if plan.config.trainer.logger:
                self._open_services()
        rows = metric_rows(log_dir) if self._table is not None else []  # as cut to the steps before this start
        self._zero_gradients = ZeroGradients(samples, rows)
        self._last_step = plan.start_step
        self._names: list[str] = []
        self._pending: list[_Step] = []
        self._clock = time.perf_counter()

    def banner(self, lines: Sequence[str]) -> None:
        """Shows the start banner; a line that starts with "# " is a heading."""
        for line in banner_text(lines, self._console.stream):
            self.message(line)
        self.beat(self._plan.start_step)
        self.restart_clock()

    def end_banner(self, lines: Sequence[str]) -> None:
        """Shows the end banner, below the bar; with the number of steps without a gradient, if there were any."""
        self._console.close()
        for line in banner_text([*lines, *self._zero_gradients.summary(self._last_step)], self._console.stream):
            self.message(line)

    def message(self, text: str) -> None:
        """Shows a line and keeps it in the log; on ranks other than the main one it is only kept."""
        self._logger.info("%s", text)

    def warning(self, text: str) -> None:
        """Shows and keeps a warning, from whichever rank."""
        self._logger.warning("%s", text)

    def failure(self, what: str, error: Exception) -> None:
        """Warns of a failure that does not matter to the training; its traceback is only in the log file."""
        self.warning(f"{what}: {error or type(error).__name__}. Training continues.")
        self._logger.info("%s", "".join(traceback.format_exception(error)), extra={"only_in_file": True})

    def write_once(self, path: Path, write: Callable[[], object]) -> None:
        """Has a small file of the run written, from one rank only."""
        if self._ranks.is_main:
            with self._failure_reported(path.name):
                write()

    def step(
        self,
        step: int,
        losses: dict[str, Tensor],
        grad_norm: Tensor,
        lr: float,
        num_samples: int,
        data_wait_seconds: float,
        left_out_steps: Tensor,
    ) -> None:
        """Takes note of a finished optimizer step (counted from 1); reads and shows it when a reading is due.

        losses: scalars on the device, by name, "total" among them. num_samples: of this rank in this step, equally many
        on all. data_wait_seconds: how much of the step went by waiting for the loader. left_out_steps: steps of the
        run so far in which something was not finite; a scalar on the device.
        """
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        if not self._names:
            self._names = ["total", *(name for name in losses if name != "total")]
            undeclared = [name for name in self._names if name not in self._columns]
            if undeclared:
                raise ValueError(f"the task's columns() do not declare {', '.join(undeclared)}, which a step returned")
        on_device = [*(losses[name] for name in self._names), grad_norm, left_out_steps]
        values = torch.stack([value.detach().float() for value in on_device])
        everywhere = num_samples * self._ranks.world_size
        self._pending.append(_Step(step, values, lr, everywhere, seconds, data_wait_seconds))
        if self.reading_due(step):
            self.flush()
        self._last_step = step
        self._lines.advance(step)
        self.beat(step)

    def validation(self, step: int, values: Values, standing: str) -> None:
        """Shows and keeps the numbers of a validation. standing: how it compares with those before."""
        self.flush()
        self.message(f"validation after step {step}{f' ({standing})' if standing else ''}")
        for line in value_table({name.removeprefix("val_"): value for name, value in values.items()}):
            self.message(line)
        self._log_scalars(step, validation_scalars(values))
        self.restart_clock()

    def restart_clock(self) -> None:
        """The next step's duration begins now: what went by since the last step was not part of one."""
        self._clock = time.perf_counter()

    def picture(self, name: str, picture: Picture, step: int) -> None:
        """Keeps a picture where loggers do that."""
        for logger_name, logger in self._loggers.items():
            with self._failure_reported(logger_name):
                logger.picture(name, picture, step)

    def summary(self, step: int, values: Values) -> None:
        """Hands the last validation of a run that has finished after `step` to the loggers."""
        for name, logger in self._loggers.items():
            with self._failure_reported(name):
                logger.summary(step, validation_scalars(values))

    def beat(self, step: int) -> None:
        """Gives a heartbeat to whoever supervises the run; call it about once a minute during long work."""
        if self._ranks.is_main:
            with self._failure_reported("heartbeat"):
                self._heartbeat.beat(step)

    def reading_due(self, step: int) -> bool:
        """Whether `step` will read the losses from the device, and so wait for it."""
        return self._plan.logs_at(step) or self._ranks.device.type == "cpu"

    def flush(self) -> None:
        """Reads, shows and writes all steps noted so far. Before a checkpoint: what it covers must be on disk."""
        if not self._pending:
            return
        steps, self._pending = self._pending, []
        # In double, so that the float32 mean does not depend on the order in which ranks are added up, which may change
        # with the number of steps read at once.
        means = self._ranks.mean_tensor(torch.stack([step.losses for step in steps]).double()).float().cpu()
        if not self._ranks.is_main or self._table is None:
            return
        table, memory = self._table, memory_mebibytes(self._ranks.device)
        for step, losses in zip(steps, means.tolist(), strict=True):
            values = self._row(step, losses, memory)
            self._lines.log(step.step, values)
            if warning := self._zero_gradients.warning(step.step, values["grad_norm"]):
                self.warning(warning)
            with self._failure_reported(FILE_NAME):
                table.log(step.step, values)
            self._log_scalars(step.step, step_scalars(values, self._columns))

    def close(self) -> None:
        """Closes files and the bar. Never talks to other ranks, so it is safe after any error."""
        self._console.close()
        for name, logger in self._loggers.items():
            with self._failure_reported(name):
                logger.close()
        self._loggers = {}
        for handler in self._handlers:
            self._logger.removeHandler(handler)
            with self._failure_reported("the log file"):
                handler.close()
        self._handlers = []

    def _row(self, step: _Step, losses: Sequence[float], memory: float) -> dict[str, float]:
        """A row of metrics.csv without the step: {column: value}, in the order of columns."""
        return {
            "epoch": (step.step - 1) // self._plan.steps_per_epoch + 1,
            **dict(zip([*self._names, "grad_norm"], losses[:-1], strict=True)),
            "lr": step.lr,
            self._samples: step.num_samples,
            "step_seconds": step.seconds,
            "data_wait_seconds": step.data_wait_seconds,
            "memory_mib": memory,
            "left_out_steps": losses[-1],
        }

    def _log_scalars(self, step: int, scalars: Values) -> None:
        for name, logger in self._loggers.items():
            with self._failure_reported(name):
                logger.log(step, scalars)

    def _open_services(self) -> None:
        for name, open_logger in service_openers(self._plan.config, self.folder, self._plan.start_step).items():
            with self._failure_reported(name):
                self._loggers[name] = open_logger()

    def _show_in_bar(self, text: str) -> None:
        """Shows a line where no bar shows the same, and keeps it in the log."""
        self._logger.info("%s", text, extra={"in_bar": True})

    @contextlib.contextmanager
    def _failure_reported(self, what: str) -> Iterator[None]:
        """For writing to one of the logs: its failure, whatever it is, is reported once, and training continues."""
        try:
            yield
        except Exception as error:
            if what not in self._warned:
                self._warned.add(what)
                self._console.line(f"WARNING: {what} of {self.folder} cannot be written: {error}. Training continues.")

    def _attach_handlers(self) -> list[logging.Handler]:
        config, level = self._plan.config, logging.getLevelNamesMapping()[self._plan.config.log_level]
        path = self.folder / "logs" / f"rank_{self._ranks.rank}.log"
        if self._ranks.is_main:
            path = self.folder / ("logs/train.log" if config.output_dir is None else "training.log")
        file_handler = _LogFile(path)
        file_handler.setFormatter(_LogFormatter("%(asctime)s %(levelname)s %(message)s"))
        console_handler = _ConsoleHandler(self._console, "" if self._ranks.is_main else f"[rank {self._ranks.rank}] ")
        console_handler.setLevel(logging.INFO if self._ranks.is_main else logging.WARNING)
        self._logger.setLevel(level)
        self._logger.propagate = False
        for handler in (file_handler, console_handler):
            self._logger.addHandler(handler)
        return [file_handler, console_handler]


class _LogFormatter(logging.Formatter):
    """Records as text; names in them cannot command the terminal that the log is read on."""

    def format(self, record: logging.LogRecord) -> str:
        return shown_lines(super().format(record))


class _LogFile(logging.FileHandler):
    """A log file that appears with its first record; a full disk does not disturb the run (the terminal has it all)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8", delay=True)

    def _open(self) -> Any:
        return g_pathmgr.open(self.baseFilename, "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        """Drops the record: logging's default, a traceback per record, would bury the run's lines."""


class _ConsoleHandler(logging.Handler):
    """Shows records on the console; progress lines only where no bar shows the same."""

    def __init__(self, console: Console, prefix: str) -> None:
        super().__init__()
        self._console, self._prefix = console, prefix

    def emit(self, record: logging.LogRecord) -> None:
        in_bar = getattr(record, "in_bar", False) and self._console.shows_bar
        if in_bar or getattr(record, "only_in_file", False):
            return
        level = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        self._console.line(f"{self._prefix}{level}{record.getMessage()}")


def memory_mebibytes(device: torch.device) -> float:
    """Memory of this process, MiB: the peak that torch allocated on a GPU, or what is resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20
