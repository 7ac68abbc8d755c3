"""How far some work is, and how long the rest takes."""

from __future__ import annotations

import pytest
from sam2_training.core import progress
from sam2_training.core.progress import Pace


def test_a_line_is_due_now_and_then_with_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    pace = Pace(8)
    assert not pace.reach(0)
    due = []
    for done in range(1, 11):
        now[0] += 4.0
        due.append(pace.reach(done))
    assert due == [False, False, True, False, False, True, False, False, True, False]
    assert (pace.done, pace.left(), pace.elapsed()) == (8, "0:00", "0:40")
    pace.reach(4)
    assert pace.left() == "0:40"


def test_the_end_is_shown_once_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    pace = Pace(2)
    due = []
    for done in (1, 2, 3, 4):
        now[0] += 11.0
        due.append(pace.reach(done))
    assert due == [True, True, False, False]


def test_nothing_is_done_at_first_and_there_is_at_least_one_unit() -> None:
    for total, known in ((0, 1), (1, 1), (2, 2)):
        pace = Pace(total)
        assert (pace.done, pace.total) == (0, known)
    pace = Pace(1)
    pace.reach(1)
    assert pace.left() == "0:00"
