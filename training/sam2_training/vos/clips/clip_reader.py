"""A planned clip's frames and masks, read from its files and checked against the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.data.images import IdMask, id_areas, read_image, read_mask, size_mismatch
from sam2_training.data.index import VideoIndex
from sam2_training.data.table import UNLABELED, Video
from sam2_training.vos.clips.planes import OBJECTS_PER_PLANE
from sam2_training.vos.clips.sample import VideoSample
from sam2_training.vos.clips.sampler import ClipPlan


def read_clip(index: VideoIndex, video: Video, plan: ClipPlan) -> VideoSample:
    """The clip as stored, not yet augmented; a file that occurs twice is read once.

    Raises DataError for a damaged file, a mask of another size than its image, frames of different sizes, and a mask
    that has changed since the index was built.
    """
    reader = _Reader(index, video, tuple(video.object_ids.index(i) for i in plan.object_ids))
    frames = {t: reader.frame(t) for t in dict.fromkeys(plan.frame_indices)}
    first_index = plan.frame_indices[0]
    for t, (image, _) in frames.items():
        if image.shape != frames[first_index][0].shape:
            sizes = [f"{pixels.shape[0]}x{pixels.shape[1]}" for pixels in (frames[first_index][0], image)]
            raise DataError(
                f"two frames of one video have different sizes (height x width)\n"
                f"  {sizes[0]} {index.image_path(video, first_index)}\n  {sizes[1]} {index.image_path(video, t)}\n"
                "Resize them, or set dataset.on_bad_sample=skip to leave this clip out."
            )
    return VideoSample(
        frames=tuple(frames[t][0] for t in plan.frame_indices),
        mask_planes=np.stack([frames[t][1] for t in plan.frame_indices]),
        labeled=np.stack([video.areas[t, list(reader.columns)] != UNLABELED for t in plan.frame_indices]),
        object_ids=plan.object_ids,
        video_name=video.name,
        frame_names=tuple(PurePosixPath(video.frame_files[t]).stem for t in plan.frame_indices),
        image_paths=tuple(index.image_path(video, t) for t in plan.frame_indices),
        mask_paths=tuple(index.mask_source(video, t) for t in plan.frame_indices),
    )


@dataclass(frozen=True)
class _Reader:
    index: VideoIndex
    video: Video
    columns: tuple[int, ...]
    """The clip's objects, as positions in video.object_ids."""

    def frame(self, t: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Image [H, W, 3] and bit planes [P, H, W] of one frame."""
        image_path = self.index.image_path(self.video, t)
        image = read_image(image_path)
        planes = np.zeros((-(-len(self.columns) // OBJECTS_PER_PLANE), *image.shape[:2]), np.uint8)
        if any(self.video.object_folders):
            labeled = (n for n, column in enumerate(self.columns) if self.video.areas[t, column] != UNLABELED)
            sources = [(self.index.mask_path(self.video, t, self.columns[n]), [n]) for n in labeled]
        else:
            sources = [(self.index.mask_path(self.video, t), list(range(len(self.columns))))]
        for path, numbers in sources:
            if not path:
                continue
            mask = read_mask(path)
            if mask.shape != image.shape[:2]:
                raise size_mismatch(path, mask, image_path, image)
            self._add(planes, mask, numbers, t, path)
        return image, planes

    def _add(self, planes: npt.NDArray[np.uint8], mask: IdMask, numbers: Sequence[int], t: int, path: str) -> None:
        """Sets the bits of the clip's objects `numbers`, which the mask file at path holds."""
        counts = id_areas(mask)
        table = np.zeros((len(planes), len(counts)), np.uint8)  # which bits a stored value stands for
        for n in numbers:
            column = self.columns[n]
            bit = np.uint8(1 << n % OBJECTS_PER_PLANE)
            if self.video.object_folders[column]:  # the object's own file: any value but 0
                table[n // OBJECTS_PER_PLANE, 1:] = bit
                area = int(counts[1:].sum())
            else:
                object_id = self.video.object_ids[column]
                area = 0
                if object_id < len(counts):
                    table[n // OBJECTS_PER_PLANE, object_id] = bit
                    area = int(counts[object_id])
            self._check_area(column, t, area, path)
        for plane, bits in zip(planes, table, strict=True):
            if bits.any():
                plane |= cv2.LUT(mask, bits) if mask.dtype == np.uint8 else bits[mask]

    def _check_area(self, column: int, t: int, area: int, path: str) -> None:
        expected = int(self.video.areas[t, column])
        if area != expected:
            cure = f"Remove {self.index.cache_path} and start again." if self.index.cache_path else "Start again."
            raise DataError(
                f"the mask has changed since the dataset was indexed: object {self.video.object_ids[column]} has "
                f"{area} pixels, expected {expected}: {path}\n{cure}"
            )
