"""One run, one folder: who is refused, what is left behind, and what is said where locks do not work."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from sam2_training.commands.launch import start_ranks
from sam2_training.engine.config import RunConfig, TrainerConfig
from sam2_training.engine.folder_lock import FILE_NAME, FolderInUseError, folder_lock, lock_for_ranks
from sam2_training.engine.processes import STATUS
from sam2_training.engine.run import run_as_rank

from tests.places import REPOSITORY

HOLDER = """
import os, sys, time
from pathlib import Path
from sam2_training.engine.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(600)
"""


def test_a_second_start_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    with folder_lock(tmp_path):
        with pytest.raises(FolderInUseError) as refused, folder_lock(tmp_path):
            pass
        assert refused.value.exit_code == 2
        for word in (str(tmp_path), f"process {os.getpid()}", f"host {socket.gethostname()}", "since 20"):
            assert word in str(refused.value)
    with folder_lock(tmp_path):
        pass


def test_a_killed_start_leaves_no_lock_even_while_its_forked_children_live(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "training")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    with pytest.raises(FolderInUseError, match=f"process {process.pid} "), folder_lock(tmp_path):
        pass
    process.kill()
    process.wait()
    assert child.is_running()
    with folder_lock(tmp_path):
        child.kill()


def test_a_child_that_still_shares_a_dead_starts_lock_is_waited_for(tmp_path: Path) -> None:
    """It shares the lock from its fork until it first runs."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with folder_lock(tmp_path):
        pass
    holder = json.dumps({"host": socket.gethostname(), "pid": ended.pid, "since": "just now"})
    with (tmp_path / FILE_NAME).open("w") as file:
        file.write(holder)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(0.5, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with folder_lock(tmp_path):
            assert str(os.getpid()) in (tmp_path / FILE_NAME).read_text()


def test_ranks_whose_starter_holds_the_folder_are_let_in_and_nobody_else(tmp_path: Path) -> None:
    with lock_for_ranks(tmp_path):
        with folder_lock(tmp_path):
            pass
        with folder_lock(tmp_path / "another"):
            assert (tmp_path / "another" / FILE_NAME).exists()
    with folder_lock(tmp_path), pytest.raises(FolderInUseError), lock_for_ranks(tmp_path):
        pass


@pytest.mark.parametrize("several", [False, True], ids=["one process", "several"])
def test_a_refused_start_touches_nothing(tmp_path: Path, several: bool) -> None:
    (tmp_path / STATUS).write_text("of the first start")
    os.utime(tmp_path / STATUS, (0, 0))
    config = RunConfig(trainer=TrainerConfig(accelerator="cpu"))
    with folder_lock(tmp_path):
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
        if several:
            with pytest.raises(FolderInUseError):
                start_ranks("train", [], config, tmp_path)
        else:
            with pytest.raises(FolderInUseError):
                run_as_rank(tmp_path, lambda: pytest.fail("it worked in a folder that another start holds"))
        assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with folder_lock(tmp_path):
        assert "would not notice each other" in caplog.text


@pytest.mark.parametrize(
    ("kind", "options", "reaches_all"),
    [
        ("nfs4", "rw,vers=4.2,local_lock=none", True),
        ("nfs", "rw,vers=3,local_lock=all", False),
        ("nfs", "rw,vers=3,nolock", False),
        ("fuse.sshfs", "rw", False),
        ("ext4", "rw,relatime", True),
    ],
)
def test_a_share_whose_locks_stay_on_this_host_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    options: str,
    reaches_all: bool,
) -> None:
    mounts = [
        SimpleNamespace(mountpoint="/", fstype="ext4", opts="rw"),
        SimpleNamespace(mountpoint=str(tmp_path.parent.resolve()), fstype=kind, opts=options),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    with folder_lock(tmp_path):
        assert ("do not reach other hosts" in caplog.text) == (not reaches_all)


@pytest.mark.parametrize("content", ["", "{", '{"pid": 3}', "[1]"])
def test_a_damaged_lock_file_neither_locks_nor_hides_the_refusal(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    with folder_lock(tmp_path):
        assert json.loads((tmp_path / FILE_NAME).read_text())["pid"] == os.getpid()
        (tmp_path / FILE_NAME).write_text(content)
        with pytest.raises(FolderInUseError, match="in use by another process"), folder_lock(tmp_path):
            pass
