"""Hashed writing, atomic replacement and verification of checkpoint files.

These need what only a local file system gives (rename as one indivisible act, fsync, hard links), so they take local
paths, not those of iopath's registered stores.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from sam2_training.core.errors import CheckpointError
from sam2_training.core.files import CHUNK_BYTES, set_aside, sha256_of, write_text
from sam2_training.core.safe_load import load_safely

PLAIN_TYPES = (bool, int, float, str, torch.Tensor, torch.nn.Parameter)
NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EACCES)
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)


class HashingWriter:
    """A file opened for writing that computes the SHA-256 of what is written and keeps the error that stopped it."""

    def __init__(self, path: Path) -> None:
        self._file_descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self._sha256 = hashlib.sha256()
        self.error: OSError | None = None
        """The operating system's error, which torch hides behind its own."""

    def write(self, data: Any) -> int:
        """Bytes written: all of data, a bytes-like object."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view):
                done += os.write(self._file_descriptor, view[done:])
        except OSError as error:
            self.error = error
            raise
        self._sha256.update(view)
        return done

    def flush(self) -> None:
        """Does nothing: writes are not buffered."""

    def finish(self) -> str:
        """SHA-256 (hex) of the content, which is now on the disk."""
        os.fsync(self._file_descriptor)
        self.close()
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Closes the file; may be called twice."""
        file_descriptor, self._file_descriptor = self._file_descriptor, -1
        if file_descriptor >= 0:
            os.close(file_descriptor)


def write_checkpoint(path: Path, content: dict[str, Any]) -> str:
    """SHA-256 (hex) of the file that `torch.save` made of content, after reading it back from the disk.

    Raises OSError (disk full, file too large, not readable as written); the caller removes the partial file.
    """
    writer = HashingWriter(path)
    try:
        torch.save(content, writer)  # type: ignore[arg-type]  # torch asks only for write and flush
        expected = writer.finish()
    except RuntimeError:
        if writer.error is not None:  # torch reports a failed write as RuntimeError("unexpected pos ...")
            raise writer.error from None
        raise
    finally:
        writer.close()
    if sha256_of(path, from_disk=True) != expected:
        raise OSError(errno.EIO, "the file reads back differently from what was written", str(path))
    return expected


def replace_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Replaces a checkpoint and its sidecar: whichever file a power cut leaves under the name, its hash is recorded.

    Raises OSError; the former file then stays, and no partial one is left.
    """
    temporary = temporary_name(path)
    try:
        digest = write_checkpoint(temporary, content)
        former = recorded_hashes(path) - {digest} if path.exists() else set()
        write_hashes(path, [digest, *sorted(former)])
        temporary.replace(path)  # from here on the new checkpoint counts
        sync_folder(path.parent)
        if former:
            write_hashes(path, [digest])
    except BaseException:
        remove(temporary)
        raise


def check_plain(value: Any, name: str) -> None:
    """Raises TypeError, naming the place, if a value would not come back under `weights_only=True`."""
    if isinstance(value, dict):
        for key, item in value.items():
            check_plain(key, f"{name} (a key)")
            check_plain(item, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            check_plain(item, f"{name}[{number}]")
    elif value is not None and type(value) not in PLAIN_TYPES:
        raise TypeError(f"{name} is a {type(value).__name__}; a checkpoint holds tensors and plain values only")


def hash_path(path: Path) -> Path:
    """The sidecar of a checkpoint: lines as `sha256sum` writes them."""
    return path.with_name(f"{path.name}.sha256")


def temporary_name(path: Path) -> Path:
    """Where a file is written before it takes its name: in the same folder, so that renaming is atomic."""
    return path.with_name(f".{path.name}.tmp")


def parse_hashes(text: str) -> set[str]:
    """The hashes of a sidecar: one, or two while a checkpoint is being replaced by another of the same step."""
    return {line.split()[0] for line in text.splitlines() if re.match(r"[0-9a-f]{64}\b", line)}


def recorded_hashes(path: Path) -> set[str]:
    """The hashes in the sidecar of a checkpoint; empty if there is none, or it holds none."""
    try:
        return parse_hashes(hash_path(path).read_text(errors="replace"))
    except FileNotFoundError:
        return set()


def write_hashes(path: Path, hashes: Iterable[str]) -> None:
    """Writes the sidecar of a checkpoint."""
    write_text(hash_path(path), "".join(f"{digest}  {path.name}\n" for digest in hashes))


def point_to(name: Path, target: Path) -> None:
    """Makes `name` another name of target, atomically: a hard link, or a copy where links are not supported."""
    temporary = temporary_name(name)
    remove(temporary)
    try:
        os.link(target, temporary)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        _copy(target, temporary)
    # Renaming a link onto another link of the same file does nothing, and leaves the temporary name behind.
    temporary.replace(name)
    remove(temporary)
    sync_folder(name.parent)


def _copy(source: Path, target: Path) -> None:
    writer = HashingWriter(target)
    try:
        with source.open("rb") as file:
            shutil.copyfileobj(file, writer, CHUNK_BYTES)
        writer.finish()
    finally:
        writer.close()


def zip_problem(path: Path) -> str | None:
    """What the checksums inside a file of `torch.save` say against it, for one without a sidecar; None: nothing."""
    if not zipfile.is_zipfile(path):
        return None  # reading says what it is
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return str(error)
    return None if bad is None else f"the checksum of {bad} in it does not match"


def remove(path: Path) -> None:
    """Removes a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def set_aside_with_hash(path: Path, ending: str) -> Path:
    """`core.files.set_aside` for a checkpoint and its sidecar; the new path of the checkpoint."""
    aside = set_aside(path, ending)
    if hash_path(path).exists():
        hash_path(path).replace(hash_path(aside))
    return aside


def sync_folder(folder: Path) -> None:
    """Flushes the names in a folder to the disk, where the file system supports that."""
    file_descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file_descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(file_descriptor)


def read_checkpoint(path: Path, shown: str) -> dict[str, Any]:
    """The content of a checkpoint file, tensors on the CPU. shown: how messages call the file.

    Only tensors and plain values are unpickled (`weights_only=True`): a file cannot run code. Raises CheckpointError.
    """
    content = load_safely(path, shown)
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{shown} is not a checkpoint: it holds a {type(content).__name__}, expected a dict with the key 'model'"
        )
    return content
