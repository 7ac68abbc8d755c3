"""Stacks: the pages of one TIFF, the planes of one array, or a folder of TIFFs, as the frames of a video."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sam2_training.data.images import LARGEST_PIXELS, UnreadableFileError

TIFF_SUFFIXES = (".ome.tiff", ".ome.tif", ".ome.btf", ".tiff", ".tif", ".btf", ".tf8", ".lsm")
"""The longest first: what stands before one is the name."""
ARRAY_SUFFIXES = (".npz", ".npy")
STACK_SUFFIXES = TIFF_SUFFIXES + ARRAY_SUFFIXES

Kind = Literal["frames", "labels"]
"""What a stack holds, where a file may hold both."""
Page = npt.NDArray[Any]
"""[H, W], or [H, W, S] with S samples a pixel, of any type of numbers."""


class Stack(ABC):
    """Pages of one size and type, read one by one. Whatever is wrong with a file is a DataError that names it."""

    path: str
    """The file, or the folder of files."""
    part: str = ""
    """What of the file, where it may hold several things."""
    num_pages: int
    size: tuple[int, int]
    """(H, W)."""
    samples: int
    """Of a pixel: 1, or 2 to 4 for gray with alpha, RGB and RGBA."""
    dtype: np.dtype[Any]

    @abstractmethod
    def read(self, number: int) -> Page:
        """A page, [H, W] if a pixel has one sample; may be called from threads."""

    def file(self, number: int) -> str:
        """The file of a page."""
        return self.path

    def check(self) -> None:  # noqa: B027 - the pages of one file are alike by its header
        """Raises DataError if pages differ in size or type."""

    def _set(self, num_pages: int, size: Sequence[int], samples: int, dtype: np.dtype[Any]) -> None:
        """Sets what is known by the header. Raises UnreadableFileError for what cannot be a stack."""
        self.num_pages, self.size, self.samples, self.dtype = num_pages, (size[0], size[1]), samples, np.dtype(dtype)
        if not num_pages or min(size) < 1:
            raise UnreadableFileError(f"the stack is empty: {self.path}\nReplace it.")
        if size[0] * size[1] > LARGEST_PIXELS:
            raise UnreadableFileError(
                f"the stack's pages are {size[0]}x{size[1]} (height x width), expected at most {LARGEST_PIXELS:,} "
                f"pixels: {self.path}\nResize or crop them."
            )
        if samples not in (1, 2, 3, 4) or self.dtype.kind not in "buif":
            raise UnreadableFileError(
                f"the stack has {samples} samples of type {self.dtype} a pixel, expected 1 to 4 numbers (gray, gray "
                f"with alpha, RGB, RGBA): {self.path}\nSave it as one of these."
            )


def stem_of(file: str, suffixes: Sequence[str] = STACK_SUFFIXES) -> str | None:
    """A file's name without its suffix; None if it has none of the suffixes."""
    lower = file.lower()
    return next((file[: -len(one)] for one in suffixes if lower.endswith(one) and len(file) > len(one)), None)
