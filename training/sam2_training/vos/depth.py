"""How deep pixels lie in a region: where a user clicks."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def depth(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Distance of each pixel to the border of a region [H, W], pixels; the image's edge is a border; 0 outside."""
    padded = np.pad(region.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance[1:-1, 1:-1], np.float32)
