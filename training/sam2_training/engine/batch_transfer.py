"""Batches from loader workers to their run, and the errors where a worker fails, is killed or is stuck."""

from __future__ import annotations

import errno
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import IO, Any, Generic

import psutil
from torch.utils.data import get_worker_info

from sam2_training.core.current_work import new_note, publish_in, read_note, working_on
from sam2_training.core.errors import HangError, TrainingError, WorkerError
from sam2_training.engine.hangs import ANSWER_SECONDS, answer_with_stacks, ask_for_stacks, stacks_path, stuck_message
from sam2_training.engine.task import BatchT, SampleDataset, SampleKey

STACKS_NAME = "loader_workers"
SHARED_MEMORY = "/dev/shm"
LOCKS_BYTES = 2**16
"""Shared memory that the locks of a worker and of its queues take: a page each, and a dozen of them."""


class Failure:
    """Carries an exception from a worker to the main process, in place of the batch."""

    def __init__(self, error: Exception) -> None:
        if not isinstance(error, TrainingError):  # expected errors need no traceback; others are lost without it
            error.add_note(f"in the data loader:\n{traceback.format_exc()}")
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an exception class of any library may do anything here
            error = RuntimeError(f"in the data loader:\n{traceback.format_exc()}")
        self.error = error


class Packed(Generic[BatchT]):
    """A batch on its way from a worker: its tensors are in shared memory already.

    The DataLoader would put them there in a thread of the worker that has nobody to tell when there is no room, and the
    run would wait for the batch without end.
    """

    def __init__(self, batch: BatchT) -> None:
        """Raises WorkerError when there is not enough shared memory."""
        try:
            self.content = bytes(ForkingPickler.dumps(batch))
        except (RuntimeError, OSError) as error:
            if _is_lack_of_memory(error):
                raise _no_shared_memory(str(error).splitlines()[0]) from error
            raise

    def unpack(self) -> BatchT:
        """The batch; once only, because it takes over the shared memory."""
        batch: BatchT = pickle.loads(self.content)
        return batch

    def pin_memory(self, *_: Any) -> BatchT:
        """What the DataLoader's pinning thread asks for."""
        return self.unpack().pin_memory()


class Fetcher(Generic[BatchT]):
    """Collated batches by list of keys. Errors are returned: the DataLoader would rewrite a raised one's message."""

    def __init__(self, dataset: SampleDataset[BatchT]) -> None:
        self._dataset = dataset

    def __getitems__(self, keys: Sequence[SampleKey]) -> BatchT | Packed[BatchT] | Failure:
        try:
            with working_on("reading a batch"):
                batch = self._dataset.batch(keys)
            return batch if get_worker_info() is None else Packed(batch)
        except Exception as error:
            return Failure(error)


def require_shared_memory(num_workers: int) -> None:
    """Raises WorkerError where the workers' queues do not fit: their locks are files in shared memory."""
    if sys.platform == "linux" and num_workers:
        free = psutil.disk_usage(SHARED_MEMORY).free
        if free < num_workers * LOCKS_BYTES:
            raise _no_shared_memory(f"their queues alone take {num_workers * LOCKS_BYTES // 1024} KiB")


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether the system had no room in shared memory: torch reports that as text."""
    return getattr(error, "errno", None) == errno.ENOSPC or any(
        words in str(error).lower() for words in ("shared memory", "no space left on device", "torch_shm")
    )


def _no_shared_memory(reason: str) -> WorkerError:
    total = f"{psutil.disk_usage(SHARED_MEMORY).total / 2**20:.3g} MiB in all; " if sys.platform == "linux" else ""
    return WorkerError(
        f"there is not enough shared memory for the loader workers ({total}{reason}). In a container raise --shm-size, "
        "or load in the training process: loader.num_workers=0."
    )


class WorkerWatch:
    """Watches the workers of one stream of batches: what they are at, who died, who is stuck."""

    def __init__(self, num_workers: int, timeout_minutes: float, folder: Path) -> None:
        """timeout_minutes: how long a batch may take. folder: the run's, for stack traces."""
        self.processes: list[BaseProcess] = []
        self._timeout_minutes, self._path = timeout_minutes, stacks_path(folder, STACKS_NAME)
        self._stuck: HangError | None = None
        # Only forked workers inherit both; elsewhere a stuck worker is ended without its words.
        forked = sys.platform == "linux"
        self._notes = [new_note() for _ in range(num_workers)] if forked else []
        self._stacks: IO[str] | None = None
        if forked and num_workers:
            self._stacks = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close()

    def set_up_worker(self, worker_id: int) -> None:
        """Called in each worker."""
        if self._notes:
            publish_in(self._notes[worker_id])
        if self._stacks is not None:
            answer_with_stacks(self._stacks)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around waiting for a batch: if that takes too long, the workers are killed, which ends the waiting."""
        timer = threading.Timer(self._timeout_minutes * 60, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def explanation(self) -> TrainingError | None:
        """The error that says how a worker ended, if one did."""
        for process in self.processes:
            process.join(timeout=0.1)
        if self._stuck is not None:
            return self._stuck
        for process in self.processes:
            if process.exitcode is None or process.exitcode == 0:
                continue
            how = f"ended with exit code {process.exitcode}"
            if process.exitcode < 0:
                how = f"was killed by {signal.Signals(-process.exitcode).name}"
            return WorkerError(
                f"a loader worker (process {process.pid}) {how}{self._while(process.pid)}. Likely causes: out of "
                "memory (SIGKILL), or too little shared memory (SIGBUS; in a container raise --shm-size). Fewer "
                "loader.num_workers need less."
            )
        return None

    def kill(self) -> None:
        """Kills the workers that are left."""
        for process in self.processes:
            if process.is_alive():
                process.kill()

    def close(self) -> None:
        """Frees what the workers shared with this process."""
        self.processes = []
        if self._stacks is not None:
            self._stacks.close()

    def _while(self, process_id: int | None) -> str:
        return next((f" while {what}" for pid, what in self._work() if pid == process_id), "")

    def _work(self) -> list[tuple[int, str]]:
        """(process id, what it is at) of the workers that are at something."""
        notes = [found for note in self._notes if (found := read_note(note)) is not None]
        return [(pid, what if what.startswith("reading") else f"reading {what}") for pid, what in notes if what]

    def _give_up(self) -> None:
        """Called in a thread while the main thread waits, which hears of it some seconds after the workers' end."""
        if self._stuck is not None:
            return
        pids = [process.pid for process in self.processes if process.pid is not None]
        told = ask_for_stacks([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)])
        told += [f"process {pid} is {what}" for pid, what in self._work()]
        self._keep_stacks()
        message = stuck_message("waiting for a batch of the loader workers", self._timeout_minutes, self._path)
        self._stuck = HangError("\n".join([message, *told]))
        self.kill()

    def _keep_stacks(self) -> None:
        """Writes what the workers answer to their file, as soon as no more comes."""
        if self._stacks is None:
            return
        size, until = -1, time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < until:
            time.sleep(0.3)
            self._stacks.seek(0, 2)
            if size == self._stacks.tell() > 0:
                break
            size = self._stacks.tell()
        self._stacks.seek(0)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(self._stacks.read() or "no worker answered: they wait in the kernel, or are gone\n")
