"""Stop requests: signals set a flag that the loop reads between steps."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import Any

from sam2_training.core.errors import EXIT_PREEMPTED

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""What asks a run to stop: supervisors (TERM), Ctrl-C (INT), SLURM (USR1, USR2), a closed terminal (HUP)."""

SAME_REQUEST_SECONDS = 2.0
"""One request may arrive several times: from the terminal or SLURM directly, and once more through torchrun."""


def stop_signals() -> list[signal.Signals]:
    """The signals to handle in this process: all of `STOP_SIGNALS`, without SIGHUP under nohup."""
    return [number for number in STOP_SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]


class StopRequest:
    """Turns the first stop signal into a flag, while used as a context manager in the main thread.

    The process then finishes its step and saves. Ranks agree through `Ranks.any_says(stop.requested)`. A second signal
    ends the process at once, with exit code 75 and without saving: the run continues from its last checkpoint. Signals
    within `SAME_REQUEST_SECONDS` of the first count as the same request. The former handlers are restored at the end.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        """The first signal's name, such as SIGTERM."""
        self._first_time_s = 0.0
        self._former: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether this process was asked to stop."""
        return self.signal_name is not None

    def __enter__(self) -> StopRequest:
        for number in stop_signals():
            self._former[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            # None: the handler was not installed from Python and cannot be put back.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._former.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.signal_name is None:
            self.signal_name = signal.Signals(number).name
            self._first_time_s = now_s
        elif now_s - self._first_time_s >= SAME_REQUEST_SECONDS:
            # os.write: print is not safe in a handler that may have interrupted a print.
            message = f"\n{signal.Signals(number).name} again: leaving at once, without saving\n"
            if sys.__stderr__ is not None:
                os.write(2, message.encode())
            os._exit(EXIT_PREEMPTED)
