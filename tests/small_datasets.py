"""Small datasets on disk, one video at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from sam2_training.vos.clips.config import AffineConfig, ColorJitterConfig, TrainingSetConfig, TransformsConfig
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.config import ModelConfig

NO_JITTER = ColorJitterConfig()
RESIZE_ONLY = TransformsConfig(
    horizontal_flip_prob=0,
    affine=AffineConfig(degrees=0, shear=0),
    clip_jitter=NO_JITTER,
    grayscale_prob=0,
    frame_jitter=NO_JITTER,
)
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [77] * (252 * 3)


class Folders:
    """A dataset folder under construction."""

    def __init__(self, root: Path) -> None:
        self.images, self.masks = root / "images", root / "masks"
        self.images.mkdir()
        self.masks.mkdir()

    def image(self, video: str, name: str, pixels: np.ndarray | None = None, **size: int) -> Path:
        """Writes a frame; without pixels a random one of height x width (default 24 x 32)."""
        path = self.images / video / name
        path.parent.mkdir(exist_ok=True)
        if pixels is None:
            shape = (size.get("height", 24), size.get("width", 32), 3)
            pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        assert cv2.imwrite(str(path), pixels[..., ::-1])
        return path

    def mask(self, video: str, name: str, ids: np.ndarray, mode: str = "P") -> Path:
        """Writes a mask of ids [H, W] as a palette ("P"), 8-bit ("L"), 1-bit ("1") or 16-bit ("I;16") PNG."""
        path = self.masks / video / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if mode == "I;16":
            assert cv2.imwrite(str(path), ids.astype(np.uint16))
            return path
        image = Image.fromarray(ids.astype(bool)) if mode == "1" else Image.fromarray(ids.astype(np.uint8))
        if mode == "P":
            image.putpalette(PALETTE)
        image.save(path)
        return path

    def video(self, name: str, ids_per_frame: list[list[int] | None], suffix: str = ".png") -> None:
        """A video with one frame per entry: the ids its mask shows, or None for no mask."""
        for t, ids in enumerate(ids_per_frame):
            self.image(name, f"{t:05d}{suffix}")
            if ids is not None:
                self.mask(name, f"{t:05d}.png", squares(ids))

    def config(self, **changes: Any) -> TrainingSetConfig:
        return replace(TrainingSetConfig(img_folder=str(self.images), gt_folder=str(self.masks)), **changes)

    def train_config(self, num_frames: int = 2, resolution: int = 32, **changes: Any) -> VosConfig:
        dataset = self.config(num_frames=num_frames, **changes)
        return VosConfig(model=ModelConfig(image_size=resolution), dataset=dataset, transforms=RESIZE_ONLY)


def squares(ids: list[int], height: int = 24, width: int = 32) -> np.ndarray:
    """Ids as 6 x 6 squares side by side in a mask [H, W]."""
    mask = np.zeros((height, width), np.uint16)
    for n, object_id in enumerate(ids):
        mask[4 + 7 * (n // 4) : 10 + 7 * (n // 4), 2 + 7 * (n % 4) : 8 + 7 * (n % 4)] = object_id
    return mask


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def make_squares() -> Callable[..., np.ndarray]:
    return squares


@pytest.fixture
def resize_only() -> TransformsConfig:
    return RESIZE_ONLY
