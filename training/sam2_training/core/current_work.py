"""What the threads of this process are at, where that can block: a file on a share that does not answer, for instance.

Whoever finds a process stuck (engine/hangs.py) learns from here what it was waiting for.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

NOTE_BYTES = 4096
"""Room for the process id and the name of the work; longer names are cut."""

_stacks: dict[int, list[tuple[str, float]]] = {}  # by thread: (what, since when), outermost first
_note: mmap.mmap | None = None


@contextmanager
def working_on(what: str) -> Iterator[None]:
    """Tells what this thread does in the block, such as the path of the file that it reads. Costs microseconds."""
    stack = _stacks.setdefault(threading.get_ident(), [])
    stack.append((what, time.monotonic()))
    _publish(what)
    try:
        yield
    finally:
        stack.pop()
        _publish(stack[-1][0] if stack else "")


def work_that_takes_longer_than(seconds: float) -> str | None:
    """What a thread has been at for longer than this, its parts included: "a batch: images/v17/00012.jpg"."""
    now_s = time.monotonic()
    for stack in list(_stacks.values()):
        entries = list(stack)  # the thread may go on meanwhile
        if any(now_s - since_s > seconds for _, since_s in entries):
            return ": ".join(what for what, _ in entries)
    return None


def new_note() -> mmap.mmap:
    """Memory that a forked child shares with this process: see `publish_in`."""
    return mmap.mmap(-1, NOTE_BYTES)


def publish_in(note: mmap.mmap) -> None:
    """From now on this process keeps in `note` what it is at, for its parent to read, even while it is stopped."""
    global _note
    _note = note
    _publish("")


def read_note(note: mmap.mmap) -> tuple[int, str] | None:
    """(process id, what it is at, "" for nothing) as a child has published it; None before."""
    process_id, separator, what = note[:].partition(b"\0")[0].decode(errors="replace").partition(" ")
    return (int(process_id), what) if separator else None


def _publish(what: str) -> None:
    if _note is not None:
        text = f"{os.getpid()} {what}".encode(errors="replace")[: NOTE_BYTES - 1]
        _note[: len(text) + 1] = text + b"\0"
