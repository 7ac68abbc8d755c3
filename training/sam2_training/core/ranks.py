"""Ranks: this process among its peers, its device, and the exchanges between ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]  # documented, but not in __all__
from torch.distributed.rendezvous import rendezvous

from sam2_training.core.errors import ConfigError
from sam2_training.core.rank_variables import RankNumbers, rank_numbers
from sam2_training.core.shared_work import AnotherFailedError, HeartbeatCallback, SharedWork, no_heartbeat

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among its peers. Build it with `ranks_from_environment`, use it inside `process_group`."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """True on the one process that writes files and talks to the user."""
        return self.rank == 0

    def any_says(self, value: bool) -> bool:
        """True on every rank if it is True on at least one; exchanged on the CPU, without waiting for the device."""
        if self.world_size == 1:
            return value
        flag = torch.tensor([int(value)], dtype=torch.int32)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=_control_group())
        return bool(flag.item())

    def mean_tensor(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over ranks of a device tensor, left on the device."""
        if self.world_size == 1:
            return values
        total = values.detach().clone()
        dist.all_reduce(total)
        return total / self.world_size

    def max_tensor(self, values: torch.Tensor) -> torch.Tensor:
        """The maximum over ranks of a device tensor, left on the device."""
        if self.world_size == 1:
            return values
        largest = values.detach().clone()
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return largest

    def from_main(self, value: Any) -> Any:
        """Rank 0's value (anything that can be pickled), on every rank."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=_control_group())
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=_control_group())
        return values

    def collect_with_heartbeat(
        self, work: Callable[[HeartbeatCallback], T], heartbeat: HeartbeatCallback = no_heartbeat
    ) -> list[T]:
        """What `work` returns on every rank, in rank order, on every rank.

        work: gets a heartbeat function, to be called often. The others wait as long as any rank sends heartbeats;
        without any for trainer.collective_timeout_minutes, the run ends with HangError. heartbeat: called at each of
        them, and while this rank waits. An expected failure on one rank is raised on all, the lowest rank's first.
        """
        if self.world_size == 1:
            return [work(heartbeat)]
        shared = _next_shared_work(self)
        everybodys = self.gather(shared.do(work, heartbeat))
        failures = [failure for _, failure in everybodys if failure is not None]
        if failures:
            raise next((one for one in failures if not isinstance(one, AnotherFailedError)), failures[0])
        return [found for found, _ in everybodys]

    def main_first(self, build: Callable[[HeartbeatCallback], T]) -> T:
        """What `build` returns, on every rank; rank 0 builds first, so that the others find its caches.

        build: gets a heartbeat function, as in `collect_with_heartbeat`. An expected failure on rank 0 is raised on
        every rank, so that none waits for it.
        """
        if self.world_size == 1:
            return build(no_heartbeat)
        result: list[T] = []
        self.collect_with_heartbeat(lambda heartbeat: result.append(build(heartbeat)) if self.is_main else None)
        return result[0] if result else build(no_heartbeat)

    def choose(self, main: T, others: T) -> T:
        """`main` on rank 0, `others` elsewhere: for where output goes."""
        return main if self.is_main else others

    def on_main(self, action: Callable[[], object]) -> None:
        """Runs `action` on rank 0 only; nobody waits for it."""
        if self.is_main:
            action()

    def sum_each(self, values: list[float]) -> list[float]:
        """Each value's sum over ranks; exchanged on the CPU, without waiting for the device."""
        if self.world_size == 1:
            return values
        totals = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(totals, group=_control_group())
        return [float(total) for total in totals.tolist()]

    def barrier(self) -> None:
        """Returns when every rank has arrived."""
        if self.world_size > 1:
            dist.barrier(group=_control_group())


def ranks_from_environment(accelerator: str, gpus: Sequence[int] = ()) -> Ranks:
    """The rank that torchrun's environment variables name, or the only one.

    accelerator: "auto" (a GPU if there is one), "cpu", "cuda" or "mps". gpus: the GPU of each local rank; (): as they
    are counted. Raises ConfigError when the machine has fewer GPUs
    than this process's local rank needs, and for a part of torchrun's variables.
    """
    numbers = rank_numbers() or RankNumbers()
    device = choose_device(accelerator, numbers.local_rank, gpus)
    return Ranks(numbers.rank, numbers.local_rank, numbers.world_size, device)


def choose_device(accelerator: str, local_rank: int, gpus: Sequence[int] = ()) -> torch.device:
    """The device of a local rank: see `ranks_from_environment`."""
    if accelerator == "cpu":
        return torch.device("cpu")
    if accelerator == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError(
                "trainer.accelerator=mps: this machine has no GPU that torch reaches through mps (Macs with Apple "
                "silicon have); set it to auto, cpu or cuda"
            )
        return torch.device("mps")
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if num_gpus == 0 and accelerator == "auto" and not gpus:
        return torch.device("cpu")
    if gpus and max(gpus) >= num_gpus:
        raise ConfigError(
            f"launcher.gpus_per_node={list(gpus)} names GPU {max(gpus)}, and this machine has {num_gpus} usable "
            "GPU(s), counted from 0"
        )
    if gpus and local_rank < len(gpus):
        return torch.device("cuda", gpus[local_rank])
    if local_rank >= num_gpus:
        raise ConfigError(
            f"this machine has {num_gpus} usable GPU(s), but process {local_rank + 1} on it was asked to use one more. "
            f"Start at most {max(num_gpus, 1)} process(es) (--num-gpus), or set trainer.accelerator=cpu."
        )
    return torch.device("cuda", local_rank)


@dataclass
class _GroupState:
    """What the ranks share while `process_group` is open."""

    control: dist.ProcessGroup | None
    store: Store
    timeout_seconds: float
    shared_works: int = 0


_group_state: _GroupState | None = None


def _control_group() -> dist.ProcessGroup | None:
    return _group_state.control if _group_state is not None else None


def _next_shared_work(ranks: Ranks) -> SharedWork:
    """The next piece of shared work: all ranks count alike, so equal numbers mean the same work."""
    if _group_state is None:
        raise RuntimeError("several ranks work together only inside process_group()")
    _group_state.shared_works += 1
    store = PrefixStore(f"shared_work/{_group_state.shared_works}", _group_state.store)
    return SharedWork(store, ranks.rank, ranks.world_size, _group_state.timeout_seconds)


@contextmanager
def process_group(ranks: Ranks, timeout_seconds: float) -> Iterator[None]:
    """Joins this process to its peers while the block runs: nccl between GPUs, gloo between CPUs.

    A second, gloo group carries flags and small CPU values, so that agreeing on a stop never waits for a GPU.
    """
    global _group_state
    on_gpu = ranks.device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(ranks.device)
    if ranks.world_size == 1:
        yield
        return
    timeout = timedelta(seconds=timeout_seconds)
    store, rank, world_size = next(rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=PrefixStore("group", store),
        rank=rank,
        world_size=world_size,
        timeout=timeout,
        device_id=ranks.device if on_gpu else None,
    )
    group = dist.new_group(backend="gloo", timeout=timeout)
    _group_state = _GroupState(group if isinstance(group, dist.ProcessGroup) else None, store, timeout_seconds)
    try:
        yield
    finally:
        _group_state = None
        dist.destroy_process_group()
