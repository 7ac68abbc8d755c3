"""Work that ranks do at their own pace: who has finished waits as long as the others give signs of life."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sam2_training.core.errors import HangError, TrainingError

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]  # documented, but not in __all__

T = TypeVar("T")
SignOfLife = Callable[[], None]
"""To be called often by whoever works: it says that the work goes on, and raises when it shall not."""

SECONDS_BETWEEN_SIGNS = 0.5
SECONDS_BETWEEN_LOOKS = 0.02
SECONDS_AFTER_A_FAILURE = 10.0
"""How long a rank may take to notice that another one has failed."""


def no_sign() -> None:
    """A sign of life that nobody waits for."""


class AnotherFailedError(TrainingError):
    """This rank stopped working because another one failed, whose own error says why."""


class SharedWork:
    """One piece of work of several ranks. Each calls `do` once; a collective's fixed time-out would not fit here.

    A waiting rank looks at counters in the store that the ranks met at, and takes part in no collective meanwhile.
    """

    def __init__(self, store: Store, rank: int, world_size: int, patience: float) -> None:
        """store: for this work alone. patience: seconds without any rank's sign after which the others give up."""
        self.store, self.rank, self.world_size, self.patience = store, rank, world_size, patience
        self._next_sign = 0.0

    def do(self, work: Callable[[SignOfLife], T], alive: SignOfLife) -> tuple[T | None, TrainingError | None]:
        """What `work` returned on this rank, or its expected failure; comes back when all ranks have finished.

        alive: called while working and waiting; what it raises counts as this rank's failure. A failure of one rank
        ends the work of the others at their next sign of life. Raises HangError when no sign came for too long, and
        AnotherFailedError when a rank failed in an unexpected way and is gone.
        """
        result: T | None = None
        failure: TrainingError | None = None

        def sign() -> None:
            alive()
            self._sign()

        try:
            result = work(sign)
        except TrainingError as error:
            failure = error
            self._tell_of_failure()
        except BaseException:
            self._tell_of_failure()
            raise
        self.store.set(f"finished/{self.rank}", "")
        return result, self._wait(alive, failure)

    def _sign(self) -> None:
        if time.monotonic() < self._next_sign:
            return
        self._next_sign = time.monotonic() + SECONDS_BETWEEN_SIGNS
        self.store.add("signs", 1)
        if self.store.check(["failed"]):
            raise AnotherFailedError("another rank failed; its own error says why")

    def _tell_of_failure(self) -> None:
        self.store.add("failed", 1)

    def _wait(self, alive: SignOfLife, failure: TrainingError | None) -> TrainingError | None:
        """Returns when every rank has finished: this rank's failure, which may come while it waits."""
        signs, since = -1, time.monotonic()
        while working := [rank for rank in range(self.world_size) if not self.store.check([f"finished/{rank}"])]:
            if failure is None:
                try:
                    alive()
                except TrainingError as error:
                    failure = error
                    self._tell_of_failure()
            newest = self.store.add("signs", 0)
            if newest != signs:
                signs, since = newest, time.monotonic()
            failed = self.store.check(["failed"])
            if time.monotonic() - since > (SECONDS_AFTER_A_FAILURE if failed else self.patience):
                raise failure or self._gone(working, failed)
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return failure

    def _gone(self, working: list[int], failed: bool) -> TrainingError:
        """Why this rank gives up on those that have not finished."""
        if failed:
            return AnotherFailedError("another rank ended; its own error says why")
        names = ", ".join(str(rank) for rank in working)
        return HangError(f"no sign of life from rank {names} for {self.patience:g} s, while rank {self.rank} waited")
