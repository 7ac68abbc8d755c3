"""The run's log: terminal, train.log, metrics.csv and TensorBoard; the only place that asks who the main rank is."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from iopath.common.file_io import g_pathmgr
from torch import Tensor

from sam2_training.core.files import write_text
from sam2_training.core.ranks import Ranks
from sam2_training.core.text import duration
from sam2_training.engine.config import TrainerConfig
from sam2_training.engine.heartbeat import Heartbeat
from sam2_training.engine.logging.console import Console, banner_text, memory_text
from sam2_training.engine.logging.table import FILE_NAME, MetricsTable

RECENT_STEPS = 50
"""Steps whose mean duration the remaining time is estimated from."""


@dataclass(frozen=True)
class _Step:
    """One optimizer step, its losses still on the device."""

    step: int
    values: Tensor
    """[K] float32: the losses in the order of their columns, then the gradient norm."""
    lr: float
    clips: int
    seconds: float
    data_wait_seconds: float


class RunLog:
    """Everything a run tells, on all ranks: the main rank shows and writes, others keep a file for their messages.

    Losses stay on the device until the next reading: on CPU every step, elsewhere after the first step, every
    trainer.log_every_n_steps and after the last. `step` and `flush` must be called by all ranks alike.
    A log that cannot be written (disk full) is said once and does not end the run.
    """

    def __init__(
        self,
        log_dir: Path,
        ranks: Ranks,
        config: TrainerConfig,
        total_steps: int,
        steps_per_epoch: int,
        start_step: int,
        stream: TextIO | None = None,
    ) -> None:
        """start_step: steps already done; what older starts logged beyond it is removed. stream: default stdout."""
        self.folder = log_dir
        self._ranks, self._config = ranks, config
        self._total_steps, self._steps_per_epoch, self._start_step = total_steps, steps_per_epoch, start_step
        self._console = Console(stream or sys.stdout, config.enable_progress_bar and ranks.is_main)
        g_pathmgr.mkdirs(str(log_dir / "logs"))
        self._logger = logging.getLogger("sam2_training")
        self._handlers = self._attach_handlers()
        self._table = MetricsTable(log_dir / FILE_NAME, start_step) if ranks.is_main else None
        self._heartbeat = Heartbeat(log_dir / "logs")
        self._board: Any = None
        self._said: set[str] = set()
        self._names: list[str] = []
        self._pending: list[_Step] = []
        self._since_line: list[dict[str, float]] = []
        self._progress = ""
        self._recent_seconds: deque[float] = deque(maxlen=RECENT_STEPS)
        self._clock = time.perf_counter()

    def banner(self, lines: Sequence[str]) -> None:
        """Shows the start banner; a line that starts with "# " is a heading."""
        for line in banner_text(lines, self._console.stream):
            self.message(line)
        self.beat(self._start_step)
        self._clock = time.perf_counter()

    def end_banner(self, lines: Sequence[str]) -> None:
        """Shows the end banner, below the bar."""
        self._console.close()
        for line in banner_text(lines, self._console.stream):
            self.message(line)

    def message(self, text: str) -> None:
        """Shows a line and keeps it in the log; on ranks other than the main one it is only kept."""
        self._logger.info("%s", text)

    def warning(self, text: str) -> None:
        """Shows and keeps a warning, from whichever rank."""
        self._logger.warning("%s", text)

    def write_once(self, path: Path, text: str) -> None:
        """Writes a text file of the run, whole or not at all, from one rank only."""
        if self._ranks.is_main:
            write_text(path, text)

    def step(
        self,
        step: int,
        losses: dict[str, Tensor],
        grad_norm: Tensor,
        lr: float,
        num_clips: int,
        data_wait_seconds: float,
    ) -> None:
        """Takes note of a finished optimizer step (counted from 1); reads and shows it when a reading is due.

        losses: scalars on the device, by name, "total" among them. num_clips: of this rank in this step, equally many
        on all. data_wait_seconds: how much of the step went by waiting for the loader.
        """
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        self._recent_seconds.append(seconds)
        self._names = self._names or ["total", *(name for name in losses if name != "total")]
        values = torch.stack([*(losses[name].detach().float() for name in self._names), grad_norm.detach().float()])
        clips = num_clips * self._ranks.world_size
        self._pending.append(_Step(step, values, lr, clips, seconds, data_wait_seconds))
        if self.reading_due(step):
            self.flush()
        self._console.advance(step, self._progress)
        self.beat(step)

    def validation(self, step: int, values: dict[str, float], leading: Sequence[str]) -> None:
        """Shows and keeps the numbers of a validation. leading: metrics that are the best so far."""
        self.flush()
        best = f"  (best {', '.join(leading)})" if leading and step else ""
        numbers = "  ".join(f"{name.removeprefix('val_')} {value:.4f}" for name, value in values.items())
        self.message(f"validation after step {step}:  {numbers}{best}")
        if self._ranks.is_main:
            self._try("tensorboard", lambda: self._add_scalars(step, values))
        self._clock = time.perf_counter()  # the next step's duration does not count it

    def picture(self, name: str, picture: Any, step: int) -> None:
        """Keeps a picture, uint8 [H, W, 3], in TensorBoard."""
        if self._ranks.is_main:
            self._try("tensorboard", lambda: self._opened_board().add_image(name, picture, step, dataformats="HWC"))

    def _add_scalars(self, step: int, values: dict[str, float]) -> None:
        board = self._opened_board()
        for name, value in values.items():
            board.add_scalar(f"validation/{name.removeprefix('val_')}", value, step)

    def beat(self, step: int) -> None:
        """Gives a heartbeat to whoever supervises the run; call it about once a minute during long work."""
        if self._ranks.is_main:
            self._try("heartbeat", lambda: self._heartbeat.beat(step))

    def reading_due(self, step: int) -> bool:
        """Whether `step` will read the losses from the device, and so wait for it."""
        return self._line_due(step) or self._ranks.device.type == "cpu"

    def flush(self) -> None:
        """Reads, shows and writes all steps noted so far. Before a checkpoint: what it covers must be on disk."""
        if not self._pending:
            return
        steps, self._pending = self._pending, []
        # In double, so that the float32 mean does not depend on the order in which ranks are added up, which may change
        # with the number of steps read at once.
        means = self._ranks.mean_tensor(torch.stack([step.values for step in steps]).double()).float().cpu()
        if not self._ranks.is_main or self._table is None:
            return
        table, memory = self._table, memory_mebibytes(self._ranks.device)
        rows = [self._row(step, row, memory) for step, row in zip(steps, means.numpy(), strict=True)]
        self._since_line += [{key: float(value) for key, value in row.items()} for row in rows]
        self._tell(steps[-1].step)
        self._try("metrics.csv", lambda: table.append(rows))
        self._try("tensorboard", lambda: self._write_board(rows))

    def close(self) -> None:
        """Closes files and the bar. Never talks to other ranks, so it is safe after any error."""
        self._console.close()
        if self._board is not None:
            self._try("tensorboard", self._board.close)
        for handler in self._handlers:
            self._logger.removeHandler(handler)
            handler.close()
        self._handlers = []

    def _line_due(self, step: int) -> bool:
        first, last = step == self._start_step + 1, step == self._total_steps
        return first or last or step % self._config.log_every_n_steps == 0

    def _row(self, step: _Step, means: Any, memory: float) -> dict[str, str]:
        """A row of metrics.csv. str() of a float32 is the shortest text that reads back as the same float32."""
        epoch = (step.step - 1) // self._steps_per_epoch + 1
        return {
            "step": str(step.step),
            "epoch": str(epoch),
            **{name: str(value) for name, value in zip([*self._names, "grad_norm"], means, strict=True)},
            "lr": repr(step.lr),
            "clips": str(step.clips),
            "step_seconds": f"{step.seconds:.6f}",
            "data_wait_seconds": f"{step.data_wait_seconds:.6f}",
            "memory_mib": f"{memory:.0f}",
        }

    def _tell(self, step: int) -> None:
        """Brings the progress text up to date, and says it as a line when one is due."""
        rows = self._since_line
        mean = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
        clips_per_second = mean["clips"] / max(mean["step_seconds"], 1e-9)
        waiting = 100 * mean["data_wait_seconds"] / max(mean["step_seconds"], 1e-9)
        left = (self._total_steps - step) * sum(self._recent_seconds) / len(self._recent_seconds)
        speed = f"{clips_per_second:.3g} clips/s  wait {waiting:.0f} %  {memory_text(rows[-1]['memory_mib'])}"
        lr = f"lr {rows[-1]['lr']:.2e}"
        self._progress = f"loss {mean['total']:.4f}  {lr}  {speed}  ETA {duration(left)}"
        self._console.start_bar(self._total_steps, step, self._progress)
        if not self._line_due(step):
            return
        parts = "  ".join(f"{name.removeprefix('loss_')} {mean[name]:.4f}" for name in self._names[1:])
        epochs = -(-self._total_steps // self._steps_per_epoch)
        text = (
            f"step {step:>{len(str(self._total_steps))}}/{self._total_steps}  epoch {rows[-1]['epoch']:.0f}/{epochs}  "
            f"loss {mean['total']:.4f}  {parts}  grad {mean['grad_norm']:.3g}  {lr}  {speed}  ETA {duration(left)}"
        )
        self._logger.info("%s", text, extra={"in_bar": True})
        self._since_line = []

    def _opened_board(self) -> Any:
        if self._board is None:
            # Imported after the first step has been shown: it takes 0.2 s, with a cold disk more.
            from torch.utils.tensorboard import SummaryWriter

            # What older starts wrote beyond the checkpoint is hidden: those steps are done again.
            folder, purge_step = str(self.folder / "tensorboard"), self._start_step + 1
            self._board = SummaryWriter(folder, purge_step=purge_step, flush_secs=30)
        return self._board

    def _write_board(self, rows: Sequence[dict[str, str]]) -> None:
        board = self._opened_board()
        for row in rows:
            step, seconds = int(row["step"]), max(float(row["step_seconds"]), 1e-9)
            scalars = {f"losses/{name}": float(row[name]) for name in self._names}
            scalars |= {name: float(row[name]) for name in ("grad_norm", "lr")}
            scalars |= {
                "timing/step_seconds": seconds,
                "timing/clips_per_second": float(row["clips"]) / seconds,
                "timing/data_wait_share": float(row["data_wait_seconds"]) / seconds,
                "timing/memory_mib": float(row["memory_mib"]),
            }
            for name, value in scalars.items():
                board.add_scalar(name, value, step)

    def _try(self, what: str, write: Callable[[], None]) -> None:
        """Writes to one of the logs; a failure is said once, and the run goes on."""
        try:
            write()
        except OSError as error:
            if what not in self._said:
                self._said.add(what)
                self._console.line(f"WARNING: {what} of {self.folder} cannot be written: {error}. Training goes on.")

    def _attach_handlers(self) -> list[logging.Handler]:
        name = "train.log" if self._ranks.is_main else f"rank_{self._ranks.rank}.log"
        file_handler = _LogFile(self.folder / "logs" / name)
        file_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        console_handler = _ConsoleHandler(self._console, "" if self._ranks.is_main else f"[rank {self._ranks.rank}] ")
        console_handler.setLevel(logging.INFO if self._ranks.is_main else logging.WARNING)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        for handler in (file_handler, console_handler):
            self._logger.addHandler(handler)
        return [file_handler, console_handler]


class _LogFile(logging.FileHandler):
    """A log file that appears with its first record; a full disk does not disturb the run (the terminal has it all)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8", delay=True)

    def _open(self) -> Any:
        return g_pathmgr.open(self.baseFilename, "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        """Drops the record: logging's own answer, a traceback per record, would bury the run's lines."""


class _ConsoleHandler(logging.Handler):
    """Shows records on the console; progress lines only where no bar shows the same."""

    def __init__(self, console: Console, prefix: str) -> None:
        super().__init__()
        self._console, self._prefix = console, prefix

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "in_bar", False) and self._console.shows_bar:
            return
        level = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        self._console.line(f"{self._prefix}{level}{record.getMessage()}")


def memory_mebibytes(device: torch.device) -> float:
    """Memory of this process, MiB: the peak that torch allocated on a GPU, or what is resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20
