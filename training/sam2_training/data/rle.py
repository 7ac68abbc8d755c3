"""Masks as COCO run-length encodings: small in memory, and readable by every COCO tool on disk."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask


def encode_masks(masks: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """One compressed RLE per mask of [N, H, W]: {"size": [H, W], "counts": text}, ready for JSON."""
    # COCO runs go down the columns, so pycocotools wants the pixels in that order.
    encoded = coco_mask.encode(np.asfortranarray(masks.astype(np.uint8).transpose(1, 2, 0)))
    return [{"size": list(one["size"]), "counts": one["counts"].decode("ascii")} for one in encoded]


def decode_masks(encoded: list[dict[str, Any]]) -> npt.NDArray[np.bool_]:
    """Masks [N, H, W]; the inverse of `encode_masks`. Raises ValueError for an empty list, which has no size."""
    if not encoded:
        raise ValueError("no masks to decode: an empty list has no height and width")
    decoded: npt.NDArray[np.uint8] = coco_mask.decode(encoded)
    return decoded.transpose(2, 0, 1).astype(bool)
