"""Console output: lines, banners, a progress bar that stays below them on a terminal, and the text about a step."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from sam2_training.core.terminal import can_show, say
from sam2_training.core.text import duration, shown
from sam2_training.engine.logging.sink import Values
from sam2_training.engine.plan import RunPlan

RECENT_STEPS = 50
"""Steps whose mean duration the remaining time is estimated from."""


class Console:
    """Lines on one stream; on a terminal also a progress bar, from `start_bar` to `close`."""

    def __init__(self, stream: TextIO, enable_bar: bool) -> None:
        self.stream = stream
        self.shows_bar = enable_bar and stream.isatty()
        """Whether there is a bar; without one, progress is shown in lines."""
        self._bar: Any = None
        self._closed = False

    def line(self, text: str) -> None:
        """Prints a line, above the bar if there is one. A closed terminal does not end the run."""
        if self._closed:
            return
        try:
            if self._bar is not None:
                self._bar.clear()
            say(text, self.stream)
            if self._bar is not None:
                self._bar.refresh()
        except OSError:
            self._closed = True

    def start_bar(self, total: int, done: int, text: str) -> None:
        """Shows the bar at `done` of `total` steps; does nothing when there is no bar or it is shown already."""
        if not self.shows_bar or self._bar is not None or self._closed:
            return
        from tqdm import tqdm  # not needed where output is not a terminal

        tqdm.monitor_interval = 0  # no thread beside the loader's processes; steps are slow enough to redraw each
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=shown(text),
            file=self.stream,
            dynamic_ncols=True,
            mininterval=0.2,
            ascii=None if can_show(self.stream, "█▏") else True,
            bar_format="{n_fmt}/{total_fmt} {bar:16} {percentage:3.0f} %  {desc}",
        )

    def advance(self, done: int, text: str) -> None:
        """Moves the bar to `done` steps and puts `text` beside it; does nothing without a bar."""
        if self._bar is None or self._closed:
            return
        self._bar.set_description_str(shown(text), refresh=False)
        try:
            self._bar.update(done - self._bar.n)
        except OSError:
            self._closed = True

    def close(self) -> None:
        """Leaves the bar as it stands; later lines go below it."""
        if self._bar is not None and not self._closed:
            self._bar.refresh()
            self._bar.close()
        self._bar = None


class StepLines:
    """Shows the mean of the steps since the last line: in a line where the plan asks for one, and beside the bar."""

    def __init__(self, console: Console, plan: RunPlan, samples: str, show: Callable[[str], None]) -> None:
        """samples: the column that counts them, which is also their name. show: what prints and keeps a line."""
        self._console, self._plan, self._samples, self._show = console, plan, samples, show
        self._since_line: list[Values] = []
        self._recent_seconds: deque[float] = deque(maxlen=RECENT_STEPS)
        self._beside_bar = ""

    def log(self, step: int, values: Values) -> None:
        """Takes note of a step, whose values are a row of metrics.csv."""
        if step > self._plan.start_step + 1:  # the first step also compiles, fills caches and starts the loader
            self._recent_seconds.append(values["step_seconds"])
        self._since_line.append(values)
        rows, total_steps = self._since_line, self._plan.total_steps
        mean = {name: sum(row[name] for row in rows) / len(rows) for name in values}
        seconds = max(mean["step_seconds"], 1e-9)
        waiting = 100 * mean["data_wait_seconds"] / seconds
        left = self._left(total_steps - step)
        lr = f"lr {values['lr']:.2e}"
        memory = memory_text(values["memory_mib"])
        speed = f"{mean[self._samples] / seconds:.3g} {self._samples}/s  wait {waiting:.0f} %  {memory}"
        self._beside_bar = f"loss {mean['total']:.4f}  {lr}  {speed}  ETA {left}"
        self._console.start_bar(total_steps, step, self._beside_bar)
        if not self._plan.logs_at(step):
            return
        epochs = -(-total_steps // self._plan.steps_per_epoch)
        parts = [
            f"step {step:>{len(str(total_steps))}}/{total_steps}  epoch {values['epoch']:.0f}/{epochs}",
            f"loss {mean['total']:.4f}",
            *(f"{name.removeprefix('loss_')} {mean[name]:.4f}" for name in self._terms(values)),
            f"grad {mean['grad_norm']:.3g}  {lr}  {speed}  ETA {left}",
        ]
        self._show("  ".join(parts))
        self._since_line = []

    def advance(self, step: int) -> None:
        """Moves the bar to `step`, also where its values are not known yet."""
        self._console.advance(step, self._beside_bar)

    def _left(self, num_steps: int) -> str:
        """How long these steps take at the recent pace, without validations; not known after the first step alone."""
        if not self._recent_seconds:
            return "not known yet" if num_steps else duration(0)
        return duration(num_steps * sum(self._recent_seconds) / len(self._recent_seconds))

    @staticmethod
    def _terms(values: Values) -> list[str]:
        """The task's own values: in a row they stand between the total and the gradient norm."""
        names = list(values)
        return names[names.index("total") + 1 : names.index("grad_norm")]


def banner_text(lines: Sequence[str], stream: TextIO) -> list[str]:
    """A banner for `stream`: a line that starts with "# " becomes a rule with that title, others are indented.

    Nothing is cut, wrapped or framed at the side, so that paths and code can be copied.
    """
    width = text_width()
    dash = "─" if can_show(stream, "─") else "-"
    shown = [""] if lines and lines[0].startswith("# ") else ["", dash * width]
    for line in lines:
        if line.startswith("# "):
            shown.append(f"{dash * 2} {line[2:]} ".ljust(width, dash))
        else:
            shown.append(f"  {line}".rstrip())
    return [*shown, dash * width]


def value_table(values: Values) -> list[str]:
    """Names and values below each other, in as many blocks as the width needs; the same names give the same columns."""
    blocks: list[list[str]] = []
    for name, value in values.items():
        cell = max(len(name), len("00.0000"))
        if not blocks or len(blocks[-1][0]) + 2 + cell > text_width():
            blocks.append(["", ""])
        blocks[-1][0] += f"  {name:>{cell}}"
        blocks[-1][1] += f"  {value:{cell}.4f}"
    return [line for block in blocks for line in block]


def text_width() -> int:
    """Columns that a banner or a table fills."""
    return min(max(shutil.get_terminal_size().columns, 40), 100)


def memory_text(mebibytes: float) -> str:
    """An amount of memory as text: 640 MiB, 3.2 GiB."""
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"
