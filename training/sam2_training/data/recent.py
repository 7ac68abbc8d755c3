"""The newest few of some values that are costly to make: parsed files, open decoders."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps the values that were asked for last; safe for threads. A pickled copy starts empty."""

    def __init__(self, at_most: int, dispose: Callable[[V], None] | None = None) -> None:
        """dispose: called with each value that is dropped."""
        self.at_most, self.dispose = at_most, dispose
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key; made by one thread, while others wait for it."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
                if len(self._values) > self.at_most:
                    _, dropped = self._values.popitem(last=False)
                    self._dispose(dropped)
            self._values.move_to_end(key)
            return self._values[key]

    def clear(self) -> None:
        """Drops all values."""
        with self._lock:
            while self._values:
                self._dispose(self._values.popitem()[1])

    def _dispose(self, value: V) -> None:
        if self.dispose is not None:
            self.dispose(value)

    def __reduce__(self) -> tuple[object, ...]:
        return Recent, (self.at_most, self.dispose)
