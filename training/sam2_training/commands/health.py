"""Command: health. Exit code 0 while the training on this host (or in this container) lives, for supervisors."""

from __future__ import annotations

import argparse
import socket
import time
from pathlib import Path

from sam2_training.engine.heartbeat import last_beat


def main(argv: list[str] | None = None) -> int:
    """0 if a run of this host did something lately, 1 if not; says which."""
    parser = argparse.ArgumentParser(prog="health.py", description="Tells whether the training here is alive.")
    parser.add_argument(
        "--results", type=Path, default=Path("sam2_logs"), help="folder of results (default: sam2_logs)"
    )
    parser.add_argument(
        "--max-age", type=float, default=900.0, metavar="SECONDS", help="longest silence of a living run (default: 900)"
    )
    arguments = parser.parse_args(argv)
    beat = last_beat(arguments.results, socket.gethostname())
    if beat is None:
        print(f"no run of this host ({socket.gethostname()}) has written a heartbeat below {arguments.results} yet")
        return 1
    age_s = time.time() - beat.time_s
    print(f"step {beat.step}, {age_s:.0f} s ago")
    return 0 if age_s <= arguments.max_age else 1
