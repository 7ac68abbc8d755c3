"""The errors a run can end with, and the exit code of each.

An error message says what was found, what was expected, where, and what to do about it.
"""

from __future__ import annotations

from typing import Literal

EXIT_FINISHED = 0
EXIT_PREEMPTED = 75

EXIT_CODES = {
    EXIT_FINISHED: "finished",
    1: "failed for a reason without a code of its own",
    2: "configuration or command line",
    3: "a loss or an output is not finite",
    4: "checkpoint or weights",
    5: "hang: processes lost each other, or a file cannot be read to its end",
    6: "data",
    EXIT_PREEMPTED: "stopped on request; run the same command again to continue",
}
"""What the exit code of any command means."""


def exit_code_lines(meaning_of_1: str = "") -> list[str]:
    """`EXIT_CODES` as lines of a table. meaning_of_1: what 1 says besides, for a command whose answer can be no."""
    more = {1: f"{meaning_of_1}, or {EXIT_CODES[1]}"} if meaning_of_1 else {}
    return [f"  {code:>3}  {text}" for code, text in {**EXIT_CODES, **more}.items()]


RunStatus = Literal["running", "finished", "stopped", "failed"]
"""What a report says of a run; stopped: on request, to be continued."""


class TrainingError(Exception):
    """An expected way for a run to fail: shown as a sentence, without a traceback."""

    exit_code = 1

    @property
    def kind(self) -> str:
        """The class name that users see: the nearest of those below, also for a subclass from another module."""
        return next(cls.__name__ for cls in type(self).__mro__ if cls.__module__ == __name__)


class ConfigError(TrainingError):
    """The configuration cannot work. `problems` lists everything that is wrong with it, not only the first."""

    exit_code = 2

    def __init__(self, problems: str | list[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class NonFiniteError(TrainingError):
    """A loss or gradient became NaN or infinite; no optimizer step was taken with it."""

    exit_code = 3


class CheckpointError(TrainingError):
    """A checkpoint is missing, damaged, unsafe or of another network."""

    exit_code = 4


class HangError(TrainingError):
    """Ranks wait for each other, or a process for a file, longer than allowed."""

    exit_code = 5


class WorkerError(HangError):
    """A loader worker is gone, or cannot hand over its batches."""


class DataError(TrainingError):
    """Files of a dataset are not what they must be; the message names them."""

    exit_code = 6

    def __init__(self, message: str) -> None:
        # torch's loader raises a worker's error anew with the worker's traceback as its text, which ends with
        # "<module>.<class>: <message>": only the sentence is for the user.
        kind = type(self)
        before, _, sentence = message.rpartition(f"\n{kind.__module__}.{kind.__qualname__}: ")
        super().__init__(sentence.rstrip("\n") if "DataLoader worker" in before else message)


def described(error: TrainingError) -> str:
    """The text that a command prints for an expected failure: all problems of a configuration, or one sentence."""
    if isinstance(error, ConfigError):
        return "\n".join(["Configuration error:", *(f"  {line}" for line in error.problems)])
    return f"{error.kind}: {error}"
