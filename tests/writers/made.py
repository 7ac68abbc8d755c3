"""Small annotated videos as a source, to be written and read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sam2_training.data.formats.annotated import AnnotatedSource, AnnotatedVideo, Region
from sam2_training.data.frames import FrameLibrary
from sam2_training.data.index import VideoIndex, build_index
from sam2_training.data.rle import encode

from tests.small_datasets import Folders

SIZE = (24, 32)


class Made(AnnotatedSource):
    """Videos whose masks [F, N, H, W] are given; what is not labeled [F, N], or ignored [F, H, W], too."""

    def __init__(
        self,
        folder: Path,
        masks: Mapping[str, np.ndarray],
        object_ids: Sequence[int] = (1, 2),
        labeled: np.ndarray | None = None,
        ignored: np.ndarray | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__()
        self.location = self.mask_location = str(folder)
        self.made, self.ids, self.labeled, self.ignored = masks, tuple(object_ids), labeled, ignored
        self.names = names or {}
        self.library = FrameLibrary(str(folder))

    def videos(self) -> list[str]:
        return sorted(self.made)

    def annotated(self, name: str) -> AnnotatedVideo:
        masks = self.made[name]
        labeled = np.ones(masks.shape[:2], np.bool_) if self.labeled is None else self.labeled

        def regions(t: int) -> list[Region]:
            found = [Region(n, encode(mask)) for n, mask in zip(self.ids, masks[t], strict=True) if mask.any()]
            return found if self.ignored is None else [*found, Region(0, encode(self.ignored[t]))]

        frames = self.library.of_video(name)
        return AnnotatedVideo(frames, self.ids, labeled, regions, SIZE, self.names)

    def annotation_path(self, name: str, frame_index: int) -> str:
        return f"{self.location}/{name}"

    def annotation_files(self, name: str) -> Sequence[str]:
        return []


def boxes(num_frames: int, overlap: bool) -> np.ndarray:
    """Two objects [F, 2, H, W] that move; the second absent in the last frame, with a hole and two parts."""
    masks = np.zeros((num_frames, 2, *SIZE), np.bool_)
    for t in range(num_frames):
        masks[t, 0, 2:10, 2 + t : 10 + t] = True
        if t < num_frames - 1:
            masks[t, 1, 12:22, 4:14] = True
            masks[t, 1, 15:18, 7:10] = False
            masks[t, 1, 12:14, 25:32] = True
            if overlap:
                masks[t, 1, 8:13, 2:12] = True
    return masks


def made_index(root: Path, masks: Mapping[str, np.ndarray], **more: object) -> VideoIndex:
    """The index of videos whose frames are written below root/images."""
    folders = Folders(root)
    for name, of_video in masks.items():
        for t in range(len(of_video)):
            folders.image(name, f"{t:05d}.png", np.full((*SIZE, 3), 20 * t + 9, np.uint8))
    return build_index(Made(folders.images, masks, **more))  # type: ignore[arg-type]
