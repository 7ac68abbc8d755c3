"""Numbers, names and time spans as text for people."""

from __future__ import annotations

import re
from collections.abc import Sequence


def natural_key(name: str) -> tuple[object, ...]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name.casefold())
    return tuple(int(part) if part.isdecimal() else part for part in parts), name


def some(names: Sequence[str], at_most: int = 5) -> str:
    """The names, such as "a, b, c and 4 more" for at_most=3; "none" if there are none."""
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more if names else "none"


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 step, 2 steps."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time span as on a clock, for a display that counts: 0:42, 12:05, 3:20:00, 2 d 04:00:00."""
    days, rest = divmod(round(seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days} d {hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rounded_duration(seconds: float) -> str:
    """A time span in the two largest units that matter, for a text: 42 s, 2 min 05 s, 3 h 05 min, 2 d 12 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{whole // 60} min {whole % 60:02d} s" if whole < 600 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
