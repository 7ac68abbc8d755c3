"""Command: health. Exit code 0 while a command on this host (or in this container) is alive, for supervisors."""

from __future__ import annotations

import argparse
import socket
import time
from pathlib import Path

from sam2_training.commands.command import Command
from sam2_training.core.errors import EXIT_FINISHED
from sam2_training.core.terminal import say
from sam2_training.engine.heartbeat import commands_folder, last_beat, this_machine

EXIT_SILENT = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of health."""
    parser.add_argument(
        "--results", type=Path, default=Path("sam2_logs"), help="folder of results (default: sam2_logs)"
    )
    parser.add_argument(
        "--max-age", type=float, default=900.0, metavar="SECONDS", help="longest silence of a living run (default: 900)"
    )


def run(arguments: argparse.Namespace) -> int:
    """0 if a run or another command of this host did something lately, 1 if not; prints which."""
    machine = this_machine()
    places = {"step": arguments.results, "frame": commands_folder()}
    beats = {unit: beat for unit, folder in places.items() if (beat := last_beat(folder, machine)) is not None}
    if not beats:
        say(
            f"no run of this host ({socket.gethostname()}) has written a heartbeat below {arguments.results} yet, "
            "and no command"
        )
        return EXIT_SILENT
    unit, beat = max(beats.items(), key=lambda item: item[1].time_s)
    age_s = time.monotonic() - beat.time_s
    print(f"{unit} {beat.step}, {age_s:.0f} s ago")
    return EXIT_FINISHED if age_s <= arguments.max_age else EXIT_SILENT


COMMAND = Command(
    description="Tell whether a training run or another command on this host is alive, from its heartbeat.",
    run=run,
    shared=(),
    add_arguments=add_arguments,
    meaning_of_1="no command of this host did anything lately",
)
