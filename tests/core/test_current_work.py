"""What a thread is at, as the process itself and its parent see it."""

from __future__ import annotations

import os

import pytest
from sam2_training.core import current_work
from sam2_training.core.current_work import new_note, publish_in, read_note, work_that_takes_longer_than, working_on


def test_nested_work_is_named_with_what_it_is_a_part_of() -> None:
    assert work_that_takes_longer_than(-1) is None
    with working_on("a batch"), working_on("pictures/7.jpg"):
        assert work_that_takes_longer_than(-1) == "a batch: pictures/7.jpg"
        assert work_that_takes_longer_than(600) is None
    assert work_that_takes_longer_than(-1) is None


def test_a_note_holds_what_its_writer_is_at_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_work, "_note", None)
    note = new_note()
    assert read_note(note) is None
    publish_in(note)
    with working_on("a batch"):
        with working_on("täglich/7.jpg"):
            assert read_note(note) == (os.getpid(), "täglich/7.jpg")
        with working_on("x" * 2 * current_work.NOTE_BYTES):
            found = read_note(note)
            assert found is not None
            assert set(found[1]) == {"x"}
        assert read_note(note) == (os.getpid(), "a batch")
    assert read_note(note) == (os.getpid(), "")
