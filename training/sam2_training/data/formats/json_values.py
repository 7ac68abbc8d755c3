"""JSON documents with checks: what is missing or of another kind is a DataError that names file, place and cure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sam2_training.core.errors import DataError
from sam2_training.core.text import shown
from sam2_training.data.images import UnreadableFileError, read_bytes

_MISSING = object()


def read_json(path: str) -> object:
    """What a JSON file says. Raises UnreadableFileError if it cannot be read or is not JSON."""
    data = read_bytes(path)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UnreadableFileError(f"the file is not JSON ({reason}): {path}\nExport it again.") from error


@dataclass(frozen=True)
class Record:
    """An object of a JSON document, and where it stands."""

    values: Mapping[str, Any]
    path: str
    """The file."""
    place: str = ""
    """Within the file, such as "image 7"; "" for the whole."""

    @classmethod
    def of(cls, value: object, path: str, place: str = "") -> Record:
        """Raises DataError if the value is not an object."""
        if not isinstance(value, dict):
            raise cls({}, path, place).error(f"is {_kind(value)}", "an object with keys")
        return cls(value, path, place)

    @classmethod
    def read(cls, path: str) -> Record:
        """The object that a JSON file is. Raises DataError."""
        return cls.of(read_json(path), path)

    def error(self, found: str, expected: str, cure: str = "Correct it, or export it again.") -> DataError:
        """The error for this object. found: goes on after its place, such as "has no video_id"."""
        subject = self.place or "the document"
        return DataError(f"{shown(subject)} {found}, expected {expected}: {self.path}\n{cure}")

    def integer(self, key: str, default: Any = _MISSING, at_least: int | None = None) -> int:
        """A whole number; 7.0 is one."""
        value = self._get(key, default, "a whole number")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise self.error(f"has {key}={_short(value)}", f"{key} to be a whole number")
        if at_least is not None and value < at_least:
            raise self.error(f"has {key}={value}", f"{key} to be at least {at_least}")
        return value

    def number(self, key: str, default: Any = _MISSING) -> float:
        """A finite number."""
        value = self._get(key, default, "a number")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(f"has {key}={_short(value)}", f"{key} to be a number")
        return float(value)

    def text(self, key: str, default: Any = _MISSING) -> str:
        """Text that is not empty."""
        value = self._get(key, default, "text")
        if not isinstance(value, str) or not value:
            raise self.error(f"has {key}={_short(value)}", f"{key} to be text")
        return value

    def name(self, key: str, default: Any = _MISSING) -> str:
        """Text, or a whole number as text."""
        value = self._get(key, default, "text or a number")
        return str(value) if type(value) is int else self.text(key, default)

    def items(self, key: str, default: Any = _MISSING) -> list[Any]:
        """A list."""
        value = self._get(key, default, "a list")
        if not isinstance(value, list):
            raise self.error(f"has {key}={_short(value)}", f"{key} to be a list")
        return value

    def record(self, key: str) -> Record:
        """An object."""
        return Record.of(self._get(key, _MISSING, "an object"), self.path, f"{self.place} {key}".strip())

    def records(self, key: str, singular: str, default: Any = _MISSING) -> Iterator[Record]:
        """A list of objects. singular: what messages call one, such as "image"; its place in the list follows."""
        for number, value in enumerate(self.items(key, default)):
            yield Record.of(value, self.path, f"{self.place} {singular} {number}".strip())

    def at(self, place: str) -> Record:
        """The same object under another name in messages."""
        return Record(self.values, self.path, place)

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.values.get(key) is not None

    def _get(self, key: str, default: Any, kind: str) -> Any:
        value = self.values.get(key)
        if value is None:
            if default is _MISSING:
                found = f"has no {key}" if key not in self.values else f"has {key}=null"
                raise self.error(found, f"{key} with {kind}")
            return default
        return value


def _short(value: object) -> str:
    text = json.dumps(value, default=repr)
    return shown(text if len(text) <= 60 else text[:57] + "...")


def _kind(value: object) -> str:
    return {list: "a list", str: "text", type(None): "null"}.get(type(value), _short(value))
