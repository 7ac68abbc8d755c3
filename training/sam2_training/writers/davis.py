"""Masks as PNGs in the folder layout that `dataset.dataset_type=video` reads: masks/<video>/<frame>.png."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sam2_training.core.outputs import below
from sam2_training.pictures.mask_png import IdMap, write_id_png
from sam2_training.writers.writer import Bool, MaskWriter, WrittenFrame, WrittenVideo

MASKS = "masks"
IGNORED, IGNORED_WIDE = 255, 65535
"""Values of pixels of which nothing is known, in files of 8 and of 16 bits."""


class Writer(MaskWriter):
    """One file a frame; with `WrittenVideo.separate`, one file a frame and object: masks/<video>/<id>/<frame>.png."""

    def __init__(self, folder: Path, in_folders: bool = True) -> None:
        """in_folders: each video has a folder of its own below masks/; else it is the only one."""
        super().__init__(folder)
        self.in_folders = in_folders
        self.ignored_values: set[int] = set()
        """For dataset.ignore_ids."""

    def files(self, videos: Sequence[WrittenVideo]) -> list[str]:
        found = []
        for video in videos:
            folders = [f"{object_id}/" for object_id in video.object_ids] if video.separate else [""]
            base = f"{MASKS}/{video.name}/" if self.in_folders else f"{MASKS}/"
            found += [f"{base}{folder}{name}.png" for folder in folders for name in video.frame_names]
        return found

    def write(self, frame: WrittenFrame) -> None:
        if not self.video.separate:
            self._write(frame, self.ids_of(frame), max(self.video.object_ids, default=0), frame.ignored_for_any)
            return
        for number, object_id in enumerate(self.video.object_ids):
            if frame.is_labeled(number):
                ignored = None if frame.ignored is None else frame.ignored[number]
                self._write(frame, frame.masks[number].astype(np.uint16), 1, ignored, str(object_id))

    def end(self) -> None:
        self.losses["names of objects"] += len(self.video.object_names)

    def _write(self, frame: WrittenFrame, ids: IdMap, largest: int, ignored: Bool | None, *folder: str) -> None:
        if ignored is not None and ignored.any():
            value = IGNORED if largest < IGNORED else IGNORED_WIDE
            ids, largest = np.where(ignored, np.uint16(value), ids), max(largest, value)
            self.ignored_values.add(value)
        base = [MASKS, self.video.name] if self.in_folders else [MASKS]
        write_id_png(below(self.folder, *base, *folder, f"{self.video.frame_names[frame.index]}.png"), ids, largest)
