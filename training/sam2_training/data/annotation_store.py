"""A file that keeps what was read from a large document: flat arrays, mapped into memory, and pieces of bytes.

Processes that use it share the arrays' memory, and bytes are read from the file when they are asked for, so that
millions of annotations take next to nothing of each.
"""

from __future__ import annotations

import json
import mmap
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.core.files import replacing

Columns = Mapping[str, npt.NDArray[Any]]

_END = b"annotation store 1"
_ALIGNMENT = 8
_LENGTH_BYTES = 8


class PieceWriter:
    """Takes pieces of bytes one after the other."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.offset = file, 0

    def add(self, data: bytes) -> int:
        """Where the piece begins."""
        self._file.write(data)
        begin = self.offset
        self.offset += len(data)
        return begin


class AnnotationStore:
    """Such a file. Picklable: a copy opens the file again, and refuses another one in its place."""

    def __init__(self, path: Path, key: str) -> None:
        """Raises OSError or ValueError if the file is not there, not intact, or not the one that the key is of."""
        self.path, self.key = path, key
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self._open()

    @classmethod
    def build(cls, path: Path, key: str, fill: Callable[[PieceWriter], Columns]) -> AnnotationStore:
        """Writes the file, whole or not at all. fill: adds the pieces and gives the arrays. Raises what it raises."""
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            writer = PieceWriter(file)
            columns = fill(writer)
            places: dict[str, tuple[str, tuple[int, ...], int]] = {}
            for name, column in columns.items():
                writer.add(bytes(-writer.offset % _ALIGNMENT))
                data = np.ascontiguousarray(column)
                places[name] = (data.dtype.str, data.shape, writer.add(data.tobytes()))
            contents = json.dumps({"key": key, "columns": places}).encode()
            writer.add(contents + len(contents).to_bytes(_LENGTH_BYTES, "little") + _END)
        return cls(path, key)

    @property
    def columns(self) -> Columns:
        """The arrays, read-only."""
        with self._lock:
            if self._file is None:
                try:
                    self._open()
                except (OSError, ValueError) as error:
                    raise DataError(
                        f"the annotations that this run keeps have changed ({error}): {self.path}\nStart again."
                    ) from error
        return self._columns

    def piece(self, offset: int, length: int) -> bytes:
        """Bytes that were added. Called from threads."""
        if self._file is None:
            self.columns  # noqa: B018 - opens the file
        assert self._file is not None
        return os.pread(self._file.fileno(), length, offset)

    def close(self) -> None:
        """Releases the file; it is opened again when it is needed."""
        with self._lock:
            self._columns = {}
            if self._file is not None:
                self._file.close()
                self._file = None

    def _open(self) -> None:
        file = self.path.open("rb")
        try:
            tail = len(_END) + _LENGTH_BYTES
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - tail, 0))
            end = file.read()
            length = int.from_bytes(end[:_LENGTH_BYTES], "little")
            if end[_LENGTH_BYTES:] != _END or length > size - tail:
                raise ValueError("it is not intact")
            contents = json.loads(os.pread(file.fileno(), length, size - tail - length))
            if contents["key"] != self.key:
                raise ValueError("it is of other annotations")
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._columns = {
                name: np.frombuffer(memory, dtype, int(np.prod(shape)), offset).reshape(shape)
                for name, (dtype, shape, offset) in contents["columns"].items()
            }
        except BaseException:
            file.close()
            raise
        self._file = file

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "key": self.key}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _file=None, _columns={})
