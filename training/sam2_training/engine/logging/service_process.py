"""The process of a service: `training/run.py logging_service wandb`. It reads one JSON object a line; imports no torch.

The first line is the run (`LoggedRun`); the others are values, pictures and the summary. The end of the input, also
that of a training process which was killed, means that there is no more.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from sam2_training.core.files import write_text
from sam2_training.engine.logging.sink import Logger

SECONDS_BETWEEN_NOTES = 1.0
"""Between two notes of what a service has taken."""


class Service(Logger, Protocol):
    """A logger of a service: `SERVICE(config, folder, run_id)` of its module.

    config: the run's, plain values. folder: inside the run's, for files. run_id: of an earlier start, whose run goes
    on; None: a new run.
    """

    run_id: str
    """By which the service finds the run again."""
    place: str
    """Where a person finds the run."""


@dataclass
class Taken:
    """What a service has taken of a run: <run>/logs/<service>.json."""

    path: Path
    run_id: str | None = None
    steps: dict[str, int] = field(default_factory=dict)
    """{name: the newest step of it}. Steps that a resumed run does again are not sent again: no service takes a value
    back, and it is the same value."""
    noted: float = 0.0

    @classmethod
    def read(cls, path: Path, start_step: int) -> Taken:
        """What earlier starts noted; nothing for a run that begins, which is a new run of the service too."""
        if start_step == 0 or not path.exists():
            return cls(path)
        try:
            content = json.loads(path.read_text())
            return cls(path, str(content["run_id"]), {str(k): int(v) for k, v in content["steps"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"{path} is damaged ({error!r}): the run goes on as a new one", file=sys.stderr)
            return cls(path)

    def fresh(self, step: int, names: list[str]) -> list[str]:
        """Those of the names whose value of `step` has not been taken."""
        return [name for name in names if self.steps.get(name, -1) < step]

    def add(self, step: int, names: list[str]) -> None:
        self.steps |= dict.fromkeys(names, step)
        if time.monotonic() - self.noted >= SECONDS_BETWEEN_NOTES:
            self.note()

    def note(self) -> None:
        write_text(self.path, json.dumps({"run_id": self.run_id, "steps": self.steps}) + "\n")
        self.noted = time.monotonic()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `run` needs to know."""
    parser.add_argument("service", help="a module in engine/logging")


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0 once the service has taken everything, 1 if it failed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its input does
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what packages print goes to the log file
    messages = (json.loads(line) for line in sys.stdin.buffer)
    try:
        first = next(messages)
    except (StopIteration, ValueError):
        return 1
    try:
        with _one_at_a_time(Path(first["folder"]) / "logs" / f"{arguments.service}.lock"):
            return _serve(arguments.service, first, messages, replies)
    except Exception as error:
        traceback.print_exc()
        _say(replies, failure=_sentence(error))
        return 1


def _serve(name: str, run: dict[str, Any], messages: Iterator[dict[str, Any]], replies: IO[str]) -> int:
    folder = Path(run["folder"])
    taken = Taken.read(folder / "logs" / f"{name}.json", run["start_step"])
    inside = folder / name
    inside.mkdir(parents=True, exist_ok=True)
    open_service: Callable[..., Service] = import_module(f"sam2_training.engine.logging.{name}").SERVICE
    service = open_service(run["config"], inside, taken.run_id)
    taken.run_id = service.run_id
    taken.note()
    _say(replies, info=service.place)
    failed = False
    for message in messages:
        try:
            _take(service, taken, message)
        except Exception as error:  # the next one may succeed
            traceback.print_exc()
            _say(replies, failure=_sentence(error))
            failed = True
    # A close that hangs after the training process has gone must not leave this process behind.
    bound = threading.Timer(run["close_timeout_seconds"], os.killpg, (os.getpgrp(), signal.SIGKILL))
    bound.daemon = True
    bound.start()
    taken.note()
    service.close()
    return int(failed)


def _take(service: Service, taken: Taken, message: dict[str, Any]) -> None:
    step = message["step"]
    if message["kind"] == "log":
        names = taken.fresh(step, list(message["values"]))
        if names:
            service.log(step, {name: message["values"][name] for name in names})
            taken.add(step, names)
    elif message["kind"] == "picture":
        name = f"picture {message['name']}"
        if taken.fresh(step, [name]):
            service.picture(message["name"], _pixels(message["png"]), step)
            taken.add(step, [name])
    else:
        service.summary(step, message["values"])


def _pixels(png: str) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        return np.asarray(image.convert("RGB"))


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Waits for the process of an earlier start, which may still be handing over what it was given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(replies: IO[str], **words: str) -> None:
    with contextlib.suppress(OSError):  # the training process may be gone
        print(json.dumps(words), file=replies)


def _sentence(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
