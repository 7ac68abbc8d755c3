"""torchrun as `run_workers` starts it: the same program, with its reports in a log file instead of on the screen.

It is a command of its own: `python training/run.py torchrun_agent --num-processes 2 ... -- script.py arguments`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from sam2_training.core.errors import EXIT_PREEMPTED
from sam2_training.core.terminal import say
from sam2_training.engine.preemption import stop_signals
from sam2_training.engine.processes import die_with_parent, write_status

STRAGGLER_SECONDS = 10.0
"""Once one worker has left with anything but success, the others have this long."""
SHUTDOWN_SECONDS = 900
"""How long workers may take to finish their step and save. Longer than trainer.collective_timeout_minutes' default, so
that a hang is ended by its own error; supervisors (docker, SLURM) set the real limit."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `run` needs to know."""
    parser.add_argument("--parent-pid", type=int, required=True)
    parser.add_argument("--num-processes", type=int, required=True)
    parser.add_argument("--status-path", type=Path, required=True)
    parser.add_argument("--log-path", type=Path, required=True)
    parser.add_argument("command", nargs="+", help="script and its arguments, after --")


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0, 75 after a stop request, or that of the worker that failed first (1 if it was killed)."""
    die_with_parent(arguments.parent_pid)
    for number in stop_signals():
        signal.signal(number, _leave)  # until torchrun, with workers to stop, installs its own
    arguments.log_path.parent.mkdir(parents=True, exist_ok=True)
    screen = sys.stderr
    with arguments.log_path.open("a", buffering=1, encoding="utf-8", errors="backslashreplace") as log_file:
        sys.stderr = log_file  # torch's loggers take it when they are made; the workers inherit the descriptor below it
        exit_code, message = _torchrun(arguments)
    sys.stderr = screen
    if arguments.log_path.stat().st_size == 0:
        arguments.log_path.unlink()
    if message and write_status(arguments.status_path, exit_code, message, keep_first=True):
        say(f"error: {message}", sys.stderr)
    return exit_code


def _torchrun(arguments: argparse.Namespace) -> tuple[int, str]:
    """(exit code, what there is to say) after all workers have ended."""
    # Importing torch takes seconds, so the signal handlers must stand before.
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    watch = _Watch()
    watch.start()
    try:
        torchrun.main(_torchrun_arguments(arguments, torchrun.get_args_parser().format_help()))
    except SignalException:
        return EXIT_PREEMPTED, ""
    except ChildFailedError as error:
        print(error, file=sys.stderr)
        return _explanation(error.failures, watch.first_pid, arguments.log_path)
    return 0, ""


def _torchrun_arguments(arguments: argparse.Namespace, known_options: str) -> list[str]:
    options = [
        "--nnodes=1",
        f"--nproc-per-node={arguments.num_processes}",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=localhost:0",  # a free port
        "--local-addr=127.0.0.1",
        "--max-restarts=0",
    ]
    if "--signals-to-handle" in known_options:  # else SIGUSR1 would kill torchrun, and the workers with it
        options.append(f"--signals-to-handle={','.join([*(number.name for number in stop_signals()), 'SIGQUIT'])}")
    if "--shutdown-timeout" in known_options:  # else torchrun waits 30 s
        options.append(f"--shutdown-timeout={SHUTDOWN_SECONDS}")
    return [*options, *arguments.command]


def _leave(number: int, frame: Any) -> None:
    os._exit(EXIT_PREEMPTED)


class _Watch(threading.Thread):
    """Sees which worker fails first, and ends the others if they have not left `STRAGGLER_SECONDS` later.

    torchrun asks them to leave with a signal, and a process that waits for a dead peer inside a GPU collective does not
    hear it; torchrun itself would wait for 30 s.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.first_pid: int | None = None

    def run(self) -> None:
        while hasattr(os, "waitid"):
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # looks, and leaves it for torchrun to collect
            except ChildProcessError:  # no worker yet
                ended = None
            if ended is not None and (ended.si_code != os.CLD_EXITED or ended.si_status != 0):
                self.first_pid = ended.si_pid
                break
            time.sleep(0.05)
        time.sleep(STRAGGLER_SECONDS)
        for worker in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()


def _explanation(failures: dict[int, Any], first_pid: int | None, log_path: Path) -> tuple[int, str]:
    """(exit code, message) for failed workers, as far as they cannot have said it themselves.

    failures: by rank, with `exitcode` (negative: the signal that killed it) and `pid`. The code is a worker's own if
    it means something (2 and above), else 1.
    """
    telling = sorted(failure.exitcode for failure in failures.values() if failure.exitcode > 1)
    if telling:
        return telling[0], f"a training process ended with exit code {telling[0]}"
    in_order = sorted(failures.items(), key=lambda item: (item[1].pid != first_pid, item[0]))
    rank, failure = in_order[0]
    if failure.exitcode > 0:
        return 1, f"rank {rank} failed; what it said stands above"
    return 1, (
        f"rank {rank} (process {failure.pid}) was killed by {signal.Signals(-failure.exitcode).name}. "
        "If nobody did that by hand, the machine probably ran out of memory. "
        f"Start again to go on from the last checkpoint. torchrun's own report: {log_path}"
    )
