"""What is said of a command's progress where there is no terminal."""

from __future__ import annotations

import io

import pytest
from sam2_training.core import progress
from sam2_training.core.progress_bar import Progress

from tests.terminal import Terminal


def test_lines_come_now_and_then_with_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress(40, "frames", stream) as shown:
        for done in range(1, 41):
            now[0] += 2.0
            shown.reach(done, "cat")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "5/40 frames (cat), 1:10 left"
    assert len(lines) == 9  # every 10 of 80 seconds, and the sum
    assert lines[-1] == "40 frames in 1:20"


def test_a_bar_appears_on_a_terminal_unless_it_is_switched_off() -> None:
    for enable, has_bar in ((True, True), (False, False)):
        stream = Terminal()
        with Progress(2, "frames", stream, enable) as shown:
            shown.reach(1, "cat")
            shown.reach(2, "cat")
        assert ("100%|" in stream.getvalue()) is has_bar


def test_nothing_is_summed_up_when_the_work_failed() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="broken"), Progress(2, "frames", stream):
        raise ValueError("broken")
    assert stream.getvalue() == ""
