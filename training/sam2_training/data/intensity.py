"""Frames of 8 bits from pages of any type: which values become black and white."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.data.config import IntensityConfig
from sam2_training.data.content import VideoContent
from sam2_training.data.frames import Frames
from sam2_training.data.source import Frame
from sam2_training.data.stack_files import FolderStack
from sam2_training.data.stacks import Page, Stack

DEFAULT_PERCENTILES = (0.5, 99.5)
SAMPLED = 2**22
"""Pixels of a video that percentiles are taken from, where a histogram of all values would be too long."""
Levels = tuple[float, float]
"""Values that become 0 and 255."""


def levels_of(stack: Stack, config: IntensityConfig) -> Levels | None:
    """The levels of a video; None if its pages are 8-bit frames already. Reads all pages for percentiles."""
    if config.range is not None:
        return config.range
    if stack.dtype.itemsize == 1 and config.percentiles is None:
        return None
    low, high = _percentiles(stack, config.percentiles or DEFAULT_PERCENTILES)
    return low, high


def _percentiles(stack: Stack, wanted: tuple[float, float]) -> Levels:
    """Values so that the first percentage of all pixels is below, and the second, of a video's color samples."""
    if stack.dtype.kind in "bu" and stack.dtype.itemsize <= 2:
        counts = np.zeros(65536, np.int64)
        for number in range(stack.num_pages):
            counts += np.bincount(_color(stack.read(number)).reshape(-1), minlength=65536)
        reached = np.cumsum(counts)
        ranks = [max(1, int(np.ceil(reached[-1] * percent / 100))) for percent in wanted]
        low, high = (float(np.searchsorted(reached, rank)) for rank in ranks)
        return low, high
    step = max(1, stack.num_pages * stack.size[0] * stack.size[1] * min(stack.samples, 3) // SAMPLED)
    values = [_finite(stack, number).reshape(-1)[number % step :: step] for number in range(stack.num_pages)]
    low, high = (float(value) for value in np.percentile(np.concatenate(values), wanted))
    return low, high


def _finite(stack: Stack, number: int) -> npt.NDArray[np.float64]:
    values = _color(stack.read(number)).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(
            f"frame {number} has pixels that are not finite numbers: {stack.file(number)}\n"
            "Replace them, for instance by 0, and save the stack again."
        )
    return values


def _color(page: Page) -> Page:
    """A page without its alpha channel."""
    if page.ndim == 2:
        return page
    return page[..., 0] if page.shape[2] == 2 else page[..., :3]


def as_frame(page: Page, levels: Levels | None) -> Frame:
    """A page as RGB [H, W, 3]: (value - low) / (high - low) * 255, rounded, values beyond the levels cut off.

    levels None: as it is, a page of one bit as 0 and 255.
    """
    pixels = _color(page)
    if levels is None:
        pixels = pixels.astype(np.uint8) * np.uint8(255 if pixels.dtype == np.bool_ else 1)
    else:
        low, high = levels
        if high > low:
            scaled = (pixels.astype(np.float64) - low) * (255 / (high - low))
        else:
            scaled = np.where(pixels > low, 255.0, 0.0)
        pixels = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels)


class StackFrames(Frames):
    """The pages of a stack as frames: numbered from 0, or named by their files."""

    def __init__(self, stack: Stack, config: IntensityConfig) -> None:
        self.stack, self.config, self.location = stack, config, stack.path
        folder = isinstance(stack, FolderStack)
        paths = (stack.file(number) for number in range(stack.num_pages))
        self.files = tuple(path.rpartition("/")[2] if folder else f"{t:05d}" for t, path in enumerate(paths))

    @cached_property
    def levels(self) -> Levels | None:
        """Those of `levels_of`."""
        return levels_of(self.stack, self.config)

    def size(self) -> tuple[int, int]:
        self.stack.check()
        return self.stack.size

    def read(self, frame_index: int) -> Frame:
        return as_frame(self.stack.read(frame_index), self.levels)

    def path(self, frame_index: int) -> str:
        return self.stack.file(frame_index)

    def stamp_paths(self) -> list[str]:
        number = self.stack.num_pages
        return list(dict.fromkeys([self.location, *(self.path(t) for t in (0, number // 2, number - 1))]))

    def add_to(self, content: VideoContent) -> None:
        content.add_frames(list(dict.fromkeys(self.path(t) for t in range(self.stack.num_pages))))
