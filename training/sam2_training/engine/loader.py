"""Batches of a run, step by step: a torch DataLoader that follows a `StepOrder` and leaves no process behind."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Generic

import torch
from torch.utils.data import DataLoader, Sampler

from sam2_training.engine.batch_transfer import (
    Failure,
    Fetcher,
    Packed,
    WorkerWatch,
    require_shared_memory,
)
from sam2_training.engine.config import PREFETCHED_BATCHES, LoaderConfig
from sam2_training.engine.plan import StepOrder
from sam2_training.engine.preemption import STOP_SIGNALS
from sam2_training.engine.processes import die_with_parent
from sam2_training.engine.task import Batch, BatchT, SampleDataset, SampleKey

CLOSE_SECONDS = 2.0
"""Time for workers to leave by themselves before they are killed."""


class StepLoader(Generic[BatchT]):
    """The batches of one rank: use it as a context manager, or call `close` at the end.

    num_workers processes load ahead (0: this process loads on demand); results do not depend on their number.
    prefetch: batches that each worker prepares ahead. pin_memory: put batches where a GPU copies from fastest.
    timeout_minutes: how long a worker may take for a batch. folder: the run's, for stack traces of stuck workers.
    A dataset may have a method `worker_setup()`, called once in each worker.
    """

    def __init__(
        self,
        dataset: SampleDataset[BatchT],
        order: StepOrder,
        rank: int,
        batch_size: int,
        num_workers: int = 0,
        pin_memory: bool = False,
        prefetch: int = PREFETCHED_BATCHES,
        timeout_minutes: float = LoaderConfig.timeout_minutes,
        folder: Path = Path(),
    ) -> None:
        self.dataset = dataset
        self.order = order
        self.rank = rank
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.prefetch = prefetch
        self.timeout_minutes, self.folder = timeout_minutes, folder
        self.wait_seconds = 0.0
        """Time spent waiting for batches since this loader was made, seconds."""
        self._wait_seconds_taken = 0.0
        self._stream: _Stream[BatchT] | None = None

    def from_step(self, step: int, last_step: int) -> Iterator[list[BatchT]]:
        """For each step from `step` up to, not including, `last_step`: its micro-batches, in order.

        Each has at most batch_size samples; the last of a step may have fewer. Workers live from the first step to the
        last, so that a new epoch starts with batches already prepared. Raises what the dataset raises (DataError with
        its own message, wherever it was raised), WorkerError when a worker process dies or has no shared memory, and
        HangError when a worker takes too long.
        """
        if step >= last_step:
            return
        self.close()
        stream = self._stream = _Stream(self, step, last_step)
        try:
            for current in range(step, last_step):
                batch_size = self.order.batch_size(current, self.batch_size)
                count = -(-self.order.samples_per_rank(current) // batch_size)
                start_s = time.perf_counter()
                batches = [stream.next() for _ in range(count)]
                self.wait_seconds += time.perf_counter() - start_s
                yield batches
                del batches
        finally:
            stream.close()

    def take_wait_seconds(self) -> float:
        """Time spent waiting for batches since the last call, seconds."""
        before, self._wait_seconds_taken = self._wait_seconds_taken, self.wait_seconds
        return self.wait_seconds - before

    def close(self) -> None:
        """Ends all workers, within seconds even if one is stuck; they ignore stop signals, so that takes a kill."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> StepLoader[BatchT]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Stream(Generic[BatchT]):
    """One pass of a DataLoader over the micro-batches of a range of steps, with the worker processes it started."""

    def __init__(self, owner: StepLoader[BatchT], step: int, last_step: int) -> None:
        has_workers = owner.num_workers > 0
        require_shared_memory(owner.num_workers)
        self._watch = WorkerWatch(owner.num_workers, owner.timeout_minutes, owner.folder)
        loader: DataLoader[Any] = DataLoader(
            Fetcher(owner.dataset),  # type: ignore[arg-type]  # duck-typed: torch asks only for __getitems__
            batch_sampler=_MicroBatches(owner.order, owner.rank, owner.batch_size, step, last_step),
            collate_fn=_unchanged,
            num_workers=owner.num_workers,
            pin_memory=owner.pin_memory,
            prefetch_factor=owner.prefetch if has_workers else None,
            worker_init_fn=functools.partial(
                _set_up_worker, owner.dataset, self._watch, multiprocessing.current_process().pid
            ),
            # fork starts a worker in milliseconds and shares the dataset's index instead of copying it.
            multiprocessing_context="fork" if has_workers and sys.platform == "linux" else None,
        )
        before = set(multiprocessing.active_children())
        with _without_torchs_child_handler():
            self._iterator: Any = iter(loader)
        self._watch.processes = [child for child in multiprocessing.active_children() if child not in before]
        # Without this, an exit that forgets to close would wait forever: multiprocessing's own exit handler sends
        # SIGTERM, which workers ignore, and then joins them. Handlers run last in, first out, so this one comes first.
        atexit.register(self.close)

    def next(self) -> BatchT:
        try:
            with self._watch.waiting() if self._watch.processes else nullcontext():
                result = next(self._iterator)
                if isinstance(result, Packed):
                    result = result.unpack()
        except Exception as error:  # RuntimeError, EOFError or ConnectionResetError: it depends on the moment of death
            explanation = self._watch.explanation()
            if explanation is None:
                raise
            raise explanation from error
        if isinstance(result, Failure):
            raise result.error
        batch: BatchT = result
        return batch

    def close(self) -> None:
        atexit.unregister(self.close)
        iterator, self._iterator = self._iterator, None
        if iterator is None:
            return
        # Killing first could leave a half-written message that the pinning thread would wait for; so ask first.
        kill_timer = threading.Timer(CLOSE_SECONDS, self._watch.kill)
        kill_timer.daemon = True
        kill_timer.start()
        with _without_torchs_child_handler():  # any other DataLoader of this process leaves it in place
            if hasattr(iterator, "_shutdown_workers"):
                iterator._shutdown_workers()
            kill_timer.cancel()
            self._watch.kill()
            for process in self._watch.processes:
                process.join(timeout=1.0)
        self._watch.close()


class _MicroBatches(Sampler[list[SampleKey]]):
    """Lists of keys, at most batch_size each, that never mix two steps."""

    def __init__(self, order: StepOrder, rank: int, batch_size: int, step: int, last_step: int) -> None:
        self._order = order
        self._rank = rank
        self._batch_size = batch_size
        self._steps = range(step, last_step)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for step in self._steps:
            keys = self._order.keys(step, self._rank)
            batch_size = self._order.batch_size(step, self._batch_size)
            for start in range(0, len(keys), batch_size):
                yield keys[start : start + batch_size]


@contextmanager
def _without_torchs_child_handler() -> Iterator[None]:
    """Runs the block without torch's SIGCHLD handler; afterwards the handler is what it was before.

    That of a DataLoader raises in the middle of whatever the main thread does when a worker dies: a save, or the end of
    a worker that had to be killed. Without it the death shows where batches are asked for, within 5 s.
    """
    former = signal.getsignal(signal.SIGCHLD)
    may_change = threading.current_thread() is threading.main_thread() and former is not None
    if may_change:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        if may_change:
            signal.signal(signal.SIGCHLD, former)


def _unchanged(batch: Any) -> Any:
    return batch


def _set_up_worker(dataset: SampleDataset[Batch], watch: WorkerWatch, parent_pid: int | None, worker_id: int) -> None:
    """Worker setup: ignore stop signals, exit with the parent."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(parent_pid)
    watch.set_up_worker(worker_id)
    torch.set_num_threads(1)
    worker_setup: Callable[[], None] | None = getattr(dataset, "worker_setup", None)
    if worker_setup is not None:
        worker_setup()
