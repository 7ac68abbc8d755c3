"""The stack that is in a file, whatever its kind, and the one that a folder of TIFFs is."""

from __future__ import annotations

from collections.abc import Sequence

from sam2_training.core.errors import DataError
from sam2_training.core.text import shown
from sam2_training.data.arrays import ArrayStack
from sam2_training.data.images import UnreadableFileError
from sam2_training.data.stacks import ARRAY_SUFFIXES, Kind, Page, Stack
from sam2_training.data.tiff import TiffStack


class FolderStack(Stack):
    """A TIFF of one page per frame, in the order of their names."""

    def __init__(self, folder: str, paths: Sequence[str], channel: int | None = None) -> None:
        self.path, self.paths, self.channel = folder, tuple(paths), channel
        first = self._open(0)
        self._set(len(paths), first.size, first.samples, first.dtype)

    def read(self, number: int) -> Page:
        return self._open(number, alike=True).read(0)

    def file(self, number: int) -> str:
        return self.paths[number]

    def check(self) -> None:
        for number in range(self.num_pages):
            self._open(number, alike=True)

    def _open(self, number: int, alike: bool = False) -> Stack:
        path = self.paths[number]
        found = open_stack(path, "frames", self.channel)
        if found.num_pages != 1:
            raise DataError(
                f"the file has {found.num_pages} pages, expected one, since its folder holds a file per frame: "
                f"{shown(path)}\nSplit it, or give stacks without a folder for each video."
            )
        if alike and (found.size, found.samples, found.dtype) != (self.size, self.samples, self.dtype):
            raise UnreadableFileError(
                f"two files of one video differ (height x width, samples, type)\n"
                f"  {_look(self)} {self.paths[0]}\n  {_look(found)} {path}\nConvert or resize one of them."
            )
        return found


def _look(stack: Stack) -> str:
    return f"{stack.size[0]}x{stack.size[1]} {stack.samples} {stack.dtype}"


def open_stack(path: str, kind: Kind, channel: int | None = None) -> Stack:
    """The stack in a file. channel: from 1, which one of several counts. Raises DataError."""
    if path.lower().endswith(ARRAY_SUFFIXES):
        if channel is not None:
            raise DataError(f"dataset.channel is for TIFF files, this is an array: {path}\nRemove it.")
        return ArrayStack(path, kind)
    return TiffStack(path, channel)
