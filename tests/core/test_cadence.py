"""When something that happens now and then is due."""

from __future__ import annotations

from itertools import pairwise

from sam2_training.core.cadence import due, passed


def test_due_at_multiples_and_at_the_first_and_the_last() -> None:
    assert [step for step in range(12) if due(step, 4)] == [4, 8]
    assert [step for step in range(12) if due(step, 4, first=1, last=11)] == [1, 4, 8, 11]
    assert [step for step in range(12) if due(step, None, last=11)] == [11]
    assert not any(due(step, 0) for step in range(12))
    assert [step for step in range(4) if due(step, 1)] == [1, 2, 3]


def test_a_multiple_that_was_passed_is_noticed_once() -> None:
    seen = [0, 3, 6, 9, 12, 15]
    assert [now for former, now in pairwise(seen) if passed(now, former, 5)] == [6, 12, 15]
    assert [now for former, now in pairwise(seen) if passed(now, former, 1)] == seen[1:]
    assert not passed(12, 0, 0)
