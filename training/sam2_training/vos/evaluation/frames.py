"""Reads a video's frames ahead, resizes and normalizes them as stock SAM 2 does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sam2_training.core.errors import DataError
from sam2_training.data.source import Frame

READ_AHEAD = 3
"""Frames that are ready, or being made ready, while the network works on one."""


class FrameSource(Protocol):
    """A video whose frames are read one at a time; `read_frame` is called from another thread."""

    @property
    def name(self) -> str: ...

    @property
    def num_frames(self) -> int: ...

    def read_frame(self, frame_index: int) -> Frame:
        """One frame, RGB uint8 [H, W, 3]; all of one video have the same size. Raises DataError."""
        ...


class Normalizer:
    """Turns frames into network input, bit for bit as stock's `load_video_frames` does."""

    def __init__(self, resolution: int, mean: Tensor, std: Tensor) -> None:
        """resolution: side of the input, pixels. mean, std: [3], for values between 0 and 1."""
        self.resolution = resolution
        # 256 values a channel are all there are: divided in float64 and normalized in float32, as stock does.
        values = torch.from_numpy(np.arange(256) / 255.0).float()
        table = (values - mean.detach().cpu()[:, None]) / std.detach().cpu()[:, None]
        self._table = table.numpy()  # [3, 256]

    def __call__(self, frame: Frame) -> Tensor:
        """Network input float32 [1, 3, S, S], on the CPU."""
        side = self.resolution
        small = np.asarray(Image.fromarray(frame).resize((side, side)))
        return torch.from_numpy(np.stack([self._table[c].take(small[..., c]) for c in range(3)]))[None]


class FrameStream:
    """The frames of one video in order, prepared in threads, and any frame out of turn; close it after use."""

    def __init__(self, source: FrameSource, normalize: Normalizer, device: torch.device, num_threads: int = 1) -> None:
        """num_threads: 0: frames are prepared when they are asked for."""
        self.source, self.normalize, self.device = source, normalize, device
        self.size: tuple[int, int] | None = None
        """(H, W) of the frames, known after the first."""
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="frames") if num_threads else None
        self._ahead = max(READ_AHEAD, num_threads) if num_threads else 1

    def __enter__(self) -> FrameStream:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def in_order(self, start: int) -> Iterator[tuple[int, Tensor]]:
        """(frame index, network input [1, 3, S, S] on the device), from `start` to the end."""
        waiting: deque[Future[tuple[Tensor, tuple[int, int]]]] = deque()
        upcoming = iter(range(start, self.source.num_frames))
        for index in range(start, self.source.num_frames):
            while len(waiting) < self._ahead and (t := next(upcoming, None)) is not None:
                waiting.append(self._start(t))
            yield index, self._take(index, waiting.popleft())

    def one(self, frame_index: int) -> Tensor:
        """Network input of one frame, [1, 3, S, S] on the device."""
        return self._take(frame_index, self._start(frame_index))

    def _start(self, frame_index: int) -> Future[tuple[Tensor, tuple[int, int]]]:
        if self._pool is not None:
            return self._pool.submit(self._prepare, frame_index)
        done: Future[tuple[Tensor, tuple[int, int]]] = Future()
        done.set_result(self._prepare(frame_index))
        return done

    def _prepare(self, frame_index: int) -> tuple[Tensor, tuple[int, int]]:
        frame = self.source.read_frame(frame_index)
        image = self.normalize(frame)
        if self.device.type == "cuda":
            image = image.pin_memory()
        return image, (frame.shape[0], frame.shape[1])

    def _take(self, frame_index: int, future: Future[tuple[Tensor, tuple[int, int]]]) -> Tensor:
        image, size = future.result()
        if self.size is None:
            self.size = size
        if size != self.size:
            raise DataError(
                f"frames of one video have different sizes: frame {frame_index} of {self.source.name} is "
                f"{size[0]}x{size[1]}, those before are {self.size[0]}x{self.size[1]} (height x width)\n"
                "Resize them to one size."
            )
        return image.to(self.device, non_blocking=True)
