"""From plain dictionaries to frozen dataclasses, with every problem named at once, and back."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sam2_training.core.settings import setting_of
from sam2_training.core.vocabulary import Vocabulary


def parse_section(
    cls: type, values: object, path: str, problems: list[str], vocabulary: Vocabulary, default: Any = None
) -> Any:
    """An instance of the frozen dataclass `cls` built from the mapping `values`.

    default: the instance that stands where the section is not written at all; keys that are not written are taken
    from it (None: from the class). Everything that does not fit is appended to `problems` (unknown key with what to
    write in its place, wrong type); fields with a problem keep their default. Without a problem the instance equals
    the mapping, types made exact.
    """
    if not isinstance(values, Mapping):
        problems.append(f"{path or 'config'} must be a section with keys, found {values!r}")
        values = {}
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    parsed: dict[str, Any] = {}
    for key, value in values.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in fields:
            # A section that only holds aliases is known by what is in it.
            inside = flatten({where: value}) if vocabulary.has_inside(where) else [where]
            problems += [f"unknown key {name}{vocabulary.hint(name)}" for name in inside]
            continue
        try:
            spelled = _read(fields[key], value, where)
            parsed[key] = _convert(hints[key], spelled, where, problems, vocabulary, _default_of(fields[key], default))
        except (TypeError, ValueError) as error:
            problems.append(str(error))
    if default is not None:
        parsed = {name: getattr(default, name) for name in fields} | parsed
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in parsed:
            problems.append(f"{path}.{name} is missing" if path else f"{name} is missing")
            parsed[name] = None
    return cls(**parsed)


def _read(field: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """A value in the field's own spelling. Raises ValueError with a full sentence."""
    read = setting_of(field).read
    try:
        return value if read is None else read(value)
    except ValueError as error:
        raise ValueError(f"{where}={value!r} {error}") from error


def _default_of(field: dataclasses.Field[Any], section: Any) -> Any:
    """What a field of a section holds when it is not written; None also where it must be written."""
    if section is not None:
        return getattr(section, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _convert(
    hint: Any, value: Any, where: str, problems: list[str], vocabulary: Vocabulary, default: Any = None
) -> Any:
    """`value` as the annotated type. Raises ValueError with a full sentence when it is of another kind.

    default: as in `parse_section`, for a section.
    """
    if dataclasses.is_dataclass(hint):
        return parse_section(hint, value, where, problems, vocabulary, default)  # type: ignore[arg-type]
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = get_args(hint)
        if value is None and type(None) in options:
            return None
        if int in options and isinstance(value, int) and not isinstance(value, bool):
            return value  # float | int: a whole number counts, a fraction divides
        first, *others = [option for option in options if option is not type(None)]
        for option in others:
            with contextlib.suppress(ValueError):
                return _convert(option, value, where, problems, vocabulary, default)
        return _convert(first, value, where, problems, vocabulary, default)
    if origin is Literal:
        choices = get_args(hint)
        text = str(value) if not isinstance(value, bool) else value
        if text not in choices:
            raise ValueError(f"{where}={value!r} must be one of {', '.join(map(str, choices))}")
        return text
    if origin is dict:
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {key: _plain(inner, f"{where}.{key}") for key, inner in value.items()}
        raise ValueError(f"{where}={value!r} must be names with values, such as {{momentum: 0.9}}")
    if origin is tuple:
        return _convert_tuple(get_args(hint), value, where, problems, vocabulary)
    return _convert_scalar(hint, value, where)


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str, problems: list[str], vocabulary: Vocabulary) -> Any:
    if args == (str, ...) and isinstance(value, str):
        value = [value]
    if get_origin(args[0]) is Literal and args[1] is Ellipsis and isinstance(value, str):
        value = [value]  # one of the choices alone, such as point
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where}={value!r} must be a list, such as [a, b]")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], v, f"{where}[{i}]", problems, vocabulary) for i, v in enumerate(value))
    if len(value) != len(args):
        raise ValueError(f"{where}={list(value)!r} must have {len(args)} entries")
    return tuple(
        _convert(a, v, f"{where}[{i}]", problems, vocabulary) for i, (a, v) in enumerate(zip(args, value, strict=True))
    )


def _plain(value: Any, where: str) -> Any:
    """A value, or list of values, of no declared type."""
    if isinstance(value, (list, tuple)):
        return [_plain(entry, where) for entry in value]
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"{where}={value!r} must be a finite number, text, true, false, null or a list of these")


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    found = f"{where}={value!r}"
    if hint is bool:
        if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
            return bool(value)
        raise ValueError(f"{found} must be true or false")
    if hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise ValueError(f"{found} must be a whole number")
    if hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        raise ValueError(f"{found} must be a finite number")
    if hint is str:
        if isinstance(value, str):
            return value
        raise ValueError(f"{found} must be text")
    raise TypeError(f"{where}: no conversion to {hint!r} is known")


def as_dict(config: Any) -> dict[str, Any]:
    """Nested plain values (lists, not tuples), ready for YAML or JSON; the inverse of `parse_section`."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def flatten(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """{"a.b": value} of nested sections."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        where = f"{path}.{key}" if path else str(key)
        flat.update(flatten(value, where) if isinstance(value, dict) else {where: value})
    return flat


def fingerprint(config: Any) -> str:
    """SHA-256 (hex) of the configuration."""
    return hashlib.sha256(json.dumps(as_dict(config), sort_keys=True).encode()).hexdigest()
