"""A stream that takes itself for a terminal."""

from __future__ import annotations

import io


class Terminal(io.StringIO):
    """Text that is written to a terminal; `getvalue` has it."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True
