"""How far some work is, and how long the rest of it takes."""

from __future__ import annotations

import time

from sam2_training.core.text import duration

SECONDS_BETWEEN_LINES = 10.0


class Pace:
    """Counts units of work; says when a line about it is due and how much time is left."""

    def __init__(self, total: int) -> None:
        self.total = max(1, total)
        self.done = 0
        self._began = self._last_line = time.monotonic()
        self._end_shown = False

    def reach(self, done: int) -> bool:
        """Notes that `done` units are done; True if a line is due: SECONDS_BETWEEN_LINES after the last one, and never
        twice about the last unit, since heartbeats may continue beyond it."""
        self.done = min(done, self.total)
        now = time.monotonic()
        if self._end_shown or self.done == 0 or now - self._last_line < SECONDS_BETWEEN_LINES:
            return False
        self._end_shown = self.done == self.total
        self._last_line = now
        return True

    def left(self) -> str:
        """The time that the rest takes at the mean pace so far, such as 1:10. Needs at least one unit done."""
        return duration((time.monotonic() - self._began) / self.done * (self.total - self.done))

    def elapsed(self) -> str:
        """The time since the start, such as 1:10."""
        return duration(time.monotonic() - self._began)
