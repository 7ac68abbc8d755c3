"""Masks of objects from mask files, by the rules that say what their values mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam2_training.core.errors import DataError
from sam2_training.data.images import StoredMask
from sam2_training.data.label_facts import VideoLabels
from sam2_training.data.labels import ColorIds, LabelRules
from sam2_training.data.source import FrameLabels


class LabelReader:
    """Reads the mask files of indexed videos."""

    def __init__(self, rules: LabelRules) -> None:
        self.rules = rules

    def of_ids(self, path: str, object_ids: Sequence[int], facts: str, stored: StoredMask | None = None) -> FrameLabels:
        """The objects of a file that holds all of a frame. facts: `Video.labels`. Raises DataError.

        stored: what the file holds, if it is not a mask PNG.
        """
        by_color = self.rules.palette == "color"
        colors = ColorIds.of_rules(self.rules, VideoLabels.from_text(facts).colors if by_color else ())
        values, stored = self.rules.read(path, colors, stored)
        ids = self.rules.ids(values, stored, path)
        masks = np.empty((len(object_ids), *ids.shape), np.bool_)
        for mask, object_id in zip(masks, object_ids, strict=True):
            np.equal(ids, object_id, out=mask)
        ignored = self.rules.ignored(values)
        if ignored is None or not ignored.any():
            return FrameLabels(masks)
        return FrameLabels(masks, np.broadcast_to(ignored, masks.shape))

    def of_objects(self, paths: Sequence[str]) -> FrameLabels:
        """The objects of a frame's files, one each. Raises DataError, also if their sizes differ."""
        masks, ignored = [], []
        for path in paths:
            values, stored = self.rules.read(path, ColorIds.of_rules(self.rules))
            masks.append(self.rules.foreground(values, stored, path))
            ignored.append(self.rules.ignored(values))
            if masks[-1].shape != masks[0].shape:
                sizes = [f"{one.shape[0]}x{one.shape[1]}" for one in (masks[0], masks[-1])]
                raise DataError(
                    f"two masks of one frame have different sizes (height x width)\n"
                    f"  {sizes[0]} {paths[0]}\n  {sizes[1]} {path}\n"
                    "Resize them, or set dataset.on_bad_sample=skip to leave this clip out."
                )
        known = [one for one in ignored if one is not None]
        return FrameLabels(np.stack(masks), np.stack(known) if any(one.any() for one in known) else None)
