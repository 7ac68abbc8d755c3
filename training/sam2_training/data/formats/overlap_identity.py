"""Which regions of neighboring frames are one object, where a format does not say it: by overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from sam2_training.data.rle import Size


@dataclass(frozen=True)
class Links:
    """Objects found by overlap."""

    objects: tuple[tuple[int, ...], ...]
    """Per frame the object of each region: 1, 2, 3 ... in the order in which they appear."""
    number: int
    """Objects."""
    links: int
    """Regions that go on in the next frame."""
    ambiguous: int
    """Links whose region had enough overlap with several."""


def link_by_overlap(
    frames: Sequence[Sequence[bytes]], classes: Sequence[Sequence[int]], size: Size, threshold: float
) -> Links:
    """The objects of regions, encoded as in `rle`, in frames one after the other.

    Regions of one class in neighboring frames are linked, the pair of the largest IoU first, each region to at most one
    before and one after it; pairs below the threshold are not. A region that is not linked to one before begins an
    object, so an object that is gone for a frame comes back as another.
    """
    objects: list[tuple[int, ...]] = []
    number = links = ambiguous = 0
    for t, regions in enumerate(frames):
        found = [0] * len(regions)
        if t and regions and frames[t - 1]:
            overlap = np.asarray(coco_mask.iou(_coco(frames[t - 1], size), _coco(regions, size), [0] * len(regions)))
            same_class = np.array(classes[t - 1])[:, None] == np.array(classes[t])[None]
            candidate = (overlap >= threshold) & (overlap > 0) & same_class
            open_before, open_now = set(range(len(frames[t - 1]))), set(range(len(regions)))
            pairs = sorted(zip(*np.nonzero(candidate), strict=True), key=lambda pair: (-overlap[pair], pair))
            for before, now in pairs:
                if before in open_before and now in open_now:
                    open_before.remove(before)
                    open_now.remove(now)
                    found[now] = objects[t - 1][before]
                    links += 1
                    ambiguous += bool(candidate[before].sum() > 1 or candidate[:, now].sum() > 1)
        for place, known in enumerate(found):
            if not known:
                number += 1
                found[place] = number
        objects.append(tuple(found))
    return Links(tuple(objects), number, links, ambiguous)


def _coco(regions: Sequence[bytes], size: Size) -> list[dict[str, object]]:
    return [{"size": list(size), "counts": counts} for counts in regions]
