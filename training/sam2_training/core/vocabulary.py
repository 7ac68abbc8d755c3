"""What to write in place of a key that does not exist: the nearest in meaning where that is known, else in spelling."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Vocabulary:
    """The keys that there are, and those that users bring from other programs."""

    keys: Collection[str]
    """All keys and their other names."""
    foreign: Mapping[str, str] = field(default_factory=dict)
    """{key of other programs, or a section of theirs: what to write here, or that it is not supported and what is
    nearest}."""

    def hint(self, key: str) -> str:
        """What follows "unknown key <key>", such as "; did you mean trainer.max_steps?"."""
        known = self._foreign_hint(key)
        return nearest(key, self.keys) if known is None else f"; {known}"

    def has_inside(self, section: str) -> bool:
        """Whether keys of this section are known: then each is answered, else the section as a whole."""
        return any(key.startswith(f"{section}.") for key in (*self.keys, *self.foreign))

    def _foreign_hint(self, key: str) -> str | None:
        parts = key.split(".")
        for end in range(len(parts), 0, -1):
            if (name := ".".join(parts[:end])) in self.foreign:
                return self.foreign[name]
        # In another section than in the other program, or without one: devices, trainer.wandb_project.
        if any(_last(known) == parts[-1] for known in self.keys):
            return None
        return next((hint for name, hint in self.foreign.items() if _last(name) == parts[-1]), None)


def nearest(key: str, known_keys: Collection[str]) -> str:
    """A hint such as "; did you mean trainer.max_steps?": the key that is spelled most like `key`."""
    by_last = [known for known in known_keys if _last(known) == _last(key)]
    close = by_last[:1] or difflib.get_close_matches(key, known_keys, n=1, cutoff=0.6)
    if not close:
        tails = {_last(known): known for known in known_keys}
        close = [tails[tail] for tail in difflib.get_close_matches(_last(key), tails, n=1, cutoff=0.6)]
    return f"; did you mean {close[0]}?" if close else "; `--check` prints all keys"


def _last(key: str) -> str:
    return key.rsplit(".", 1)[-1]
