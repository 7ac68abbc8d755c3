"""The heartbeat of a command: a small file with the time, host and step of the latest work."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sam2_training.core.files import write_text

FILE_NAME = "heartbeat"
BEAT_SECONDS = 10.0
"""Beats that follow faster than this are not written: a supervisor looks once a minute."""


@dataclass(frozen=True)
class Beat:
    """The content of a heartbeat file."""

    time_s: float
    """Seconds since 1970."""
    step: int
    host: str
    """The machine's or container's host name; several may write below one folder of results."""


class Heartbeat:
    """Writes <logs>/heartbeat, at most every `BEAT_SECONDS`; the first beat always."""

    def __init__(self, logs_folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = logs_folder / FILE_NAME
        self._clock = clock
        self._last_s = float("-inf")

    def beat(self, step: int) -> None:
        """Records that the run is alive and at `step`. Raises OSError when the file cannot be written (disk full)."""
        now_s = self._clock()
        if now_s - self._last_s < BEAT_SECONDS:
            return
        self._last_s = now_s
        write_text(self.path, f"{now_s:.0f} {step} {socket.gethostname()}\n")


def commands_folder() -> Path:
    """Where commands that are not training runs leave their heartbeats: their output may be anywhere."""
    return Path(tempfile.gettempdir()) / f"sam2-training-{os.getuid()}"


@contextmanager
def command_heartbeat() -> Iterator[Callable[[], None]]:
    """Yields what a long command calls as it works, at every frame for instance; its file is removed at the end."""
    folder = commands_folder() / str(os.getpid())
    heartbeat, counter = Heartbeat(folder / "logs"), itertools.count()

    def beat() -> None:
        with suppress(OSError):  # whether the command is watched must not decide whether it works
            heartbeat.beat(next(counter))

    beat()
    try:
        yield beat
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_turn(*beats: Callable[[], None]) -> Callable[[], None]:
    """One heartbeat for several that wait for it."""

    def beat() -> None:
        for one in beats:
            one()

    return beat


def last_beat(results: Path, host: str) -> Beat | None:
    """The newest beat that `host` wrote in any run below `results`; None if there is none."""
    beats = [_read(path) for path in results.rglob(f"logs/{FILE_NAME}")]
    own = [beat for beat in beats if beat is not None and beat.host == host]
    return max(own, key=lambda beat: beat.time_s, default=None)


def _read(path: Path) -> Beat | None:
    """The beat in a file; None for one that is not ours to understand, such as an older version's."""
    try:
        time_text, step_text, host = path.read_text().split()
        return Beat(float(time_text), int(step_text), host)
    except (ValueError, OSError):
        return None
