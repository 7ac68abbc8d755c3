"""Text on a terminal: what its encoding lacks, and what it would obey instead of showing."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from sam2_training.core.text import shown_lines


def accept_any_text() -> None:
    """Has standard output and standard error write characters that their encoding lacks as \\x.. or \\u....

    Without it a name that is not in the terminal's encoding, or not text at all, ends the program when it is printed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not what another program put in its place
            stream.reconfigure(errors="backslashreplace")


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints text, by default to standard output; names in it cannot command the terminal."""
    print(shown_lines(text), file=stream or sys.stdout, flush=True)


def can_show(stream: TextIO, text: str) -> bool:
    """Whether the stream's encoding has these characters."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
