"""Masks as polygons, for tests of formats that have no others, and how well polygons hold them."""

from __future__ import annotations

import cv2
import numpy as np
from sam2_training.data.index import VideoIndex
from sam2_training.data.source import UNLABELED

from tests.data.formats.real_videos import Ids


def outlines(mask: np.ndarray, scale: int = 8) -> list[list[tuple[float, float]]]:
    """Outer outlines (x, y in pixels) of a mask's parts, along the edges of its pixels."""
    large = np.kron(mask.astype(np.uint8), np.ones((scale, scale), np.uint8))
    found, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = [[((x + 0.5) / scale, (y + 0.5) / scale) for x, y in contour[:, 0].tolist()] for contour in found]
    return [polygon for polygon in polygons if len(polygon) >= 3]


def smallest_iou(index: VideoIndex, number: int, ids: Ids, new_ids: dict[int, int]) -> float:
    """The smallest IoU of a mask with the pixels of its id; what is absent, and unlabeled, must be the same.

    new_ids: {value in ids: object id as read}.
    """
    video = index.video(number)
    assert sorted(video.object_ids) == sorted(new_ids.values())
    smallest = 1.0
    for t in range(video.num_frames):
        if t not in ids:
            assert (video.areas[t] == UNLABELED).all(), t
            continue
        found = index.masks(video, t, list(new_ids.values()), ids[t].shape)
        for value, mask in zip(new_ids, found, strict=True):
            expected = ids[t] == value
            assert mask.any() == expected.any(), (t, value)
            if expected.any():
                smallest = min(smallest, float((mask & expected).sum() / (mask | expected).sum()))
    return smallest
