"""What is in a video's files, as a digest: the same for a copy, whatever its place and its times."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from iopath.common.file_io import g_pathmgr

from sam2_training.data.images import IdMask, UnreadableFileError

END_BYTES = 4096
"""Bytes at each end of a frame's file that are read."""


class VideoContent:
    """Digest of a video's frames (size, first and last 4 KiB of each file) and of its masks (every pixel)."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add_frames(self, paths: Sequence[str]) -> None:
        """The frames' files in order. Raises UnreadableFileError for one that cannot be read."""
        for path in paths:
            try:
                with g_pathmgr.open(path, "rb") as file:
                    first = file.read(END_BYTES)
                    size = file.seek(0, io.SEEK_END)
                    file.seek(max(size - END_BYTES, 0))
                    last = file.read(END_BYTES)
            except OSError as error:
                raise UnreadableFileError(f"the file cannot be read ({error.strerror or error}): {path}") from error
            self._hash.update(b"frame %d\0" % size)
            self._hash.update(first)
            self._hash.update(last)

    def add_mask(self, name: str, values: IdMask) -> None:
        """The pixels of a mask file [H, W], whatever their type. name: within the video's masks."""
        self._hash.update(f"mask {name} {values.shape}\0".encode("utf-8", "surrogateescape"))
        is_narrow = values.dtype == np.uint8 or not (values > 255).any()
        self._hash.update(np.ascontiguousarray(values, np.uint8 if is_narrow else np.uint16).data)

    def add_region(self, frame_index: int, object_id: int, counts: bytes) -> None:
        """Pixels of an object, encoded as in `rle`."""
        self._hash.update(b"region %d %d %d\0" % (frame_index, object_id, len(counts)))
        self._hash.update(counts)

    def add_decoded(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Pixels [H, W, 3] of a frame as a decoder gives them."""
        self._hash.update(f"decoded {pixels.shape}\0".encode())
        self._hash.update(np.ascontiguousarray(pixels).data)

    def digest(self) -> str:
        """Hexadecimal."""
        return self._hash.hexdigest()
