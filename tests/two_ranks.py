"""Runs a program as two real processes that meet each other, on the CPU."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS


def seen_by_two_ranks(program: str, folder: Path, **environment: str) -> list[dict[str, Any]]:
    """What each rank of a program saw: the JSON that it wrote to $RESULT followed by its rank. Both must end with 0."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    result = folder / "rank"
    common = {
        **os.environ,
        **{"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
        **{"PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "training")))},
        **{"RESULT": str(result), **environment},
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=REPOSITORY,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, errors
    return [json.loads(Path(f"{result}{rank}").read_text()) for rank in (0, 1)]
