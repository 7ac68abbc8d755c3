"""Generated videos: textured shapes that move, turn, cross, leave and return, before a drifting background."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam2_training.core.rng import rng_for
from sam2_training.data.config import DatasetConfig, SyntheticConfig
from sam2_training.data.source import Files, Frame, Masks, Video, VideoSource

GENERATOR_VERSION = 1
"""Counts up with every change to what is generated: part of the fingerprint."""

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
"""[K, 2] as (x, y)."""

_PREFIX = "synthetic-"
_LEAVE_PROBABILITY = 0.3
_CORNERS = 32
"""Corners of round outlines."""


class SyntheticSource(VideoSource):
    """synthetic-0, synthetic-1, ...: video n is a function of the seed, n and the configuration."""

    on_demand = True
    seed: int

    def __init__(self, config: SyntheticConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.location = self.mask_location = (
            f"generated ({config.num_frames} frames of {config.size}x{config.size}, {config.num_objects} objects)"
        )

    def videos(self) -> list[str]:
        return [f"{_PREFIX}{number}" for number in range(self.config.num_videos)]

    def num_frames(self, name: str) -> int:
        return self.config.num_frames

    def facts(self, name: str) -> Video:
        _, masks = self._made(name)
        areas = np.count_nonzero(masks, axis=(2, 3)).astype(np.int32)
        return Video(name, tuple(f"{t:05d}" for t in range(len(masks))), tuple(range(1, masks.shape[1] + 1)), areas)

    def frame(self, video: Video, frame_index: int) -> Frame:
        return np.asarray(self._made(video.name)[0][frame_index], np.uint8)

    def masks(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> Masks:
        return self._made(video.name)[1][frame_index, [object_id - 1 for object_id in object_ids]]

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        return Files("", "")

    def stamp(self, video: Video) -> int:
        return GENERATOR_VERSION

    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that the videos depend on; as in checkpoints since version 1."""
        made = self.config
        text = (
            f"SyntheticConfig(num_videos={made.num_videos}, num_frames={made.num_frames}, size={made.size}, "
            f"num_objects={made.num_objects})"
        )
        return hashlib.sha256(f"synthetic {GENERATOR_VERSION} {self.seed} {text}".encode()).hexdigest()

    def _made(self, name: str) -> tuple[Pixels, Masks]:
        return _newest_video(self.seed, int(name.removeprefix(_PREFIX)), self.config)


def open_source(config: DatasetConfig, seed: int) -> SyntheticSource:
    """The videos that config.synthetic describes."""
    return SyntheticSource(config.synthetic, seed)


@dataclass(frozen=True)
class _Shape:
    """An object: outline and texture about the origin, and its path through the frames."""

    outline: Points
    texture: Pixels
    positions: Points
    """[T, 2], pixels."""
    angles: npt.NDArray[np.float64]
    """[T], radians."""
    scales: npt.NDArray[np.float64]
    """[T]."""

    def pose(self, t: int) -> npt.NDArray[np.float64]:
        """[2, 3]: from object to frame coordinates."""
        cos, sin = math.cos(self.angles[t]) * self.scales[t], math.sin(self.angles[t]) * self.scales[t]
        return np.array([[cos, -sin, self.positions[t, 0]], [sin, cos, self.positions[t, 1]]])


def synthetic_video(seed: int, video_index: int, config: SyntheticConfig) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Frames uint8 [T, S, S, 3] (RGB) and masks bool [T, N, S, S] of one generated video.

    A function of its arguments alone; training uses 0 <= video_index < num_videos, so any other index is unseen.
    Masks show what is visible: a shape hides those with a smaller number. Every object is visible in frame 0, and of
    several objects the last never leaves.
    """
    rng = rng_for(seed, "synthetic video", video_index)
    size, num_frames = config.size, config.num_frames
    shapes = _draw_shapes(rng, config)
    background = _texture(rng, size * 3 // 2, rng.random(), saturation=0.25)
    drift = rng.uniform(-0.2, 0.2, 2) * size
    frames = np.empty((num_frames, size, size, 3), np.uint8)
    masks = np.zeros((num_frames, len(shapes), size, size), np.bool_)
    for t in range(num_frames):
        offset = size / 4 + drift * t / max(1, num_frames - 1)
        shift = np.array([[1.0, 0, -offset[0]], [0, 1, -offset[1]]])
        frame: Any = cv2.warpAffine(background, shift, (size, size), borderMode=cv2.BORDER_REFLECT)
        for n, shape in enumerate(shapes):
            frame, mask = _paint(frame, shape, t)
            masks[t, :n] &= ~mask
            masks[t, n] = mask
        frames[t] = frame
    return frames, masks


@lru_cache(maxsize=1)
def _newest_video(seed: int, video_index: int, config: SyntheticConfig) -> tuple[Pixels, Masks]:
    """`synthetic_video`; the newest is kept, because it is asked for frame by frame."""
    return synthetic_video(seed, video_index, config)


def _draw_shapes(rng: np.random.Generator, config: SyntheticConfig) -> list[_Shape]:
    """N shapes that start in different cells of a grid; most go towards another's start, so that paths cross."""
    size, count = config.size, config.num_objects
    per_side = max(2, math.ceil(math.sqrt(count)))
    cell = size / per_side
    cells = rng.permutation(per_side * per_side)[:count]
    starts = (np.column_stack([cells % per_side, cells // per_side]) + rng.uniform(0.4, 0.6, (count, 2))) * cell
    hue = rng.random()
    shapes = []
    for n in range(count):
        radius = cell * rng.uniform(0.28, 0.45)
        target = starts[(n + 1) % count] if count > 1 else rng.uniform(0.2, 0.8, 2) * size
        # Golden-ratio steps keep hues of one clip apart, however many there are.
        texture = _texture(rng, math.ceil(radius * 3), (hue + n * 0.618) % 1, saturation=0.8)
        steps = np.arange(config.num_frames)
        shapes.append(
            _Shape(
                outline=_outline(rng) * radius,
                texture=texture,
                positions=_path(rng, starts[n], target, config, radius, may_leave=n < count - 1 or count == 1),
                angles=np.asarray(rng.uniform(0, 2 * np.pi) + rng.uniform(-0.12, 0.12) * steps, np.float64),
                scales=1 + 0.12 * np.sin(rng.uniform(0.2, 0.6) * steps) * rng.choice([-1, 1]),
            )
        )
    return shapes


def _path(
    rng: np.random.Generator, start: Points, target: Points, config: SyntheticConfig, radius: float, may_leave: bool
) -> Points:
    """Positions [T, 2]: towards the target, or out of the frame and back."""
    size = config.size
    phase = np.arange(config.num_frames)[:, None] / max(1, config.num_frames - 1)
    if rng.random() < _LEAVE_PROBABILITY and may_leave:
        outward = start - size / 2
        outward = outward / max(1e-6, float(np.abs(outward).max()))
        distance = size / 2 + 1.6 * radius - float(np.abs(start - size / 2).max())
        return np.asarray(start + outward * distance * np.sin(np.pi * phase) ** 2, np.float64)
    reach = rng.uniform(0.5, 1.0)
    sway = rng.normal(0, 0.05 * size, 2) * np.sin(2 * np.pi * phase)
    return np.asarray(start + (target - start) * reach * phase + sway, np.float64)


def _outline(rng: np.random.Generator) -> Points:
    """A closed outline about the origin that reaches to about 1: an ellipse, a polygon or a blob."""
    kind = rng.integers(3)
    if kind == 1:
        corners = int(rng.integers(3, 7))
        turn = np.arange(corners) * 2 * np.pi / corners + rng.uniform(-0.2, 0.2, corners)
        distance = rng.uniform(0.8, 1.1, corners)
    else:
        turn = np.arange(_CORNERS) * 2 * np.pi / _CORNERS
        distance = np.ones(_CORNERS)
    if kind == 2:
        for wave in (2, 3, 5):
            distance = distance + rng.uniform(-0.16, 0.16) * np.cos(wave * turn + rng.uniform(0, 2 * np.pi))
    points = np.column_stack([np.cos(turn), np.sin(turn)]) * distance[:, None]
    if kind == 0:
        points[:, 1] *= rng.uniform(0.5, 0.9)
    return np.asarray(points, np.float64)


def _texture(rng: np.random.Generator, size: int, hue: float, saturation: float) -> Pixels:
    """[size, size, 3]: a cloud of two tones of one hue, with stripes, squares or dots over it."""
    tones = _rgb(np.array([hue, hue + rng.uniform(-0.08, 0.08)]), saturation, np.array([0.45, 0.95]))
    noise = cv2.resize(rng.random((6, 6)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    angle, period = rng.uniform(0, np.pi), size / rng.uniform(3, 7)
    u = (x * math.cos(angle) + y * math.sin(angle)) * 2 * np.pi / period
    v = (y * math.cos(angle) - x * math.sin(angle)) * 2 * np.pi / period
    pattern = [np.sin(u), np.sign(np.sin(u) * np.sin(v)), np.sin(u) * np.sin(v)][int(rng.integers(3))]
    mix = np.clip(0.25 + 0.5 * noise + 0.25 * pattern, 0, 1)[..., None]
    return np.asarray(tones[0] * (1 - mix) + tones[1] * mix, np.uint8)


def _rgb(hue: npt.NDArray[np.float64], saturation: float, value: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Colors [K, 3], 0 to 255, of K hues (in turns) and values."""
    hsv = np.stack([hue % 1 * 360, np.full(len(hue), saturation), value], axis=1).astype(np.float32)
    return np.asarray(cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] * 255, np.float32)


def _paint(frame: Pixels, shape: _Shape, t: int) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """The frame with the shape in it, and the pixels it covers by more than half."""
    size = frame.shape[0]
    pose = shape.pose(t)
    corners = shape.outline @ pose[:, :2].T + pose[:, 2]
    cover = np.zeros((size, size), np.uint8)
    fraction_bits = 4
    fixed = np.round(corners * 2**fraction_bits).astype(np.int32)
    cv2.fillPoly(cover, [fixed], 255, cv2.LINE_AA, fraction_bits)
    if not cover.any():
        return frame, cover > 127
    center = np.array([[1.0, 0, -shape.texture.shape[1] / 2], [0, 1, -shape.texture.shape[0] / 2], [0, 0, 1]])
    texture = cv2.warpAffine(shape.texture, pose @ center, (size, size), borderMode=cv2.BORDER_REFLECT)
    weight = cover[..., None].astype(np.float32) / 255
    return np.asarray(frame * (1 - weight) + texture * weight, np.uint8), cover > 127
