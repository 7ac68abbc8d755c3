"""The heartbeat of a command: a small file with the time, machine and step of the latest work."""

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
    """Seconds on the machine's monotonic clock, which nobody sets: the time of day may jump, at a container's start for
    instance, and a run would be taken for dead, or a dead one for alive."""
    step: int
    machine: str
    """`this_machine()` of the writer; several may write below one folder of results."""


def this_machine() -> str:
    """The machine's or container's host name, and on Linux its start: the monotonic clock counts from there."""
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    started = boot_id.read_text().strip() if boot_id.is_file() else ""
    return f"{socket.gethostname()}/{started}"


class Heartbeat:
    """Writes <logs>/heartbeat, at most every `BEAT_SECONDS`; the first beat always."""

    def __init__(self, logs_folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = logs_folder / FILE_NAME
        self._clock = clock
        self._last_s = float("-inf")

    def beat(self, step: int) -> None:
        """Records that the run is alive and at `step`. Raises OSError when the file cannot be written (disk full)."""
        now_s = self._clock()
        if now_s - self._last_s < BEAT_SECONDS:
            return
        self._last_s = now_s
        write_text(self.path, f"{now_s:.1f} {step} {this_machine()}\n")


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


def last_beat(results: Path, machine: str) -> Beat | None:
    """The newest beat that `machine` wrote in any run below `results`; None if there is none."""
    beats = [_read(path) for path in results.rglob(f"logs/{FILE_NAME}")]
    own = [beat for beat in beats if beat is not None and beat.machine == machine]
    return max(own, key=lambda beat: beat.time_s, default=None)


def _read(path: Path) -> Beat | None:
    """The beat in a file; None for one that is not ours to understand, such as an older version's."""
    try:
        time_text, step_text, machine = path.read_text().split()
        return Beat(float(time_text), int(step_text), machine)
    except (ValueError, OSError):
        return None
