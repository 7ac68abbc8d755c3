"""The types that cross a border between two parts of the project."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

OBJECTS_PER_PLANE = 8
"""Objects in one uint8 bit plane."""


@dataclass(frozen=True)
class SampleKey:
    """Which sample stands at which place of the run: everything that its content depends on, besides the seed."""

    epoch: int
    position: int
    """Place in this epoch's order; (epoch, position) seeds the sample's own generator."""
    index: int
    """Index of the sample in the dataset, 0 <= index < len(dataset)."""


@dataclass(frozen=True)
class VideoSample:
    """One clip of T frames with N objects, before collation.

    Transforms return a new sample (`replace`); arrays of a sample are never written to in place by others.
    """

    frames: tuple[npt.NDArray[np.uint8], ...]
    """T arrays [H, W, 3], RGB, all of one size."""
    mask_planes: npt.NDArray[np.uint8]
    """[T, P, H, W] with P = ceil(N / 8): object n is bit n % 8 of plane n // 8. Objects may overlap."""
    labeled: npt.NDArray[np.bool_]
    """[T, N]: whether a mask exists for that object in that frame. Labeled with no pixel means absent."""
    object_ids: tuple[int, ...]
    """N ids, as in the annotation."""
    video_name: str
    frame_names: tuple[str, ...]
    """T frame names (file stems), in clip order."""
    image_paths: tuple[str, ...] = ()
    """T files the frames came from (empty for generated clips)."""
    mask_paths: tuple[str, ...] = ()
    """T mask files or folders ("" where the frame has none; empty for generated clips)."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the transforms drew, by name: for tests and for reports."""

    @property
    def num_frames(self) -> int:
        return len(self.frames)

    @property
    def num_objects(self) -> int:
        return len(self.object_ids)

    @property
    def source(self) -> str:
        """One line that leads a reader to the files of this clip."""
        where = Path(self.image_paths[0]).parent if self.image_paths else "generated"
        return f"{self.video_name} frames {self.frame_names[0]}..{self.frame_names[-1]} ({where})"

    def with_(self, **changes: Any) -> VideoSample:
        return replace(self, **changes)


def pack_planes(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Bit planes [ceil(N / 8), H, W] uint8 of boolean masks [N, H, W]; inverse of `unpack_planes`."""
    num_objects, height, width = masks.shape
    num_planes = max(1, -(-num_objects // OBJECTS_PER_PLANE))
    planes = np.zeros((num_planes, height, width), np.uint8)
    for n in range(num_objects):
        planes[n // OBJECTS_PER_PLANE] |= masks[n].astype(np.uint8) << np.uint8(n % OBJECTS_PER_PLANE)
    return planes


def unpack_planes(planes: npt.NDArray[np.uint8], num_objects: int) -> npt.NDArray[np.bool_]:
    """Boolean masks [N, H, W] of bit planes [P, H, W]; inverse of `pack_planes`."""
    return np.stack(
        [(planes[n // OBJECTS_PER_PLANE] >> np.uint8(n % OBJECTS_PER_PLANE)) & 1 for n in range(num_objects)]
    ).astype(bool)
