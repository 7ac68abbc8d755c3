"""The small video that several commands are tried on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NUM_FRAMES = 8
"""Of the video."""


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A folder with images/v and masks/v/1: a square that stands still."""
    frame, mask = np.full((48, 64, 3), 90, np.uint8), np.zeros((48, 64), np.uint8)
    frame[8:28, 8:28], mask[8:28, 8:28] = 200, 1
    for kind, pixels, suffix in (("images/v", frame, "jpg"), ("masks/v/1", mask, "png")):
        (tmp_path / kind).mkdir(parents=True)
        for t in range(NUM_FRAMES):
            Image.fromarray(pixels).save(tmp_path / kind / f"{t:05d}.{suffix}")
    return tmp_path
