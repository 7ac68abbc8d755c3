"""Masks of several objects as bit planes: eight objects a byte, overlaps allowed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

OBJECTS_PER_PLANE = 8
"""Objects in one uint8 bit plane."""


def pack_planes(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Bit planes [ceil(N / 8), H, W] uint8 of boolean masks [N, H, W]; inverse of `unpack_planes`."""
    num_objects, height, width = masks.shape
    num_planes = max(1, -(-num_objects // OBJECTS_PER_PLANE))
    planes = np.zeros((num_planes, height, width), np.uint8)
    for n in range(num_objects):
        planes[n // OBJECTS_PER_PLANE] |= masks[n].view(np.uint8) << np.uint8(n % OBJECTS_PER_PLANE)
    return planes


def unpack_planes(planes: npt.NDArray[np.uint8], num_objects: int) -> npt.NDArray[np.bool_]:
    """Boolean masks [N, H, W] of bit planes [P, H, W]; inverse of `pack_planes`."""
    return np.stack(
        [(planes[n // OBJECTS_PER_PLANE] >> np.uint8(n % OBJECTS_PER_PLANE)) & 1 for n in range(num_objects)]
    ).astype(bool)
