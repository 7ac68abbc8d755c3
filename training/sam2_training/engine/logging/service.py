"""A logger that is a service: it runs in a process of its own, so that nothing it does reaches the training."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sam2_training.core.places import start_words
from sam2_training.engine.logging.sink import Values
from sam2_training.engine.task import Picture

MAX_WAITING_BYTES = 64 << 20
"""Messages that a service has not taken yet may be this large together; further ones are left out."""
SECONDS_WITHOUT_A_WORD = 3.0
"""A close that takes longer than this is said."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoggedRun:
    """What a service is told of a run when it is opened."""

    folder: str
    start_step: int
    """Steps already done."""
    config: dict[str, Any]
    """The whole configuration as plain values."""


class ServiceLogger:
    """Implements `Logger`: hands everything to a process that runs the service; never waits for it but in `close`.

    A service's failure is raised as OSError by the next call; one that hangs or is slow is left behind, and its values
    are dropped. The process takes what it was given also after this one was killed, and then ends.
    """

    def __init__(self, name: str, run: LoggedRun, close_timeout_seconds: float) -> None:
        """name: of a module in this folder, see `service_process`. Raises OSError if no process can be started."""
        self._name, self._timeout = name, close_timeout_seconds
        self._log_path = Path(run.folder) / "logs" / f"{name}.log"
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._failure = ""
        with self._log_path.open("ab") as log_file:
            # A session of its own: Ctrl-C on a terminal asks only the training to stop.
            self._process = subprocess.Popen(
                [sys.executable, *start_words("logging_service"), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        threads = (self._write_all, self._process.stdin), (self._read_all, self._process.stdout)
        for work, stream in threads:
            threading.Thread(target=work, args=(stream,), name=f"{name} service", daemon=True).start()
        self._send(**vars(run), close_timeout_seconds=close_timeout_seconds)

    def log(self, step: int, values: Values) -> None:
        self._send(kind="log", step=step, values=dict(values))

    def picture(self, name: str, picture: Picture, step: int) -> None:
        from PIL import Image

        png = io.BytesIO()
        Image.fromarray(picture).save(png, "PNG")
        self._send(kind="picture", step=step, name=name, png=base64.b64encode(png.getvalue()).decode())

    def summary(self, step: int, values: Values) -> None:
        self._send(kind="summary", step=step, values=dict(values))

    def close(self) -> None:
        """Waits until the service has taken everything, at most close_timeout_seconds; then its process is ended."""
        deadline = time.monotonic() + self._timeout
        self._messages.put(None)
        try:
            self._process.wait(min(SECONDS_WITHOUT_A_WORD, self._timeout))
        except subprocess.TimeoutExpired:
            log.info("waiting for %s to take what is left, at most %g s", self._name, self._timeout)
            self._wait_until(deadline)
        if self._process.returncode and not self._failure:
            self._failure = self._ended()
        if self._failure:
            raise OSError(self._failure)

    def _wait_until(self, deadline: float) -> None:
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._failure = (
                f"it did not take everything within {self._timeout:g} s (logging.close_timeout_seconds) and was ended; "
                f"see {self._log_path}"
            )

    def _send(self, **message: Any) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            takes_it = self._waiting_bytes + len(line) <= MAX_WAITING_BYTES
            self._waiting_bytes += len(line) if takes_it else 0
        if takes_it:
            self._messages.put(line)
        elif not self._failure:
            self._failure = f"it does not take values any more; they are left out. See {self._log_path}"
        if self._failure:
            raise OSError(self._failure)

    def _write_all(self, stream: IO[bytes]) -> None:
        """Passes messages on until the last one; the process knows by the end of the stream."""
        try:
            with stream:
                while (line := self._messages.get()) is not None:
                    stream.write(line)
                    stream.flush()
                    with self._lock:
                        self._waiting_bytes -= len(line)
        except OSError:
            # Its process is gone: what it said last comes first.
            self._process.wait()
            self._failure = self._failure or self._ended()

    def _read_all(self, stream: IO[bytes]) -> None:
        """Shows what the process says until it ends."""
        with stream:
            for line in stream:
                said = json.loads(line)
                if "failure" in said:
                    self._failure = self._failure or f"{said['failure']} (more in {self._log_path})"
                else:
                    log.info("%s: %s", self._name, said["info"])

    def _ended(self) -> str:
        return f"its process ended with exit code {self._process.returncode}; see {self._log_path}"
