"""Hangs: stack traces of stuck processes in files, and the end of a process that waits for a file without end."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from sam2_training.core.current_work import work_that_takes_longer_than
from sam2_training.core.errors import HangError, described
from sam2_training.engine.processes import STATUS, write_status

STACK_SIGNAL = getattr(signal, "SIGURG", None)
"""Asks a process for its stack traces. Ignored by processes that have not called `answer_with_stacks` yet."""
ANSWER_SECONDS = 3.0
"""How long asked processes may take; one that waits in the kernel for a share does not answer at all."""
LOOK_SECONDS = 1.0

SETTING = "loader.timeout_minutes"


def stacks_path(folder: Path, name: str) -> Path:
    """Where the stack traces of a process are kept, below a run's folder."""
    return folder / "logs" / f"stacks_{name}.txt"


def answer_with_stacks(file: IO[str]) -> None:
    """From now on this process writes the stack traces of its threads to the open file at `STACK_SIGNAL`.

    The file's descriptor must stay open. Works while the interpreter is blocked.
    """
    if STACK_SIGNAL is not None:
        faulthandler.register(STACK_SIGNAL, file, all_threads=True)


@contextmanager
def rank_with_stacks(folder: Path, rank: int) -> Iterator[None]:
    """In the block, this rank answers `ask_for_stacks` with logs/stacks_rank_<n>.txt; unasked it leaves no file."""
    path = stacks_path(folder, f"rank_{rank}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        answer_with_stacks(file)
        try:
            yield
        finally:
            if STACK_SIGNAL is not None:
                faulthandler.unregister(STACK_SIGNAL)
            if path.stat().st_size == 0:
                path.unlink()


def ask_for_stacks(processes: Sequence[psutil.Process]) -> list[str]:
    """Has the processes write their stack traces; sentences on those that are stopped, which are waked for that."""
    stopped = []
    for process in processes:
        try:
            if process.status() == psutil.STATUS_STOPPED:
                stopped.append(f"process {process.pid} is stopped (SIGSTOP): somebody or a debugger has suspended it")
            if STACK_SIGNAL is not None:
                process.send_signal(STACK_SIGNAL)
                process.send_signal(signal.SIGCONT)
        except psutil.NoSuchProcess:
            continue
    return stopped


def explain_hang_of_ranks(folder: Path, rank: int, error: Exception) -> str:
    """Keeps the stack traces of this machine's ranks in files; sentences that name them and the ranks that are stopped.

    error: what this rank raised; its own traceback is kept beside its threads'.
    """
    own = stacks_path(folder, f"rank_{rank}")
    with own.open("a") as file:
        file.write("".join(traceback.format_exception(error)))
        file.flush()
        faulthandler.dump_traceback(file)
    ranks = _ranks_of_this_machine()
    stopped = ask_for_stacks(list(ranks.values()))
    paths = [stacks_path(folder, f"rank_{other}") for other in ranks]
    until = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < until and not all(path.is_file() and path.stat().st_size for path in paths):
        time.sleep(0.05)
    numbers = {process.pid: other for other, process in ranks.items()}
    told = [f"rank {number}: {text}" for text in stopped for pid, number in numbers.items() if f" {pid} " in text]
    return "\n".join([*told, f"Stack traces of the ranks: {own.parent}/stacks_rank_*.txt"])


def _ranks_of_this_machine() -> dict[int, psutil.Process]:
    """{rank: process} of this rank's siblings, that is, other children of torchrun."""
    found = {}
    for process in psutil.Process(os.getppid()).children():
        try:
            rank = process.environ().get("RANK", "")
        except psutil.Error:
            continue
        if rank.isdigit() and process.pid != os.getpid():
            found[int(rank)] = process
    return found


@contextmanager
def ends_when_stuck(minutes: float, folder: Path, rank: int = 0) -> Iterator[None]:
    """In the block, work that `working_on` tells of and that takes longer ends this process with exit code 5.

    Its thread may wait in the kernel for good, so nothing can be raised in it. The status file and logs/stacks_* below
    `folder` say what it was. Loader workers are other processes: `StepLoader` watches them.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(min(LOOK_SECONDS, minutes * 60 / 4)):
            what = work_that_takes_longer_than(minutes * 60)
            if what is not None:
                _leave(what, minutes, folder, rank)

    thread = threading.Thread(target=watch, daemon=True, name="hang watch")
    thread.start()
    try:
        yield
    finally:
        ended.set()


def stuck_message(what: str, minutes: float, path: Path) -> str:
    """The sentence about work that takes too long, with the cure."""
    return (
        f"{what} took longer than {minutes:g} minutes ({SETTING}). Likely causes: a share or disk that does not "
        f"answer, or a setting that is too low for this machine. Stack traces: {path}"
    )


def _leave(what: str, minutes: float, folder: Path, rank: int) -> None:
    path = stacks_path(folder, f"rank_{rank}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        faulthandler.dump_traceback(file)
    error = HangError(stuck_message(what, minutes, path))
    write_status(folder / STATUS, error.exit_code, f"{error.kind}: {error}", keep_first=rank > 0)
    print(described(error), file=sys.stderr, flush=True)
    os._exit(error.exit_code)
