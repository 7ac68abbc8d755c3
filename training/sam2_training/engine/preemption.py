"""Stop requests: while a run trains, signals set a flag that it reads between steps; elsewhere they end the work."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from types import FrameType, TracebackType
from typing import Any, Self

from sam2_training.core.errors import EXIT_PREEMPTED

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""What asks a run to stop: supervisors (TERM), Ctrl-C (INT), SLURM (USR1, USR2), a closed terminal (HUP)."""

SAME_REQUEST_SECONDS = 2.0
"""One request may arrive several times: from the terminal or SLURM directly, and once more through torchrun."""
LEAVE_SECONDS = 20.0
"""Work that cannot be interrupted (reading from a stalled share, another thread's work) is left after this."""
LAUNCHER_SPEAKS = "SAM2_TRAINING_LAUNCHER_SPEAKS"
"""Environment variable of ranks whose launcher says that it has heard a stop signal."""


class StopInterrupt(BaseException):
    """Raised by a stop signal where there is nothing to save, as KeyboardInterrupt is by Ctrl-C.

    Not an Exception: whoever takes any exception for a damaged file, as readers of checkpoints must, would hide it.
    """


def stop_signals() -> list[signal.Signals]:
    """The signals to handle in this process: all of `STOP_SIGNALS`, without SIGHUP under nohup."""
    return [number for number in STOP_SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]


class StopHandlers(ABC):
    """Handles stop signals while used as a context manager in the main thread; the former handlers come back after.

    Signals within `SAME_REQUEST_SECONDS` of the last count as the same request. Where one is used inside another, the
    outer one knows afterwards what the inner one has heard.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        """The first signal's name, such as SIGTERM."""
        self._last_time_s = float("-inf")
        self._former: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether this process was asked to stop."""
        return self.signal_name is not None

    def __enter__(self) -> Self:
        for number in stop_signals():
            self._former[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            outer = getattr(handler, "__self__", None)
            if self.requested and isinstance(outer, StopHandlers):
                outer.signal_name, outer._last_time_s = self.signal_name, self._last_time_s
            # None: the handler was not installed from Python and cannot be put back.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._former.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if now_s - self._last_time_s < SAME_REQUEST_SECONDS:
            return
        self._last_time_s = now_s
        if self.signal_name is None:
            self.signal_name = signal.Signals(number).name
            self._on_first(number)
        else:
            self._on_another(number)

    @abstractmethod
    def _on_first(self, number: int) -> None:
        """What the first request does."""

    def _on_another(self, number: int) -> None:
        say(f"{signal.Signals(number).name} again: leaving at once, without saving")
        os._exit(EXIT_PREEMPTED)


class StopRequest(StopHandlers):
    """Turns the first stop signal into a flag.

    The process then finishes its step and saves. Ranks agree through `Ranks.any_says(stop.requested)`. A second signal
    ends the process at once, with exit code 75 and without saving: the run continues from its last checkpoint.
    """

    def _on_first(self, number: int) -> None:
        say(f"{self.signal_name}: finishing the step, then saving; a second signal leaves at once, without saving")


class StopAtOnce(StopHandlers):
    """Raises StopInterrupt at a stop signal: for work that has nothing to save and is simply done again.

    What does not end within `LEAVE_SECONDS` is left, with exit code 75.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_interrupted = False
        """Whether it has raised StopInterrupt."""
        self._ended = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        super().__exit__(kind, error, trace)

    def _on_first(self, number: int) -> None:
        say(f"{self.signal_name}: stopping; a second signal leaves at once")
        # Not threading.Thread: its locks may be held by the code that this handler interrupts.
        _thread.start_new_thread(self._leave_late, ())
        self.has_interrupted = True
        raise StopInterrupt(self.signal_name)

    def _leave_late(self) -> None:
        time.sleep(LEAVE_SECONDS)
        if not self._ended:
            os._exit(EXIT_PREEMPTED)


def say(text: str) -> None:
    """Writes a line to standard error from a signal handler: it may have interrupted a print, which is not reentrant.

    Of several ranks only the main one does, and none where `run_workers` does it: torchrun also sends signals to ranks
    whose peer has failed.
    """
    is_silent = os.environ.get("RANK", "0") != "0" or LAUNCHER_SPEAKS in os.environ
    if sys.__stderr__ is not None and not is_silent:
        try:
            os.write(2, f"\n{text}\n".encode())
        except OSError:  # a closed terminal or pipe: nobody is left to be told
            return
