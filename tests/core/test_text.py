"""Names, counts and time spans as people read them."""

from __future__ import annotations

import os

import pytest
from sam2_training.core.text import count, duration, natural_key, rounded_duration, shown, shown_lines, some


def test_a_list_of_names_ends_with_the_number_of_the_others() -> None:
    names = ["a", "b", "c", "d"]
    assert some(names, 4) == "a, b, c, d"
    assert some(names, 3) == "a, b, c and 1 more"
    assert some([]) == "none"


def test_counts_have_their_plural() -> None:
    assert [count(number, "video") for number in (0, 1, 2)] == ["0 videos", "1 video", "2 videos"]


def test_durations_that_count() -> None:
    assert [duration(s) for s in (42, 725, 12_000, 187_200)] == ["0:42", "12:05", "3:20:00", "2 d 04:00:00"]


def test_durations_in_a_text() -> None:
    seconds = (42, 125, 2523, 3 * 3600 + 300, 60 * 3600)
    assert [rounded_duration(s) for s in seconds] == ["42 s", "2 min 05 s", "42 min", "3 h 05 min", "2 d 12 h"]


def test_natural_key_orders_any_names() -> None:
    assert sorted(["b", "a1b", "1", "a", "a10", "01", "a2", "ä", "a1"], key=natural_key)[:4] == ["01", "1", "a", "a1"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a\x1b[2J\x1b]0;owned\x07", r"a\x1b[2J\x1b]0;owned\x07"),
        ("two\nlines\tand\r", r"two\x0alines\x09and\x0d"),
        ("\u202etxt.exe \u2066x\u2069 \u200f\u061c", r"\u202etxt.exe \u2066x\u2069 \u200f\u061c"),
        ("\u0085\u009b2J\u2028\ufeffbom\x7f", r"\x85\x9b2J\u2028\ufeffbom\x7f"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("\ud83c alone", r"\ud83c alone"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_escaped(name: str, text: str) -> None:
    assert shown(name) == text
    assert shown(text) == text
    assert some([name, "b"]) == f"{text}, b"


@pytest.mark.parametrize("name", ["caf\u00e9", "视频🎥", "می‌خواهم", "👩‍🚀", "مرحبا", "שלום", "a b", "C:\\x", "<b>"])
def test_text_of_any_script_is_shown_as_it_is(name: str) -> None:
    assert shown(name) == shown_lines(name) == name


def test_lines_of_a_message_stay_lines() -> None:
    assert shown_lines("one\n  two\x1b\u202e\r\n") == "one\n  two\\x1b\\u202e\\x0d\n"
