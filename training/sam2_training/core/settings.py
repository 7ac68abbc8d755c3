"""What a configuration field says of itself besides type and default: bounds, unit, older names, free on resume."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

_METADATA = "setting"


@dataclass(frozen=True)
class Setting:
    """The rules of one field. Bounds of a list hold for each of its numbers."""

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    multiple_of: int | None = None
    """Also at least this."""
    ascending: bool = False
    """A list must not fall from one entry to the next."""
    unit: str = ""
    """Such as pixels; shown in messages and on the page of all keys."""
    free: bool = False
    """Whether a resumed run may change it; for a section: all that is in it."""
    aliases: tuple[str, ...] = ()
    """Other full names of the key, such as those of earlier versions; one that starts with a dot is another name in
    the same section, whichever that is."""
    read: Callable[[Any], Any] | None = None
    """Gives the field's value for another spelling of it, such as 512 for "512x512", and everything else as it is.
    Raises ValueError with what the value must be."""

    def problem(self, where: str, value: Any, optional: bool) -> str | None:
        """A sentence if a value breaks the rules. optional: whether null would be valid."""
        found = f"{where}={list(value) if isinstance(value, tuple) else value}"
        entries = value if isinstance(value, tuple) else (value,)
        numbers = [entry for entry in entries if isinstance(entry, int | float)]
        if self.multiple_of is not None and any(n < self.multiple_of or n % self.multiple_of for n in numbers):
            low = max(self.multiple_of, value // self.multiple_of * self.multiple_of)
            return f"{found} is not a multiple of {self.multiple_of}; nearest: {low} or {low + self.multiple_of}"
        if any(not self._holds(number) for number in numbers):
            return f"{found} must {self.bounds_text()}{', or null' if optional else ''}"
        if self.ascending and list(numbers) != sorted(numbers):
            return f"{found} must ascend: [smallest, largest]"
        return None

    def bounds_text(self) -> str:
        """The bounds in words, such as "lie between 0 and 1, 1 excluded"; "" if there are none."""
        unit = f" {self.unit}" if self.unit else ""
        low, high = self._first(self.at_least, self.above), self._first(self.at_most, self.below)
        if low is not None and high is not None:
            left_out = [f"{n:g}" for n in (self.above, self.below) if n is not None]
            excluded = f", {' and '.join(left_out)} excluded" if left_out else ""
            return f"lie between {low:g} and {high:g}{unit}{excluded}"
        words = ("at least", self.at_least), ("above", self.above), ("at most", self.at_most), ("below", self.below)
        return next((f"be {word} {bound:g}{unit}" for word, bound in words if bound is not None), "")

    def _holds(self, number: float) -> bool:
        return (
            (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
        )

    @staticmethod
    def _first(one: float | None, other: float | None) -> float | None:
        return other if one is None else one


def setting(default: Any = MISSING, *, default_factory: Callable[[], Any] | Any = MISSING, **rules: Any) -> Any:
    """A dataclass field with a `Setting`, whose fields are the further arguments."""
    return dataclasses.field(default=default, default_factory=default_factory, metadata={_METADATA: Setting(**rules)})


def setting_of(field: dataclasses.Field[Any]) -> Setting:
    """The rules of a field; none for one that was not made by `setting`."""
    found: Setting = field.metadata.get(_METADATA, Setting())
    return found


@dataclass(frozen=True)
class Key:
    """One key of a configuration class, a value or a section."""

    path: str
    """Its full name, such as trainer.max_steps."""
    setting: Setting
    free: bool
    """Whether a resumed run may change it, by its own rules or those of a section around it."""
    section: type | None
    """The class of a section; None: a value."""
    aliases: tuple[str, ...] = ()
    """Its other full names."""


def keys_of(cls: type, path: str = "", free: bool = False) -> Iterator[Key]:
    """Every key of a configuration class and of the sections inside it; those of list entries are not among them."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        where, rules = f"{path}.{field.name}" if path else field.name, setting_of(field)
        inner = without_none(hints[field.name])
        section = inner if dataclasses.is_dataclass(inner) and isinstance(inner, type) else None
        own = [f"{path}{alias}" if alias.startswith(".") else alias for alias in rules.aliases]
        yield Key(where, rules, free or rules.free, section, tuple(own))
        if section is not None:
            yield from keys_of(section, where, free or rules.free)


def alias_table(cls: type) -> dict[str, str]:
    """{other name: key} of a configuration class. Raises TypeError if two keys share a name."""
    keys = list(keys_of(cls))
    table = {alias: key.path for key in keys for alias in key.aliases}
    names = [key.path for key in keys] + [alias for key in keys for alias in key.aliases]
    if len(set(names)) < len(names):
        raise TypeError(f"{cls.__name__}: two keys share a name: {sorted({n for n in names if names.count(n) > 1})}")
    return table


def value_problems(section: Any, path: str = "") -> Iterator[str]:
    """A sentence for every value that breaks its field's rules, or those of its section's `problems(path)`.

    Sections inside are examined too; the outermost one's own `problems` are left to the caller.
    """
    hints = get_type_hints(type(section))
    for field in dataclasses.fields(section):
        value, where = getattr(section, field.name), f"{path}.{field.name}" if path else field.name
        entries = value if isinstance(value, tuple) else ()
        if dataclasses.is_dataclass(value):
            yield from value_problems(value, where)
        elif entries and dataclasses.is_dataclass(entries[0]):
            for number, entry in enumerate(entries):
                yield from value_problems(entry, f"{where}[{number}]")
        elif value is not None:
            problem = setting_of(field).problem(where, value, type(None) in get_args(hints[field.name]))
            yield from [problem] if problem else []
    if path and hasattr(section, "problems"):
        yield from section.problems(path)


def without_none(hint: Any) -> Any:
    """The type of an optional field; any other hint as it is."""
    options = [option for option in get_args(hint) if option is not type(None)]
    is_union = get_origin(hint) in (Union, types.UnionType)
    return options[0] if is_union and len(options) == 1 else hint
