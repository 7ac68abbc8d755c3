"""Ranks that wait for each other's work: as long as it goes on, and not longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sam2_training.core import shared_work
from sam2_training.core.errors import DataError, HangError, TrainingError
from sam2_training.core.shared_work import AnotherFailedError, HeartbeatCallback, SharedWork, no_heartbeat
from torch.distributed import HashStore  # type: ignore[attr-defined]

from tests.two_ranks import seen_by_two_ranks
from tests.waiting import WAIT_SECONDS

PATIENCE = 0.4
Work = Callable[[HeartbeatCallback], Any]


class Rank(threading.Thread):
    """One of two ranks, as a thread: what came back, what was raised, how long it took."""

    def __init__(self, store: HashStore, rank: int, work: Work, heartbeat: HeartbeatCallback) -> None:
        super().__init__()
        self.shared, self.work, self.heartbeat = SharedWork(store, rank, 2, PATIENCE), work, heartbeat
        self.outcome: tuple[Any, TrainingError | None] | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        began = time.monotonic()
        try:
            self.outcome = self.shared.do(self.work, self.heartbeat)
        except BaseException as error:
            self.error = error
        self.seconds = time.monotonic() - began


def play(first: Work, second: Work, heartbeat: HeartbeatCallback = no_heartbeat) -> tuple[Rank, Rank]:
    """Two ranks that do different work; heartbeat is the first one's."""
    store = HashStore()
    ranks = Rank(store, 0, first, heartbeat), Rank(store, 1, second, no_heartbeat)
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(WAIT_SECONDS)
        assert not rank.is_alive()
    return ranks


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_work, "SECONDS_BETWEEN_HEARTBEATS", 0.05)
    monkeypatch.setattr(shared_work, "SECONDS_AFTER_A_FAILURE", 1.0)


def works(seconds: float, signs: bool = True) -> Work:
    def work(heartbeat: HeartbeatCallback) -> str:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.01)
            if signs:
                heartbeat()
        return f"{seconds:g} s"

    return work


def fails(error: BaseException) -> Work:
    def work(heartbeat: HeartbeatCallback) -> None:
        raise error

    return work


def test_who_is_ready_waits_longer_than_its_patience_while_the_other_gives_signs() -> None:
    calls: list[float] = []
    first, second = play(works(0), works(4 * PATIENCE), lambda: calls.append(time.monotonic()))
    assert (first.outcome, second.outcome) == (("0 s", None), ("1.6 s", None))
    assert first.seconds > 3 * PATIENCE
    assert calls[-1] - calls[0] > 3 * PATIENCE  # the waiting rank shows that it lives, too


def test_r19_a_rank_without_a_sign_of_life_is_named() -> None:
    first, _ = play(works(0), works(15 * PATIENCE, signs=False))
    assert isinstance(first.error, HangError)
    assert str(first.error) == "no heartbeat from rank 1 for 0.4 s, while rank 0 waited"
    assert first.seconds < 10 * PATIENCE


@pytest.mark.parametrize("which", [0, 1])
def test_r13_an_expected_failure_ends_the_others_work(which: int) -> None:
    error = DataError("frame 7 is damaged")
    work = [works(20), works(20)]
    work[which] = fails(error)
    ranks = play(*work)
    assert ranks[which].outcome == (None, error)
    other = ranks[1 - which].outcome
    assert other is not None
    assert isinstance(other[1], AnotherFailedError)
    assert max(rank.seconds for rank in ranks) < 10


def test_r13_a_rank_that_is_gone_is_not_waited_for() -> None:
    first, second = play(works(0), fails(ZeroDivisionError("a bug")))
    assert isinstance(second.error, ZeroDivisionError)
    assert isinstance(first.error, AnotherFailedError)
    assert "another rank ended" in str(first.error)
    assert first.seconds < 10


def test_a_failure_is_not_hidden_by_a_rank_that_is_gone() -> None:
    error = DataError("frame 7 is damaged")
    first, _ = play(fails(error), fails(ZeroDivisionError("a bug")))
    assert first.error is error


@pytest.mark.parametrize("seconds", [0.0, 20.0], ids=["waiting", "working"])
def test_r12_a_stop_ends_the_work_of_all(seconds: float) -> None:
    stopped = TrainingError("stopped on request")
    began = time.monotonic()

    def heartbeat() -> None:
        if time.monotonic() - began > 0.3:
            raise stopped

    first, second = play(works(seconds), works(20), heartbeat)
    assert first.outcome is not None
    assert first.outcome[1] is stopped
    assert second.outcome is not None
    assert isinstance(second.outcome[1], AnotherFailedError)
    assert max(first.seconds, second.seconds) < 10


def test_signs_are_not_sent_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network tracks hundreds of frames a second; the store is asked twice a second."""
    monkeypatch.setattr(shared_work, "SECONDS_BETWEEN_HEARTBEATS", 10.0)
    store = HashStore()
    assert SharedWork(store, 0, 1, PATIENCE).do(works(0.2), no_heartbeat) == ("0.2 s", None)
    assert store.add("heartbeats", 0) == 1


PROGRAM = """
import json, os, time
from sam2_training.core.ranks import process_group, ranks_from_environment
from sam2_training.core.errors import DataError
ranks = ranks_from_environment("cpu")

def slow(heartbeat):
    until = time.monotonic() + 1.4 * TIMEOUT
    while time.monotonic() < until:
        time.sleep(0.05)
        heartbeat()
    return f"by {ranks.rank}"

def damaged(heartbeat):
    if ranks.rank == 1:
        raise DataError("frame 7 is damaged")
    slow(heartbeat)

with process_group(ranks, TIMEOUT):
    seen = {"gathered": ranks.collect_with_heartbeat(lambda beat: slow(beat) if ranks.rank == 1 else "at once")}
    seen["built"] = ranks.main_first(slow if ranks.rank == 0 else lambda heartbeat: "from its cache")
    try:
        ranks.collect_with_heartbeat(damaged)
    except DataError as error:
        seen["failure"] = str(error)
    ranks.barrier()
with open(os.environ["RESULT"] + str(ranks.rank), "w") as file:
    json.dump(seen, file)
"""


@pytest.mark.slow
def test_two_processes_wait_longer_than_a_collective_may_take(tmp_path: Path) -> None:
    seen = seen_by_two_ranks(PROGRAM.replace("TIMEOUT", "5.0"), tmp_path)
    assert [one["gathered"] for one in seen] == [["at once", "by 1"]] * 2
    assert [one["built"] for one in seen] == ["by 0", "from its cache"]
    assert [one["failure"] for one in seen] == ["frame 7 is damaged"] * 2
