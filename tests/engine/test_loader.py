"""The loader: R3 and R4 (the same batches whatever the workers), errors as they were raised, no process left behind."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from sam2_training.core.current_work import working_on
from sam2_training.core.errors import DataError, HangError, WorkerError
from sam2_training.core.rng import rng_for
from sam2_training.engine.loader import StepLoader
from sam2_training.engine.plan import Order
from sam2_training.engine.task import SampleKey

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS


@dataclass
class ToyBatch:
    values: torch.Tensor
    info: Any = None

    def to(self, device: Any, non_blocking: bool = False) -> ToyBatch:
        return self

    def pin_memory(self) -> ToyBatch:
        return self


class ToyDataset:
    """Samples that depend on their key as real ones do: through a generator of their own."""

    def __init__(self, length: int = 23, bad_index: int = -1, kind: str = "data") -> None:
        self.length, self.bad_index, self.kind = length, bad_index, kind

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: SampleKey) -> torch.Tensor:
        if key.index == self.bad_index:
            match self.kind:
                case "data":
                    raise DataError("the mask is 480x854, its image 720x1280\n  mask  masks/v17/00012.png")
                case "bug":
                    raise KeyError("frame 12")
                case "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "stuck":
                    time.sleep(60)
                case "stuck in a file":
                    with working_on("pictures/00012.jpg"):
                        time.sleep(600)
                case "stopped":
                    with working_on("pictures/00012.jpg"):
                        os.kill(os.getpid(), signal.SIGSTOP)
                        time.sleep(600)
                case "large":
                    return torch.zeros(2**18)
        noise = rng_for(0, "sample", key.epoch, key.position).random(3)
        return torch.tensor([key.epoch, key.position, key.index, *noise])

    def batch(self, keys: Sequence[SampleKey]) -> ToyBatch:
        return ToyBatch(torch.stack([self[key] for key in keys]))


class SelfExamining(ToyDataset):
    """Records what a worker is told at its start."""

    def worker_setup(self) -> None:
        self.was_set_up = True

    def __getitem__(self, key: SampleKey) -> torch.Tensor:
        ignored = all(signal.getsignal(s) == signal.SIG_IGN for s in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1))
        return torch.tensor([float(self.was_set_up), float(ignored), float(torch.get_num_threads())])


def stream(step: int, last_step: int, num_workers: int, **changes: Any) -> list[list[torch.Tensor]]:
    with StepLoader(ToyDataset(), Order(5, 23, 6, 2), 1, batch_size=2, num_workers=num_workers, **changes) as loader:
        return [[batch.values for batch in batches] for batches in loader.from_step(step, last_step)]  # type: ignore[attr-defined]


def same(left: list[list[torch.Tensor]], right: list[list[torch.Tensor]]) -> bool:
    return len(left) == len(right) and all(
        len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(left, right, strict=True)
    )


def test_r04_batches_do_not_depend_on_the_number_of_workers() -> None:
    alone = stream(0, 11, 0)
    assert same(alone, stream(0, 11, 1))
    assert same(alone, stream(0, 11, 3, prefetch=4))


def test_r03_a_stream_that_starts_at_a_step_is_the_rest_of_the_whole_stream() -> None:
    whole = stream(0, 11, 0)
    for step in (1, 3, 4, 7, 11):
        assert same(whole[step:], stream(step, 11, 0))
    assert same(whole[5:], stream(5, 11, 2))


def test_micro_batches_hold_this_ranks_share_of_each_step() -> None:
    order = Order(5, 23, 6, 2)
    for step, batches in enumerate(stream(0, 8, 0)):
        assert [int(row[2]) for values in batches for row in values] == [key.index for key in order.keys(step, 1)]
        assert [len(values) for values in batches] == ([2, 1] if step % 4 < 3 else [2])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_r16_a_data_error_keeps_its_words_and_its_place(num_workers: int) -> None:
    order = Order(5, 23, 6, 1)
    bad_index = order.keys(2, 0)[3].index
    with StepLoader(ToyDataset(bad_index=bad_index), order, 0, 2, num_workers) as loader:
        batches = loader.from_step(0, 4)
        next(batches), next(batches)
        with pytest.raises(DataError) as caught:
            next(batches)
    assert str(caught.value) == "the mask is 480x854, its image 720x1280\n  mask  masks/v17/00012.png"


def test_an_unexpected_error_keeps_its_type_and_shows_where_it_was_raised() -> None:
    loader = StepLoader(ToyDataset(bad_index=0, kind="bug"), Order(5, 23, 23, 1), 0, 4, 1)
    with loader, pytest.raises(KeyError, match="frame 12") as caught:
        next(loader.from_step(0, 4))
    assert "in __getitem__" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_r19_a_killed_worker_is_explained_where_its_batch_is_asked_for(num_workers: int) -> None:
    loader = StepLoader(ToyDataset(bad_index=0, kind="killed"), Order(5, 23, 23, 1), 0, 4, num_workers)
    with loader, pytest.raises(WorkerError, match=r"was killed by SIGKILL while reading.*out of memory") as caught:
        next(loader.from_step(0, 4))
    assert caught.value.exit_code == 5
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("kind", ["stuck in a file", "stopped"])
def test_r19_a_stuck_worker_ends_with_its_stack_and_the_file_that_it_reads(kind: str, tmp_path: Path) -> None:
    dataset = ToyDataset(bad_index=0, kind=kind)
    loader = StepLoader(dataset, Order(5, 23, 23, 1), 0, 4, 2, timeout_minutes=0.05, folder=tmp_path)
    with loader, pytest.raises(HangError, match=r"took longer than 0.05 minutes \(loader.timeout_minutes\)") as caught:
        list(loader.from_step(0, 4))
    path = tmp_path / "logs" / "stacks_loader_workers.txt"
    assert caught.value.exit_code == 5
    assert "is reading pictures/00012.jpg" in str(caught.value)
    assert ("is stopped (SIGSTOP)" in str(caught.value)) is (kind == "stopped")
    assert str(path) in str(caught.value)
    assert "in __getitem__" in path.read_text()
    assert not multiprocessing.active_children()


NO_MEMORY = """
import sys
sys.path[:0] = [{repository!r}, {repository!r} + "/training"]
from tests.engine.test_loader import ToyDataset
from sam2_training.core.errors import WorkerError
from sam2_training.engine.loader import StepLoader
from sam2_training.engine.plan import Order
loader = StepLoader(ToyDataset(1, bad_index=0, kind="large"), Order(5, 1, 1, 1), 0, 1, int(sys.argv[1]))
try:
    with loader: next(loader.from_step(0, 1))
except WorkerError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("unshare") is None, reason="needs Linux and unshare")
@pytest.mark.parametrize(("kib", "num_workers"), [(256, 1), (64, 12)])
def test_r19_too_little_shared_memory_ends_with_the_cure(kib: int, num_workers: int) -> None:
    """One worker has no room for its batch; twelve have none for their queues."""
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mounted = f'mount -t tmpfs -o size={kib}k tmpfs /dev/shm && exec "$@"'
    if subprocess.run([*inside, mounted, "sh", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not make a mount namespace")
    program = [sys.executable, "-c", NO_MEMORY.format(repository=str(REPOSITORY)), str(num_workers)]
    shown = subprocess.run(
        [*inside, mounted, "sh", *program], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert shown.returncode == 5, shown.stderr
    assert "raise --shm-size, or load in the training process: loader.num_workers=0" in shown.stdout
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("kind", ["data", "stuck"])
def test_r12_close_ends_all_workers_within_five_seconds(
    kind: str, check_delay: Callable[[str, float, float], None]
) -> None:
    order = Order(5, 23, 1, 1)
    bad_index = order.keys(1, 0)[0].index if kind == "stuck" else -1
    loader = StepLoader(ToyDataset(bad_index=bad_index, kind=kind), order, 0, 1, num_workers=3)
    batches = loader.from_step(0, 20)
    next(batches)
    workers = [psutil.Process(child.pid) for child in multiprocessing.active_children()]
    assert len(workers) == 3
    for worker in workers:
        worker.terminate()  # ignored: stopping is the main process's decision
    start_s = time.monotonic()
    loader.close()
    check_delay(f"closing a loader with three workers ({kind})", time.monotonic() - start_s, 5)
    assert not any(worker.is_running() for worker in workers)


def test_workers_ignore_stop_signals_use_one_thread_and_set_up_the_dataset() -> None:
    with StepLoader(SelfExamining(), Order(5, 23, 2, 1), 0, 2, 1) as loader:
        batch: Any = next(loader.from_step(0, 1))[0]
    assert batch.values.tolist() == [[1.0, 1.0, 1.0]] * 2


def test_a_stuck_worker_is_killed_in_silence_after_another_loader_left_torchs_handler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    former = signal.getsignal(signal.SIGCHLD)
    monkeypatch.setattr(torch.utils.data._utils.signal_handling, "_SIGCHLD_handler_set", False)  # as in a new process
    list(torch.utils.data.DataLoader([1, 2], num_workers=1))  # its SIGCHLD handler stays, and raises
    order = Order(5, 23, 1, 1)
    loader = StepLoader(ToyDataset(bad_index=order.keys(1, 0)[0].index, kind="stuck"), order, 0, 1, num_workers=3)
    batches = loader.from_step(0, 20)
    next(batches)
    loader.close()
    signal.signal(signal.SIGCHLD, former)


def test_a_dying_worker_does_not_interrupt_other_work() -> None:
    former = signal.getsignal(signal.SIGCHLD)
    with StepLoader(ToyDataset(), Order(5, 23, 2, 1), 0, 2, 1) as loader:
        next(loader.from_step(0, 4))
        assert signal.getsignal(signal.SIGCHLD) == former


def test_a_new_epoch_costs_no_restart_and_waiting_is_counted() -> None:
    with StepLoader(ToyDataset(12), Order(5, 12, 4, 1), 0, 2, 2) as loader:
        batches = loader.from_step(0, 9)
        next(batches)
        workers = {child.pid for child in multiprocessing.active_children()}
        for _ in range(8):
            next(batches)
            assert {child.pid for child in multiprocessing.active_children()} <= workers
    assert loader.wait_seconds > 0


def test_memory_does_not_grow_with_steps() -> None:
    process = psutil.Process()
    with StepLoader(ToyDataset(), Order(5, 23, 4, 1), 0, 2, 1) as loader:
        for number, _ in enumerate(loader.from_step(0, 900)):
            if number == 300:
                before = process.memory_info().rss
        growth_mib = (process.memory_info().rss - before) / 2**20
    assert growth_mib < 4


SCRIPT = """
import sys, time
sys.path.insert(0, {repository!r})
from tests.engine.test_loader import ToyDataset
from sam2_training.engine.loader import StepLoader
from sam2_training.engine.plan import Order
import multiprocessing
loader = StepLoader(ToyDataset(), Order(5, 23, 2, 1), 0, 2, 2)
batches = loader.from_step(0, 10)
next(batches)
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
{ending}
"""


@pytest.mark.parametrize("ending", ["forgot to close", pytest.param("killed", marks=pytest.mark.slow)])
def test_r12_no_worker_outlives_the_main_process(ending: str) -> None:
    last_line = {"killed": "time.sleep(3600)", "forgot to close": "raise ValueError"}[ending]
    script = SCRIPT.format(repository=str(REPOSITORY / "training"), ending=last_line)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        assert len(workers) == 2
        if ending == "killed":
            process.kill()
        process.wait(timeout=WAIT_SECONDS)
    _, alive = psutil.wait_procs(workers, timeout=WAIT_SECONDS)
    assert not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]
