"""Masks as label stacks, <video>.tif, that `dataset.dataset_type=stack` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from sam2_training.core.files import replacing
from sam2_training.core.outputs import below
from sam2_training.pictures.mask_png import IdMap
from sam2_training.writers.writer import MaskWriter, WrittenFrame, WrittenVideo


class Writer(MaskWriter):
    """One page a frame, deflate, 8 bits for ids to 255, else 16. A frame without labels is an empty page."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._stack: tifffile.TiffWriter
        self._pages = 0

    def files(self, videos: Sequence[WrittenVideo]) -> list[str]:
        return [_document(video) for video in videos]

    def begin(self, video: WrittenVideo) -> None:
        super().begin(video)
        path = self.open_files.enter_context(replacing(below(self.folder, _document(video))))
        self._stack = self.open_files.enter_context(tifffile.TiffWriter(path, bigtiff=True))
        self._pages = 0

    def write(self, frame: WrittenFrame) -> None:
        self._skip_to(frame.index)
        self._add(self.ids_of(frame))
        self.count_partly_labeled(frame)
        self.count_ignored(frame)

    def end(self) -> None:
        self._skip_to(len(self.video.frame_files))
        self.losses["names of objects"] += len(self.video.object_names)
        self.open_files.close()

    def _skip_to(self, frame_index: int) -> None:
        while self._pages < frame_index:
            self.losses["frames without labels, written as empty"] += 1
            self._add(np.zeros(self.video.size, np.uint16))

    def _add(self, ids: IdMap) -> None:
        narrow = max(self.video.object_ids, default=0) <= np.iinfo(np.uint8).max
        page = ids.astype(np.uint8 if narrow else np.uint16)
        # Without metadata of its own: otherwise each page would be an image apart.
        self._stack.write(page, photometric="minisblack", compression="zlib", metadata=None)
        self._pages += 1


def _document(video: WrittenVideo) -> str:
    return f"{video.name}.tif"
