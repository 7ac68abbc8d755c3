"""Small videos of a square that moves over noise, as folders of frames and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NUM_FRAMES = 4


def write_squares(root: Path, video: str, seed: int) -> None:
    """Writes root/images/<video> and root/masks/<video>."""
    images, masks = root / "images" / video, root / "masks" / video
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    noise = np.random.default_rng(seed)
    for t in range(NUM_FRAMES):
        ids = np.zeros((48, 64), np.uint8)
        ids[10:26, 8 + 4 * t : 28 + 4 * t] = 1
        pixels = noise.integers(0, 100, (48, 64, 3), np.uint8)
        pixels[ids == 1] += 120
        for folder, picture, suffix in ((images, pixels, "jpg"), (masks, ids, "png")):
            with (folder / f"{t:05d}.{suffix}").open("wb") as file:  # Pillow takes names in UTF-8 only
                Image.fromarray(picture).save(file, "JPEG" if suffix == "jpg" else "PNG")
