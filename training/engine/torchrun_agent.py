"""torchrun as `run_workers` starts it: the same program, with its reports in a log file instead of on the screen.

Run as `python -m training.engine.torchrun_agent --num-processes 2 ... -- script.py arguments`.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from training.core.errors import EXIT_PREEMPTED
from training.engine.preemption import stop_signals
from training.engine.processes import die_with_parent, write_status

SHUTDOWN_SECONDS = 900
"""How long workers may take to finish their step and save. Longer than trainer.collective_timeout_minutes' default, so
that a hang is ended by its own error; supervisors (docker, SLURM) set the real limit."""


def main() -> int:
    """The exit code: 0, 75 after a stop request, or that of the worker that failed first (1 if it was killed)."""
    arguments = _parse()
    die_with_parent(arguments.parent_pid)
    for number in stop_signals():
        signal.signal(number, _leave)  # until torchrun, with workers to stop, installs its own
    arguments.log_path.parent.mkdir(parents=True, exist_ok=True)
    log_file = logging.FileHandler(arguments.log_path, delay=True)
    logging.basicConfig(handlers=[log_file], format="%(asctime)s %(name)s %(message)s")
    logging.captureWarnings(True)
    # Importing torch takes seconds, and the handlers above must stand before.
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.main(_torchrun_arguments(arguments, run.get_args_parser().format_help()))
    except SignalException:
        return EXIT_PREEMPTED
    except ChildFailedError as error:
        logging.getLogger(__name__).error("%s", error)
        return _explain(error.failures, arguments.status_path, arguments.log_path)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torchrun_agent")
    parser.add_argument("--parent-pid", type=int, required=True)
    parser.add_argument("--num-processes", type=int, required=True)
    parser.add_argument("--status-path", type=Path, required=True)
    parser.add_argument("--log-path", type=Path, required=True)
    parser.add_argument("command", nargs="+", help="script and its arguments, after --")
    return parser.parse_args()


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


def _explain(failures: dict[int, Any], status_path: Path, log_path: Path) -> int:
    """The exit code for failed workers; says on the screen what they cannot have said themselves.

    failures: by rank, with `exitcode` (negative: the signal) and `pid`.
    """
    spoken = sorted(failure.exitcode for failure in failures.values() if failure.exitcode > 1)
    exit_code = spoken[0] if spoken else 1
    # torchrun itself ends the others with SIGTERM once one has failed, so that is seldom the reason.
    killed = {rank: failure for rank, failure in failures.items() if failure.exitcode < 0}
    reasons = [item for item in killed.items() if item[1].exitcode != -signal.SIGTERM] or list(killed.items())
    if spoken or not reasons or any(failure.exitcode == 1 for failure in failures.values()):
        message = f"a training process ended with exit code {exit_code}"
    else:
        rank, failure = reasons[0]
        message = (
            f"rank {rank} (process {failure.pid}) was killed by {signal.Signals(-failure.exitcode).name}. "
            "If nobody did that by hand, the machine probably ran out of memory. "
            f"Start again to go on; torchrun's log: {log_path}"
        )
    if write_status(status_path, exit_code, message, keep_first=True):
        print(f"error: {message}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
