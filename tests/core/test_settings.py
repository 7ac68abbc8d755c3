"""Rules at the fields of configuration classes: bounds, units, names, and what a resumed run may change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from sam2_training.core.settings import Setting, alias_table, keys_of, setting, value_problems


@dataclass(frozen=True)
class Part:
    size: int = setting(64, multiple_of=32, unit="pixels", aliases=("old.size",))
    rate: float | None = setting(None, above=0)


@dataclass(frozen=True)
class Entry:
    name: str
    weight: float = setting(at_least=0)


@dataclass(frozen=True)
class Whole:
    count: int = setting(1, at_least=1)
    span: tuple[int, int] = setting((1, 1), at_least=1, ascending=True)
    entries: tuple[Entry, ...] = ()
    part: Part = field(default_factory=Part)
    other: Part | None = None
    loose: Entry | None = setting(None, free=True)

    def problems(self, where: str) -> Iterator[str]:
        if self.count == 7:
            yield f"{where}.count=7 does not go with this"


def problems(**values: object) -> list[str]:
    return list(value_problems(Whole(**values), "whole"))  # type: ignore[arg-type]


def test_defaults_break_no_rule() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("rules", "value", "words"),
    [
        (Setting(at_least=1), 0, "a.b=0 must be at least 1"),
        (Setting(above=0, unit="minutes"), 0.0, "a.b=0.0 must be above 0 minutes"),
        (Setting(at_least=0, at_most=1), 1.5, "a.b=1.5 must lie between 0 and 1"),
        (Setting(at_least=0, below=1), 1.0, "a.b=1.0 must lie between 0 and 1, 1 excluded"),
        (Setting(above=0, at_most=1), 0, "a.b=0 must lie between 0 and 1, 0 excluded"),
        (Setting(above=0), (1.0, -1.0), "a.b=[1.0, -1.0] must be above 0"),
        (Setting(ascending=True), (3, 1), "a.b=[3, 1] must ascend: [smallest, largest]"),
        (Setting(multiple_of=32), 500, "a.b=500 is not a multiple of 32; nearest: 480 or 512"),
        (Setting(multiple_of=32), 0, "a.b=0 is not a multiple of 32; nearest: 32 or 64"),
        (Setting(multiple_of=32), -64, "a.b=-64 is not a multiple of 32; nearest: 32 or 64"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_broken_bound_is_a_sentence_with_key_value_and_cure(rules: Setting, value: object, words: str) -> None:
    assert rules.problem("a.b", value, optional=False) == words


def test_null_is_offered_where_it_is_valid() -> None:
    assert problems(part=Part(rate=-1.0)) == ["whole.part.rate=-1.0 must be above 0, or null"]


def test_all_problems_are_found_inside_sections_optional_ones_and_lists() -> None:
    found = problems(count=0, span=(2, 1), entries=(Entry("a", 1), Entry("b", -1)), other=Part(size=33))
    assert [problem.split("=")[0] for problem in found] == [
        "whole.count",
        "whole.span",
        "whole.entries[1].weight",
        "whole.other.size",
    ]
    assert problems(count=7) == ["whole.count=7 does not go with this"]


def test_keys_say_what_a_resumed_run_may_change_and_sections_hand_it_on() -> None:
    free = {key.path: key.free for key in keys_of(Whole)}
    assert (free["loose"], free["loose.weight"], free["count"], free["other.size"]) == (True, True, False, False)
    assert [key.path for key in keys_of(Whole) if key.section is not None] == ["part", "other", "loose"]


def test_an_alias_has_one_key_only() -> None:
    assert alias_table(Part) == {"old.size": "size"}
    with pytest.raises(TypeError, match=r"two keys share a name.*old\.size"):
        alias_table(Whole)  # it has two sections of that class
