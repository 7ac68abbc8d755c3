"""What differs from the configuration in a checkpoint, which an earlier version may have written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sam2_training.core.changes import differences
from sam2_training.core.schema import as_dict
from sam2_training.core.settings import setting


@dataclass(frozen=True)
class Part:
    size: int = setting(1, aliases=("old.size",))
    workers: int = setting(2, free=True)


@dataclass(frozen=True)
class Files:
    folder: str = setting("here", free=True)
    interval: int = 1


@dataclass(frozen=True)
class Whole:
    seed: int = 1
    part: Part = field(default_factory=Part)
    more: Files | None = setting(None, aliases=("former",))
    shown: Files = setting(default_factory=Files, free=True)


def changes(old: dict[str, Any], new: Whole) -> tuple[list[str], list[str]]:
    return differences(Whole, old, as_dict(new))


def test_equal_configurations_do_not_differ() -> None:
    assert changes(as_dict(Whole()), Whole()) == ([], [])


def test_changes_are_told_apart_by_what_the_field_says() -> None:
    found = changes(as_dict(Whole()), Whole(seed=2, part=Part(3, 4), shown=Files("there", 5)))
    assert found == (
        ["part.size: 1 -> 3", "seed: 1 -> 2"],
        ["part.workers: 2 -> 4", "shown.folder: 'here' -> 'there'", "shown.interval: 1 -> 5"],
    )


def test_another_spelling_is_no_difference_but_another_value_under_it_is() -> None:
    old = {"seed": 1, "old": {"size": 7}, "former": {"folder": "here", "interval": 1}, "shown": {}}
    assert changes(old, Whole(part=Part(7), more=Files())) == ([], [])
    assert changes(old, Whole(part=Part(8), more=Files())) == (["part.size: 7 -> 8"], [])
    assert changes(old, Whole(part=Part(7), more=Files(interval=2))) == (["more.interval: 1 -> 2"], [])


def test_a_key_that_is_new_had_its_default() -> None:
    assert changes({"seed": 1, "more": {"folder": "x"}}, Whole(more=Files("x"))) == ([], [])
    assert changes({"seed": 1}, Whole(part=Part(size=5))) == (["part.size: 1 -> 5"], [])


def test_a_key_that_is_gone_follows_its_section() -> None:
    old = as_dict(Whole()) | {"gone": 1, "shown": {"folder": "here", "interval": 1, "gone": 1}}
    assert changes(old, Whole()) == (["gone: 1 -> None"], ["shown.gone: 1 -> None"])


def test_a_section_that_comes_or_goes_is_a_difference() -> None:
    there = as_dict(Whole(more=Files()))
    assert "more.interval: None -> 1" in changes(as_dict(Whole()), Whole(more=Files()))[0]
    assert "more.interval: 1 -> None" in changes(there, Whole())[0]
