"""When something that happens now and then is due; pure."""

from __future__ import annotations


def due(step: int, every: int | None, *, first: int | None = None, last: int | None = None) -> bool:
    """Whether something is due after `step` steps: at each multiple of `every`, and at `first` and `last`.

    every: None or 0: at `first` and `last` only.
    """
    return step in (first, last) or (every is not None and every > 0 and step > 0 and step % every == 0)


def passed(step: int, former: int, every: int) -> bool:
    """Whether a multiple of `every` lies after `former` and not after `step`: for what cannot happen at every step."""
    return every > 0 and step // every > former // every
