"""Keys with more than one name: which spelling of a key counts, and back to the one that its user wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Aliases = Mapping[str, str]
"""{other name: key}; the name of a section stands for all keys in it."""


def canonical(key: str, aliases: Aliases) -> str:
    """The key that a name, perhaps an alias, means."""
    if key in aliases:
        return aliases[key]
    head, dot, tail = key.rpartition(".")
    return f"{canonical(head, aliases)}.{tail}" if dot else key


def renamed(flat: Mapping[str, Any], aliases: Aliases) -> dict[str, Any]:
    """{key: value} of a configuration that may use other names; of two names for a key the key's own counts."""
    found = {canonical(name, aliases): value for name, value in flat.items()}
    return found | {name: value for name, value in flat.items() if canonical(name, aliases) == name}


def alias_sections(aliases: Aliases, keys: Iterable[str]) -> set[str]:
    """Sections that only hold aliases, such as those that earlier versions had."""
    heads = {alias.rsplit(".", 1)[0] for alias in aliases if "." in alias}
    return heads - set(keys)


def names_of(key: str, aliases: Aliases) -> list[str]:
    """A key and its other names."""
    return [key, *(alias for alias, target in aliases.items() if target == key)]


def in_written_words(sentence: str, written: Mapping[str, str]) -> str:
    """A sentence with every key named as its user wrote it. written: {key: alias that was written}."""
    if not written:
        return sentence
    keys = sorted(written, key=len, reverse=True)
    pattern = rf"(?<![\w.])({'|'.join(map(re.escape, keys))})(?!\w)"
    return re.sub(pattern, lambda match: written[match.group(1)], sentence)
