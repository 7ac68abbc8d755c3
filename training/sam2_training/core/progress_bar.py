"""A progress bar with the remaining time."""

from __future__ import annotations

from types import TracebackType
from typing import Any, TextIO

from sam2_training.core.progress import Pace
from sam2_training.core.terminal import say
from sam2_training.core.text import shown


class Progress:
    """A bar with the remaining time on a terminal; elsewhere a line now and then."""

    def __init__(self, total: int, unit: str, stream: TextIO, enable_bar: bool = True) -> None:
        """total: how many units, such as "frames", there are. stream: standard error, so that tables stay clean."""
        self.total, self.unit, self.stream = total, unit, stream
        self.done = 0
        self._pace = Pace(total)
        self._bar: Any = None
        if enable_bar and stream.isatty():
            from tqdm import tqdm  # not needed where output is no terminal

            self._bar = tqdm(total=total, unit=f" {unit}", file=stream, dynamic_ncols=True, mininterval=0.2)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
        elif error is None:
            print(f"{self.done} {self.unit} in {self._pace.elapsed()}", file=self.stream)

    def reach(self, done: int, text: str) -> None:
        """`done` units of the total are done now, the last of them called `text`."""
        advanced, self.done = done - self.done, done
        if self._bar is not None:
            self._bar.set_postfix_str(shown(text), refresh=False)
            self._bar.update(advanced)
        elif self._pace.reach(done):
            say(f"{done}/{self.total} {self.unit} ({shown(text)}), {self._pace.left()} left", self.stream)
