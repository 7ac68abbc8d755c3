"""Small objects: how many a plain resize to the training size would lose, and whether the loss feels them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sam2_training.core.text import count
from sam2_training.data.index import VideoIndex
from sam2_training.data.table import VideoTable
from sam2_training.vos.loss_config import LossConfig

SMALL_SHARE = 0.005
"""Of the frame: below this median area the banner suggests a heavier Dice loss."""
HEAVY_DICE = 4
"""The Dice loss is heavy where the focal loss weighs at most this many times as much."""


def expected_losses(table: VideoTable, resolution: int) -> float:
    """How many of the masks would lose all their pixels in a nearest-neighbor resize to a square of `resolution`.

    An estimate from areas: a square object of side s pixels is hit in one direction with probability s * scale, at most
    1. Videos whose size is not known count as 0.
    """
    areas, sizes = _seen(table)
    hit = np.minimum(1.0, np.sqrt(areas)[:, None] * resolution / sizes).prod(axis=1)
    return float((1 - hit).sum())


def median_share(table: VideoTable) -> float | None:
    """The median area of an object where it is seen, as a fraction of its frame; None if no size is known."""
    areas, sizes = _seen(table)
    return float(np.median(areas / sizes.prod(axis=1))) if len(areas) else None


def dice_remark(index: VideoIndex, loss: LossConfig) -> list[str]:
    """A line for the start banner if objects are so small that a heavier Dice loss is worth a try.

    The focal loss is a mean over the frame, in which a small object is hardly felt; Dice is relative to the object.
    """
    is_focal = loss.type == "sam2"
    if not isinstance(index.table, VideoTable) or not is_focal or loss.loss_dice * HEAVY_DICE > loss.loss_mask:
        return []
    share = median_share(index.table)
    if share is None or share >= SMALL_SHARE:
        return []
    return [
        f"hint: the median object covers {share:.2%} of its frame. With loss.loss_dice={loss.loss_dice:g} beside "
        f"loss.loss_mask={loss.loss_mask:g} such objects weigh little; try a heavier one, such as "
        f"loss.loss_dice={loss.loss_mask / 2:g}"
    ]


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


def _seen(table: VideoTable) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """(areas [K], (H, W) of their frames [K, 2]) of the masks that have a pixel, in videos whose size is known."""
    sizes = np.repeat(table.sizes, np.diff(table.area_ends, prepend=0), axis=0)
    seen = (table.areas > 0) & (sizes[:, 0] > 0)
    return table.areas[seen].astype(np.float64), sizes[seen]
