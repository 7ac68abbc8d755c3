"""Work that takes ranks different times: those that have finished wait while the others send heartbeats."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sam2_training.core.errors import HangError, TrainingError

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]  # documented, but not in __all__

T = TypeVar("T")
HeartbeatCallback = Callable[[], None]
"""To be called often during work: it reports that the work continues, and raises if it must end."""

SECONDS_BETWEEN_HEARTBEATS = 0.5
POLL_SECONDS = 0.02
SECONDS_AFTER_A_FAILURE = 10.0
"""How long a rank may take to notice that another one has failed."""


ANOTHER_ENDED = "another rank ended; its own error, or run_status.json, says why"


def no_heartbeat() -> None:
    """A heartbeat for work that no other rank waits for; does nothing."""


class AnotherFailedError(TrainingError):
    """This rank stopped because another one failed, whose own error gives the reason."""


class SharedWork:
    """One piece of work of several ranks. Each calls `do` once; there is no fixed time-out, as collectives have.

    A waiting rank polls counters in the ranks' common store and takes part in no collective meanwhile.
    """

    def __init__(self, store: Store, rank: int, world_size: int, timeout_seconds: float) -> None:
        """store: for this work alone. timeout_seconds: waiting ranks give up after this long without a heartbeat from
        any rank."""
        self.store, self.rank, self.world_size, self.timeout_seconds = store, rank, world_size, timeout_seconds
        self._next_heartbeat = 0.0

    def do(
        self, work: Callable[[HeartbeatCallback], T], heartbeat: HeartbeatCallback
    ) -> tuple[T | None, TrainingError | None]:
        """What `work` returned on this rank, or its expected failure; returns when all ranks have finished.

        heartbeat: called while working and waiting; what it raises counts as this rank's failure. A failure of one rank
        ends the work of the others at their next heartbeat. Raises HangError when no heartbeat came for too long, and
        AnotherFailedError when a rank failed in an unexpected way and is gone.
        """
        result: T | None = None
        failure: TrainingError | None = None

        def beat() -> None:
            heartbeat()
            self._beat()

        try:
            result = work(beat)
        except TrainingError as error:
            failure = error
            self._report_failure()
        except BaseException:
            self._report_failure()
            raise
        self.store.set(f"finished/{self.rank}", "")
        return result, self._wait(heartbeat, failure)

    def _beat(self) -> None:
        if time.monotonic() < self._next_heartbeat:
            return
        self._next_heartbeat = time.monotonic() + SECONDS_BETWEEN_HEARTBEATS
        self.store.add("heartbeats", 1)
        if self.store.check(["failed"]):
            raise AnotherFailedError("another rank failed; its own error says why")

    def _report_failure(self) -> None:
        self.store.add("failed", 1)

    def _wait(self, heartbeat: HeartbeatCallback, failure: TrainingError | None) -> TrainingError | None:
        """Returns when every rank has finished: this rank's failure, which may come while it waits."""
        heartbeats, since = -1, time.monotonic()
        while working := [rank for rank in range(self.world_size) if not self.store.check([f"finished/{rank}"])]:
            if failure is None:
                try:
                    heartbeat()
                except TrainingError as error:
                    failure = error
                    self._report_failure()
            newest = self.store.add("heartbeats", 0)
            if newest != heartbeats:
                heartbeats, since = newest, time.monotonic()
            failed = self.store.check(["failed"])
            if time.monotonic() - since > (SECONDS_AFTER_A_FAILURE if failed else self.timeout_seconds):
                raise failure or self._why_given_up(working, failed)
            time.sleep(POLL_SECONDS)
        return failure

    def _why_given_up(self, working: list[int], failed: bool) -> TrainingError:
        """The error of a rank that gives up waiting for those that have not finished."""
        if failed:
            return AnotherFailedError(ANOTHER_ENDED)
        names = ", ".join(str(rank) for rank in working)
        return HangError(
            f"no heartbeat from rank {names} for {self.timeout_seconds:g} s, while rank {self.rank} waited"
        )
