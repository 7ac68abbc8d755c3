"""A planned clip's frames and masks, read from its video."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.data.index import VideoIndex
from sam2_training.data.source import UNLABELED, Frame, Video
from sam2_training.vos.clips.planes import pack_planes
from sam2_training.vos.clips.sample import VideoSample
from sam2_training.vos.clips.sampler import ClipPlan


def read_clip(index: VideoIndex, video: Video, plan: ClipPlan) -> VideoSample:
    """The clip as stored, not yet augmented; a frame that occurs twice is read once.

    Raises DataError for a damaged file, frames of different sizes, and what `VideoIndex.masks` refuses.
    """
    columns = [video.object_ids.index(object_id) for object_id in plan.object_ids]
    frames: dict[int, Frame] = {}
    planes, ignored = {}, {}
    for t, is_used in dict(zip(plan.frame_indices, plan.labels_used, strict=True)).items():
        frames[t] = index.frame(video, t)
        size = (frames[t].shape[0], frames[t].shape[1])
        if not is_used:
            planes[t] = pack_planes(np.zeros((len(plan.object_ids), *size), np.bool_))
            continue
        labels = index.labels(video, t, plan.object_ids, size)
        planes[t] = pack_planes(labels.masks)
        if labels.ignored is not None:
            ignored[t] = pack_planes(labels.ignored)
    _check_sizes(index, video, frames)
    has_label = video.areas[np.ix_(plan.frame_indices, columns)] != UNLABELED
    files = [index.source.where(video, t) for t in plan.frame_indices]
    return VideoSample(
        frames=tuple(frames[t] for t in plan.frame_indices),
        mask_planes=np.stack([planes[t] for t in plan.frame_indices]),
        labeled=np.asarray(has_label & np.array(plan.labels_used)[:, None], np.bool_),
        object_ids=plan.object_ids,
        video_name=video.name,
        frame_names=tuple(video.frame_name(t) for t in plan.frame_indices),
        image_paths=tuple(file.image for file in files),
        mask_paths=tuple(file.mask for file in files),
        ignored_planes=_of_all_frames(ignored, planes, plan) if ignored else None,
    )


def _of_all_frames(
    ignored: dict[int, npt.NDArray[np.uint8]], planes: dict[int, npt.NDArray[np.uint8]], plan: ClipPlan
) -> npt.NDArray[np.uint8]:
    return np.stack([ignored.get(t, np.zeros_like(planes[t])) for t in plan.frame_indices])


def _check_sizes(index: VideoIndex, video: Video, frames: dict[int, Frame]) -> None:
    first_index, first = next(iter(frames.items()))
    for t, frame in frames.items():
        if frame.shape != first.shape:
            sizes = [f"{pixels.shape[0]}x{pixels.shape[1]}" for pixels in (first, frame)]
            paths = [index.source.where(video, place).image for place in (first_index, t)]
            raise DataError(
                f"two frames of one video have different sizes (height x width)\n"
                f"  {sizes[0]} {paths[0]}\n  {sizes[1]} {paths[1]}\n"
                "Resize them, or set dataset.on_bad_sample=skip to leave this clip out."
            )
