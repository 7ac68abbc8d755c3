"""The errors a run can end with, and the exit code of each.

An error message says what was found, what was expected, where, and what to do about it.
"""

from __future__ import annotations

from typing import Literal

EXIT_FINISHED = 0
EXIT_PREEMPTED = 75

RunStatus = Literal["running", "finished", "stopped", "failed"]
"""What a report says of a run; stopped: on request, to be continued."""


class TrainingError(Exception):
    """An expected way for a run to fail: shown as a sentence, without a traceback."""

    exit_code = 1

    @property
    def kind(self) -> str:
        """The name that users know it by: its class among those below, whatever finer class was raised."""
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
    """A collective operation timed out."""

    exit_code = 5


class DataError(TrainingError):
    """Frames or masks on disk are not what they must be; the message names the files."""

    exit_code = 6

    def __init__(self, message: str) -> None:
        # torch's loader raises a worker's error anew with the worker's traceback as its text, which ends with
        # "<module>.<class>: <message>": only the sentence is for the user.
        kind = type(self)
        before, _, sentence = message.rpartition(f"\n{kind.__module__}.{kind.__qualname__}: ")
        super().__init__(sentence.rstrip("\n") if "DataLoader worker" in before else message)


def described(error: TrainingError) -> str:
    """What a command says of an expected failure: all problems of a configuration, else the error in a sentence."""
    if isinstance(error, ConfigError):
        return "\n".join(["Configuration error:", *(f"  {line}" for line in error.problems)])
    return f"{error.kind}: {error}"
