"""One run, one folder: a lock that a start holds for as long as it lives, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil

from sam2_training.core.errors import ConfigError

FILE_NAME = "run.lock"
HELD_VARIABLE = "SAM2_LOCKED_FOLDER"
"""Environment variable that tells ranks which folder the process that started them has locked."""

SECONDS_FOR_CHILDREN = 10.0
"""A child that was forked in the moment of its parent's death shares the lock until it first runs: so long at most."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
LOCAL_LOCKS: dict[str, tuple[str, ...]] = {
    "nfs": ("nolock", "local_lock=all", "local_lock=flock"),
    "nfs4": ("nolock", "local_lock=all", "local_lock=flock"),
    "lustre": ("localflock",),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
    "9p": (),
    "virtiofs": (),
    "fuse.sshfs": (),
}
"""{file system of a share: mount options with which a lock is seen on this host only}; (): it always is so."""

log = logging.getLogger(__name__)
_open_files: set[int] = set()


class FolderInUseError(ConfigError):
    """Another start works in this folder; nothing in it has been read or changed by this one."""


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keeps other starts out of a folder, on this host and on every one that shares it; made if it is not there.

    The kernel frees the lock when this process ends, also by SIGKILL, so none is left behind; <folder>/run.lock stays
    and is only read to say who holds it. Where the file system has no locks, or only this host would see them, that is
    logged. Does nothing in a rank whose starter holds the folder. Raises FolderInUseError naming host and process.
    """
    if os.environ.get(HELD_VARIABLE) == str(folder.resolve()):
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    file_descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # a share gives no exclusive lock for reading only
    _open_files.add(file_descriptor)
    try:
        _lock(file_descriptor, path)
        yield
    finally:
        _open_files.discard(file_descriptor)
        os.close(file_descriptor)


@contextlib.contextmanager
def lock_for_ranks(folder: Path) -> Iterator[None]:
    """`folder_lock` for this process and the ranks that it starts meanwhile."""
    with folder_lock(folder):
        os.environ[HELD_VARIABLE] = str(folder.resolve())
        try:
            yield
        finally:
            del os.environ[HELD_VARIABLE]


def _lock(file_descriptor: int, path: Path) -> None:
    try:
        _flock(file_descriptor, path)
    except BlockingIOError:
        raise FolderInUseError(
            f"{path.parent} is in use by {_holder(path)}. Wait for its end, stop it, or choose another folder for this "
            "start (launcher.experiment_log_dir; for evaluate --output)."
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.warning("%s: %s. Two starts in this folder would not notice each other.", path, error.strerror)
        return
    kind = _local_locks(path)
    if kind is not None:
        log.warning("%s: locks of this %s file system do not reach other hosts. Start the run on one.", path, kind)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    holder = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": now}).encode()
    with contextlib.suppress(OSError):  # a full disk: the lock holds, only its holder's name is missing
        os.ftruncate(file_descriptor, 0)
        os.pwrite(file_descriptor, holder, 0)


def _flock(file_descriptor: int, path: Path) -> None:
    """Takes the lock. Raises BlockingIOError if a process that lives holds it, OSError where there are no locks."""
    give_up = time.monotonic() + SECONDS_FOR_CHILDREN
    while True:
        try:
            fcntl.flock(file_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not _holder_is_gone(path) or time.monotonic() > give_up:
                raise
        time.sleep(0.02)


def _holder_is_gone(path: Path) -> bool:
    """Whether the process that last took the lock was one of this host and has ended."""
    try:
        content = json.loads(path.read_text())
        return content["host"] == socket.gethostname() and not psutil.pid_exists(int(content["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _holder(path: Path) -> str:
    """Who holds the lock, as it says itself."""
    try:
        content = json.loads(path.read_text())
        return f"process {content['pid']} on host {content['host']} since {content['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process, which could not write its name"


def _local_locks(path: Path) -> str | None:
    """The kind of file system if only this host sees its locks; None if all do that share it."""
    place = path.resolve()
    mounts = [part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)]
    if not mounts:
        return None
    mount = max(mounts, key=lambda part: len(part.mountpoint))
    options = LOCAL_LOCKS.get(mount.fstype)
    if options is None or (options and not set(options) & set(mount.opts.split(","))):
        return None
    return str(mount.fstype)


def _forget_in_child() -> None:
    """A forked child, such as a loader worker, shares the open file: it would keep the lock of a killed parent."""
    for file_descriptor in _open_files:
        os.close(file_descriptor)
    _open_files.clear()


os.register_at_fork(after_in_child=_forget_in_child)
