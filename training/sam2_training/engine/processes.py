"""Several training processes on this machine: start them through torchrun, stop them, and say how it ended."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from sam2_training.core.errors import EXIT_PREEMPTED
from sam2_training.core.files import write_text
from sam2_training.core.places import start_words
from sam2_training.engine.preemption import LAUNCHER_SPEAKS, StopHandlers, say

STATUS = "run_status.json"
"""File name of the status that `write_status` leaves, in the folder of the run."""
TORCHRUN_LOG = "logs/torchrun.log"
"""What torchrun itself has to say, beside the status."""
SPARE_FOLDER = "SAM2_SPARE_STATUS_FOLDER"
"""Environment variable that names a folder, of temporary files, for the status where its own folder takes none."""
POLL_SECONDS = 0.2
PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def write_status(
    path: Path, exit_code: int, message: str, keep_first: bool = False, is_consequence: bool = False
) -> bool:
    """Records how a run ended, for whoever started its processes; True if this call's words stand.

    keep_first: leave a status alone that is already there. When one rank fails, the others fail because of it, later:
    the first to write is the one with the reason. is_consequence: these words say only that another rank is gone;
    whoever knows why replaces them. Where it cannot be written (disk full), it is printed, and goes into the folder for
    temporary files that the starting process watches, if there is one.
    """
    status = {"exit_code": exit_code, "message": message, **({"is_consequence": True} if is_consequence else {})}
    try:
        return _write_status(path, status, keep_first)
    except OSError as error:
        print(f"{path} cannot be written ({error.strerror}): exit code {exit_code}, {message}", file=sys.stderr)
    if SPARE_FOLDER in os.environ:
        with suppress(OSError):
            return _write_status(Path(os.environ[SPARE_FOLDER]) / STATUS, status, keep_first)
    return True


def _write_status(path: Path, status: dict[str, Any], keep_first: bool) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    if keep_first:
        try:
            with path.open("x") as file:
                file.write(json.dumps(status))
            return True
        except FileExistsError:
            if status.get("is_consequence") or not _is_consequence(path):
                return False
    write_text(path, json.dumps(status))
    return True


def _is_consequence(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text()).get("is_consequence"))
    except (OSError, ValueError, AttributeError):  # removed, or just being written
        return False


def read_status(path: Path) -> tuple[int, str] | None:
    """(exit code, message) of a run; None if none was written, or a process was killed while writing it."""
    try:
        content = json.loads(path.read_text())
        return int(content["exit_code"]), str(content["message"])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def die_with_parent(parent_pid: int | None = None) -> None:
    """Has the kernel kill this process when the one that started it ends, however it ends (Linux; elsewhere nothing).

    For processes whose parent is ours: the workers of `run_workers`, and loader workers. parent_pid: who the parent
    must be; if it is already gone, this process ends here.
    """
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(1)


def is_torchrun_worker() -> bool:
    """True in a process that torchrun started, by `run_workers` or by the user: its parent may take it along."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def run_workers(script: Path, argv: list[str], num_processes: int, status_path: Path) -> int:
    """The exit code of `script argv...`, run as num_processes ranks on this machine, after all of them have ended.

    It is the code that a rank wrote to status_path (`write_status`), because torchrun hides its workers' own. A run
    that was asked to stop and wrote nothing gives 75; any other that wrote nothing gives its workers' code, or 1.
    Stop signals that arrive meanwhile are passed on. What torchrun itself has to say goes to logs/torchrun.log beside
    the status file; the workers write to this process's own output. Call it in the main thread.
    """
    status_path.parent.mkdir(parents=True, exist_ok=True)
    status_path.unlink(missing_ok=True)
    with (
        _adopted_orphans(),
        _Forwarder(num_processes) as forwarder,
        tempfile.TemporaryDirectory(prefix="run_status_") as spare,
    ):
        agent = subprocess.Popen(
            _command(script, argv, num_processes, status_path),
            env=_environment(num_processes) | {SPARE_FOLDER: spare},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C then reaches only this process, which passes it on once
        )
        forwarder.attach(agent)
        while agent.poll() is None:
            time.sleep(POLL_SECONDS)  # signal handlers run in between
        status = read_status(status_path) or read_status(Path(spare) / STATUS)
    if status is not None:
        return status[0]
    if forwarder.requested:
        return EXIT_PREEMPTED
    return agent.returncode if agent.returncode >= 0 else 1


def _command(script: Path, argv: list[str], num_processes: int, status_path: Path) -> list[str]:
    log_path = status_path.parent / TORCHRUN_LOG
    own = ["--parent-pid", str(os.getpid()), "--status-path", str(status_path.resolve()), "--log-path", str(log_path)]
    agent = [sys.executable, *start_words("torchrun_agent"), *own]
    return [*agent, "--num-processes", str(num_processes), "--", str(script.resolve()), *argv]


def _environment(num_processes: int) -> dict[str, str]:
    environment = dict(os.environ)
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    environment.setdefault("OMP_NUM_THREADS", str(max(1, num_cores // num_processes)))
    environment[LAUNCHER_SPEAKS] = "1"
    # Else each process warns that this host's name cannot be looked up, as in a container without a network.
    environment.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if sys.platform == "linux":
        # All ranks are on this machine. Otherwise gloo looks up the host's own name, which containers often lack.
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return environment


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=5)


@contextmanager
def _adopted_orphans() -> Iterator[None]:
    """Makes this process the parent of any process of the run that loses its own, and ends those at the end."""
    before = set(psutil.Process().children(recursive=True))
    if sys.platform == "linux":
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        # Killing a parent can hand its children to us, so look again until none is left.
        while left := [child for child in psutil.Process().children(recursive=True) if child not in before]:
            _kill(left)
        if sys.platform == "linux":
            _prctl(PR_SET_CHILD_SUBREAPER, 0)


class _Forwarder(StopHandlers):
    """Passes stop requests on to torchrun while used as a context manager; a repeated signal is passed on once."""

    def __init__(self, num_processes: int) -> None:
        super().__init__()
        self._num_processes = num_processes
        self._waiting: int | None = None
        self._agent: subprocess.Popen[bytes] | None = None

    def attach(self, agent: subprocess.Popen[bytes]) -> None:
        """Names the process to pass signals to, and passes on one that came before it was there."""
        self._agent = agent
        if self._waiting is not None:
            agent.send_signal(self._waiting)

    def _on_first(self, number: int) -> None:
        whom = f"{self._num_processes} processes"
        say(f"{self.signal_name}: asking {whom} to save and stop; a second signal leaves at once")
        self._pass_on(number)

    def _on_another(self, number: int) -> None:
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        if self._agent is None:
            self._waiting = number
        else:
            self._agent.send_signal(number)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")
