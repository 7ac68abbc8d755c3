"""Numbers, names and time spans as text for people."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LINE_END = "\n"
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""What a terminal or a page obeys or cannot show: control characters (C0, C1), line separators, marks that turn the
direction of text, byte order marks, surrogates."""


def shown(name: str) -> str:
    """A name in which all of these are escaped, such as a\\x1bb; text of any script stays as it is.

    A byte of a file name that is not UTF-8, which Python keeps as a surrogate, becomes that byte: caf\\xe9. For showing
    only: files are opened by their own names.
    """
    return _OBEYED.sub(_escaped, name)


def shown_lines(text: str) -> str:
    """Text of one or more lines: as `shown`, but its line ends stay."""
    return _OBEYED.sub(lambda found: _LINE_END if found[0] == _LINE_END else _escaped(found), text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # how "surrogateescape" keeps a byte
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def natural_key(name: str) -> tuple[object, ...]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name.casefold())
    return tuple(int(part) if part.isdecimal() else part for part in parts), name


def some(names: Sequence[str], at_most: int = 5) -> str:
    """The names as they are `shown`, such as "a, b, c and 4 more" for at_most=3; "none" if there are none."""
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(map(shown, names[:at_most])) + more if names else "none"


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
