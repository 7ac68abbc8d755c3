"""Pictures inside the page, as data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

BUDGET_BYTES = 5_000_000
"""For all pictures of a report, as base64 text: the whole page stays below 8 MB."""
MAX_WIDTH = 1600
"""Pixels; more is not visible on a screen."""
ATTEMPTS = ((88, 1.0), (78, 1.0), (70, 0.75), (60, 0.5))
"""(JPEG quality, scale), tried in order until all pictures fit the budget."""


def data_uris(
    pictures: Sequence[npt.NDArray[np.uint8]], budget_bytes: int = BUDGET_BYTES
) -> list[tuple[str, int, int] | None]:
    """For each RGB picture [H, W, 3] its (data URI, width, height), JPEG; None for those beyond the budget.

    All get the best quality with which they fit together; when even the smallest is too large, the first ones that
    fit are kept.
    """
    texts: list[tuple[str, int, int]] = []
    for quality, scale in ATTEMPTS:
        texts = [_data_uri(picture, quality, scale) for picture in pictures]
        if sum(len(text) for text, _, _ in texts) <= budget_bytes:
            break
    kept: list[tuple[str, int, int] | None] = []
    left = budget_bytes
    for entry in texts:
        left -= len(entry[0])
        kept.append(entry if left >= 0 else None)
    return kept


def _data_uri(picture: npt.NDArray[np.uint8], quality: int, scale: float) -> tuple[str, int, int]:
    image = Image.fromarray(picture)
    scale *= min(1.0, MAX_WIDTH / image.width)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    content = io.BytesIO()
    # Color at full resolution: outlines are one pixel wide, and their color is what matters.
    # Not optimize=True: Pillow's encoder fails with it on noisy pictures.
    image.save(content, "JPEG", quality=quality, subsampling=0)
    text = base64.b64encode(content.getvalue()).decode("ascii")
    return f"data:image/jpeg;base64,{text}", image.width, image.height
