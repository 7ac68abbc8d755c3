"""Objects too small for the training size: how many a plain resize would lose."""

from __future__ import annotations

import numpy as np

from sam2_training.core.text import count
from sam2_training.data.index import VideoIndex
from sam2_training.data.table import VideoTable


def expected_losses(table: VideoTable, resolution: int) -> float:
    """How many of the masks would lose all their pixels in a nearest-neighbor resize to a square of `resolution`.

    An estimate from areas: a square object of side s pixels is hit in one direction with probability s * scale, at most
    1. Videos whose size is not known count as 0.
    """
    per_video = np.diff(table.area_ends, prepend=0)
    sizes = np.repeat(table.sizes, per_video, axis=0)  # (H, W) of each area
    seen = (table.areas > 0) & (sizes[:, 0] > 0)
    sides = np.sqrt(table.areas[seen].astype(np.float64))
    hit = np.minimum(1.0, sides[:, None] * resolution / sizes[seen]).prod(axis=1)
    return float((1 - hit).sum())


def small_objects_remark(index: VideoIndex, resolution: int) -> list[str]:
    """A line for the start banner if objects are too small for the training size."""
    if not isinstance(index.table, VideoTable):
        return []
    lost = round(expected_losses(index.table, resolution))
    if not lost:
        return []
    total = int((index.table.areas > 0).sum())
    return [
        f"check: about {lost:,} of {count(total, 'mask')} of an object vanish in a plain resize to {resolution} px "
        "(estimated from their areas). Each keeps a pixel, so it is not taught as absent; to learn its shape, raise "
        "scratch.resolution or crop the videos."
    ]
