"""Files that appear whole or not at all, their SHA-256, and folders that can be written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 1 << 22
PROBE_BYTES = 1 << 16

_ENDLESS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@contextlib.contextmanager
def replacing(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """Yields the path to write; at the end of the block it replaces `path`, which readers see old or new, never half.

    Makes the folder if need be. If the block raises, the unfinished file is removed and `path` stays as it was.
    suffix: how the unfinished name ends, for writers that tell the format from it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}{suffix}")
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces the file at `path`: see `replacing`."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replaces the file at `path` by text in UTF-8: see `replacing`."""
    write_bytes(path, text.encode())


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """A path to the same file for libraries that take UTF-8 only: its own, or, where that is other bytes, a link to it.

    The link is gone at the end of the block; a file that was opened through it stays open.
    """
    if _is_utf8(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"link{path.suffix if _is_utf8(path.suffix) else ''}"
        link.symlink_to(path.absolute())
        yield str(link)


def _is_utf8(path: Path | str) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def set_aside(path: Path, ending: str) -> Path:
    """Renames a file that must be neither used nor lost to path.<ending>, or path.<ending>.1, ...; the new path."""
    aside = path.with_name(f"{path.name}.{ending}")
    number = 0
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{ending}.{number}")
    path.replace(aside)
    return aside


def sha256_of(path: Path, from_disk: bool = False) -> str:
    """SHA-256 (hex) of a file. from_disk: not of the system's copy in memory, where it offers that."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        if from_disk and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
    return sha256.hexdigest()


def endless_kind(path: str | Path) -> str | None:
    """What is at a path if reading it could wait or go on for ever: "a named pipe", "a socket", "a device"; else None.

    None also for what is not there, and for paths that only iopath understands.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a store's path is not a Path
    except (OSError, ValueError):
        return None
    return _ENDLESS.get(stat.S_IFMT(mode))


def why_not_writable(folder: Path) -> str | None:
    """Makes the folder if need be; why this user cannot write there, such as "no permission" or a full disk, or None.

    Writes `PROBE_BYTES` to a file without a name: what a command's small files take at least.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            return "no permission"
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None


def _sync(path: Path) -> None:
    file_descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file_descriptor)
    finally:
        os.close(file_descriptor)
