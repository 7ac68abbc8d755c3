"""One clip with its masks, before collation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


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
    """T files the frames came from ("" or () for generated clips)."""
    mask_paths: tuple[str, ...] = ()
    """T mask files or folders ("" where the frame has none, or () for generated clips)."""
    seed: int = 0
    """Of the positions of the clip's simulated clicks and boxes."""
    ignored_planes: npt.NDArray[np.uint8] | None = None
    """As mask_planes: pixels of which nothing is known for an object; None: there are none."""
    augmentation: dict[str, Any] = field(default_factory=dict)
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
        where = Path(self.image_paths[0]).parent if any(self.image_paths) else "generated"
        return f"{self.video_name} frames {self.frame_names[0]}..{self.frame_names[-1]} ({where})"

    def with_(self, **changes: Any) -> VideoSample:
        return replace(self, **changes)
