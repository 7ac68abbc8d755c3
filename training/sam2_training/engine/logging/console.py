"""What a person sees: lines, banners, and a progress bar that stays below them on a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any, TextIO


class Console:
    """Lines on one stream; on a terminal also a progress bar, from `start_bar` to `close`."""

    def __init__(self, stream: TextIO, enable_bar: bool) -> None:
        self.stream = stream
        self.shows_bar = enable_bar and stream.isatty()
        """Whether there is a bar: without one, progress is told in lines."""
        self._bar: Any = None
        self._gone = False

    def line(self, text: str) -> None:
        """Prints a line, above the bar if there is one. A terminal that has gone away does not end the run."""
        if self._gone:
            return
        try:
            if self._bar is not None:
                self._bar.clear()
            print(text, file=self.stream, flush=True)
            if self._bar is not None:
                self._bar.refresh()
        except OSError:
            self._gone = True

    def start_bar(self, total: int, done: int, text: str) -> None:
        """Shows the bar at `done` of `total` steps; does nothing when there is no bar or it is shown already."""
        if not self.shows_bar or self._bar is not None or self._gone:
            return
        from tqdm import tqdm  # not needed where output is no terminal

        tqdm.monitor_interval = 0  # no thread beside the loader's processes; steps are slow enough to redraw each
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=text,
            file=self.stream,
            dynamic_ncols=True,
            mininterval=0.2,
            ascii=None if can_show(self.stream, "█▏") else True,
            bar_format="{n_fmt}/{total_fmt} {bar:16} {percentage:3.0f} %  {desc}",
        )

    def advance(self, done: int, text: str) -> None:
        """Moves the bar to `done` steps and puts `text` beside it; does nothing without a bar."""
        if self._bar is None or self._gone:
            return
        self._bar.set_description_str(text, refresh=False)
        try:
            self._bar.update(done - self._bar.n)
        except OSError:
            self._gone = True

    def close(self) -> None:
        """Leaves the bar as it stands; later lines go below it."""
        if self._bar is not None and not self._gone:
            self._bar.refresh()
            self._bar.close()
        self._bar = None


def banner_text(lines: Sequence[str], stream: TextIO) -> list[str]:
    """A banner for `stream`: a line that starts with "# " becomes a rule with that title, others are indented.

    Nothing is cut, wrapped or framed at the side, so that paths and code can be copied.
    """
    width = min(max(shutil.get_terminal_size().columns, 40), 100)
    dash = "─" if can_show(stream, "─") else "-"
    shown = [""] if lines and lines[0].startswith("# ") else ["", dash * width]
    for line in lines:
        if line.startswith("# "):
            shown.append(f"{dash * 2} {line[2:]} ".ljust(width, dash))
        else:
            shown.append(f"  {line}".rstrip())
    return [*shown, dash * width]


def can_show(stream: TextIO, text: str) -> bool:
    """Whether the stream's encoding has these characters."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def memory_text(mebibytes: float) -> str:
    """An amount of memory for people: 640 MiB, 3.2 GiB."""
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"
