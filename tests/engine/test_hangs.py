"""R19: a process that waits for a file without end leaves by itself, and says which file that was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sam2_training.core.errors import DataError
from sam2_training.engine.hangs import rank_with_stacks
from sam2_training.engine.processes import STATUS, read_status

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS


def test_a_rank_that_fails_unasked_leaves_no_file_of_stacks(tmp_path: Path) -> None:
    with pytest.raises(DataError), rank_with_stacks(tmp_path, 1):
        raise DataError("a damaged file")
    assert not list((tmp_path / "logs").iterdir())


READER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
sys.path.insert(0, {repository!r})
from sam2_training.core.current_work import working_on
from sam2_training.engine.hangs import ends_when_stuck
def read(path):
    with working_on(path): return open(path).read()
with ends_when_stuck(0.02, Path(sys.argv[1])), ThreadPoolExecutor(1) as pool:
    read(__import__("os").devnull)
    pool.submit(read, sys.argv[2]).result()  # nobody ever writes there
"""


def test_r19_a_read_that_blocks_ends_with_its_file_and_the_stacks_of_all_threads(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "stalled.jpg")
    program = [sys.executable, "-c", READER.format(repository=str(REPOSITORY / "training"))]
    command = [*program, str(tmp_path / "run"), str(tmp_path / "stalled.jpg")]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert shown.returncode == 5, shown.stderr
    said = f"HangError: {tmp_path / 'stalled.jpg'} took longer than 0.02 minutes (loader.timeout_minutes)."
    assert shown.stderr.startswith(said)
    status = read_status(tmp_path / "run" / STATUS)
    assert status is not None
    assert status[0] == 5
    assert status[1].startswith(said)
    stacks = (tmp_path / "run" / "logs" / "stacks_rank_0.txt").read_text()
    assert "in read" in stacks
    assert stacks.count("most recent call first") >= 3
