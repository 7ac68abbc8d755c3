"""What differs between the configuration of a checkpoint and that of the run that continues from it."""

from __future__ import annotations

from typing import Any

from sam2_training.core.aliases import renamed
from sam2_training.core.schema import as_dict, flatten
from sam2_training.core.settings import Key, alias_table, keys_of


def differences(cls: type, old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(changes that affect results, changes that do not), as sentences, between two `as_dict` configurations.

    cls: the class that `new` is of; its aliases name the keys of `old`, which an earlier version may have written. A
    key that `old` lacks had its default then.
    """
    keys, aliases = {key.path: key for key in keys_of(cls)}, alias_table(cls)
    before, after = (_completed(renamed(flatten(values), aliases), cls, keys) for values in (old, new))
    matter: list[str] = []
    harmless: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        was, is_now = before.get(name), after.get(name)
        if was != is_now:
            (harmless if _is_free(name, keys) else matter).append(f"{name}: {was!r} -> {is_now!r}")
    return matter, harmless


def _completed(flat: dict[str, Any], cls: type, keys: dict[str, Key]) -> dict[str, Any]:
    """`flat` with the defaults of the keys that it lacks; those of an optional section only where it is there."""
    complete = flatten(as_dict(cls()))
    for key in keys.values():
        if key.section is not None and any(name.startswith(f"{key.path}.") for name in flat):
            complete = flatten(as_dict(key.section()), key.path) | complete
    return complete | flat


def _is_free(name: str, keys: dict[str, Key]) -> bool:
    """Whether a resumed run may change a key; one that is unknown now follows the section it was in."""
    while name not in keys and "." in name:
        name = name.rpartition(".")[0]
    return name in keys and keys[name].free
