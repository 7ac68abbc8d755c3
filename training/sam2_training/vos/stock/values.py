"""The values of a YAML file, with a note of which of them were read."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from sam2_training.core.errors import ConfigError

RESOLVERS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "times": lambda *factors: math.prod(factors),
    "divide": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "range": lambda x: list(range(x)),
    "int": int,
    "ceil_int": math.ceil,
}
"""Interpolations such as ${times:2,3} that stock's trainer defines; those that import something are left out."""


def read_values(path: Path) -> dict[str, Any]:
    """The content of a YAML file with interpolations resolved; nothing in it is imported or called.

    Raises ConfigError naming the file.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    new = [name for name in RESOLVERS if not OmegaConf.has_resolver(name)]
    for name in new:
        OmegaConf.register_new_resolver(name, RESOLVERS[name])
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=True, throw_on_missing=True)
    except (OSError, ArithmeticError, TypeError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path.name}: {str(error).splitlines()[0]}") from error
    finally:
        for name in new:
            OmegaConf.clear_resolver(name)
    if not isinstance(content, dict):
        raise ConfigError(f"{path.name} is not a file of sections with keys")
    return {str(key): value for key, value in content.items()}


class Taken:
    """Values by their path, such as trainer.optim.options.lr.0; `left` gives those that nobody asked for."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content
        self._taken: list[str] = []

    def take(self, path: str, default: Any = None) -> Any:
        """The value, with all that is in it; the default where there is none."""
        found = self.look(path, default)
        self._taken.append(path)
        return found

    def look(self, path: str, default: Any = None) -> Any:
        """The value, still to be taken."""
        found: Any = self._content
        for part in path.split("."):
            if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
            elif isinstance(found, dict) and part in found:
                found = found[part]
            else:
                return default
        return found

    def target(self, path: str) -> str:
        """The last part of the section's `_target_`, such as ColorJitter; "" if it has none."""
        return str(self.take(f"{path}._target_", "")).rsplit(".", 1)[-1]

    def count(self, path: str) -> int:
        """How many entries the list has; 0 if it is not one."""
        found = self.look(path)
        return len(found) if isinstance(found, list) else 0

    def left(self, ignored: Collection[str]) -> list[tuple[str, Any]]:
        """(path, value) of what was not taken and matches none of the globs."""
        return [
            (path, value)
            for path, value in _leaves(self._content, "")
            if not any(path == taken or path.startswith(f"{taken}.") for taken in self._taken)
            and not any(fnmatch.fnmatchcase(path, glob) for glob in ignored)
        ]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value with its path; a list of values counts as one."""
    is_list = isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value)
    entries = dict(enumerate(value)) if is_list else value
    if not isinstance(entries, dict):
        yield path, value
        return
    for key, entry in entries.items():
        yield from _leaves(entry, f"{path}.{key}" if path else str(key))
