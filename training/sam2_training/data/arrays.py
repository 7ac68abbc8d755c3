"""NumPy files as stacks: an array of a .npz, read as a whole when a page is asked for, or a mapped .npy."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.current_work import working_on
from sam2_training.core.errors import DataError
from sam2_training.core.files import endless_kind
from sam2_training.core.text import some
from sam2_training.data.images import UnreadableFileError
from sam2_training.data.stacks import Kind, Page, Stack

NAMES: dict[Kind, tuple[str, ...]] = {"frames": ("imgs", "images", "frames"), "labels": ("gts", "labels", "masks")}
"""Names of the arrays in a .npz; MedSAM2 writes imgs and gts."""
LARGEST_ARRAY = 2**33
"""Bytes of an array in a .npz, which is read as a whole."""


class ArrayStack(Stack):
    """An array (T, H, W) or (T, H, W, S) of a file, or a single (H, W)."""

    def __init__(self, path: str, kind: Kind) -> None:
        self.path, self._lock = path, threading.Lock()
        self._array: np.ndarray[Any, Any] | None = None
        if endless := endless_kind(path):
            raise UnreadableFileError(f"this is {endless}, expected an array: {path}\nReplace it.")
        with _faults(path), working_on(path):
            self._local = g_pathmgr.get_local_path(path)
        if path.lower().endswith(".npy"):
            self.part = ""
            with _faults(path):
                self._array = np.load(self._local, mmap_mode="r", allow_pickle=False)
            shape, dtype = self._array.shape, self._array.dtype
        else:
            self.part = self._choose(kind)
            with _faults(path), zipfile.ZipFile(self._local) as archive, archive.open(f"{self.part}.npy") as file:
                version = np.lib.format.read_magic(file)
                header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = header[version](file)
        self._flat = len(shape) == 2
        if self._flat:
            shape = (1, *shape)
        if len(shape) not in (3, 4):
            raise UnreadableFileError(
                f"the array {self.part or 'in it'} has the shape {tuple(shape)}, expected (T, H, W) or (T, H, W, 3): "
                f"{path}\nSave it with these axes."
            )
        self._set(shape[0], shape[1:3], shape[3] if len(shape) == 4 else 1, dtype)
        self._has_samples = len(shape) == 4
        if self.part and int(np.prod(shape, dtype=object)) * dtype.itemsize > LARGEST_ARRAY:
            raise UnreadableFileError(
                f"the array {self.part} has more than {LARGEST_ARRAY:,} bytes, and would be read as a whole: {path}\n"
                "Save it as .npy or TIFF, which are read page by page."
            )

    def read(self, number: int) -> Page:
        with self._lock:
            if self._array is None:
                with _faults(self.path), working_on(self.path), np.load(self._local, allow_pickle=False) as file:
                    self._array = np.asarray(file[self.part])
            array = self._array[None] if self._flat else self._array
        if array.shape[:3] != (self.num_pages, *self.size):
            raise UnreadableFileError(f"the array has changed while it was read: {self.path}\nStart again.")
        page = np.array(array[number]).astype(self.dtype.newbyteorder("="), copy=False)
        return page[..., 0] if self._has_samples and self.samples == 1 else page

    def _choose(self, kind: Kind) -> str:
        """The name of the array of this kind. Raises UnreadableFileError."""
        with _faults(self.path), zipfile.ZipFile(self._local) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        found = [name for name in NAMES[kind] if name in names]
        of_other = {name for other, group in NAMES.items() if other != kind for name in group}
        if not found and len(names) == 1 and names[0] not in of_other:
            found = names
        if len(found) != 1:
            raise UnreadableFileError(
                f"the file holds the arrays {some(names)}, expected one of {kind}, named {' or '.join(NAMES[kind])}: "
                f"{self.path}\nRename it, or save it alone."
            )
        return found[0]


@contextmanager
def _faults(path: str) -> Iterator[None]:
    """Turns whatever a damaged file raises into an UnreadableFileError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableFileError(f"the file is gone: {path}\nPut it back.") from error
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise what a wrong byte happens to cause
        raise UnreadableFileError(f"the array cannot be read ({error}): {path}\nReplace it.") from error
