"""From single clips to a batch of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sam2_training.vos.batch import BatchInfo, ClipFacts, VideoBatch
from sam2_training.vos.clips.geometry import present
from sam2_training.vos.clips.sample import VideoSample


@dataclass(frozen=True)
class BadSample:
    """A clip that is left out of its batch (dataset.on_bad_sample=skip)."""

    message: str
    """The DataError's text."""


def collate_clips(samples: Sequence[VideoSample | BadSample], num_frames: int, resolution: int) -> VideoBatch:
    """The batch of all clips but the bad ones, whose messages it carries in `info.bad_samples`.

    If every clip is bad, the batch is one black clip [1, T, R, R, 3] with one object that is labeled nowhere and a
    loss_weight of 0: the step has no effect, but ranks stay in step.
    """
    clips = [sample for sample in samples if isinstance(sample, VideoSample)]
    bad = tuple(sample.message for sample in samples if isinstance(sample, BadSample))
    if not clips:
        return _blank(bad, num_frames, resolution)
    num_planes = max(clip.mask_planes.shape[1] for clip in clips)
    planes = np.zeros((len(clips), num_frames, num_planes, resolution, resolution), np.uint8)
    ignored = np.zeros_like(planes) if any(clip.ignored_planes is not None for clip in clips) else None
    for number, clip in enumerate(clips):
        own = slice(clip.mask_planes.shape[1])
        planes[number, :, own] = clip.mask_planes
        if ignored is not None and clip.ignored_planes is not None:
            ignored[number, :, own] = clip.ignored_planes
    counts = [clip.num_objects for clip in clips]
    labeled = np.concatenate([clip.labeled for clip in clips], axis=1)
    info = BatchInfo(
        sources=tuple(clip.source for clip in clips),
        bad_samples=bad,
        loss_weight=sum(counts),
        clips=tuple(_facts(clip) for clip in clips),
    )
    return VideoBatch(
        frames=torch.from_numpy(np.stack([np.stack(clip.frames) for clip in clips])),
        mask_planes=torch.from_numpy(planes),
        labeled=torch.from_numpy(labeled),
        object_clip=torch.arange(len(clips)).repeat_interleave(torch.tensor(counts)),
        object_bit=torch.cat([torch.arange(count) for count in counts]),
        object_ids=torch.tensor([i for clip in clips for i in clip.object_ids], dtype=torch.int64),
        info=info,
        ignored_planes=None if ignored is None else torch.from_numpy(ignored),
        batch_size=[],
    )


def _facts(clip: VideoSample) -> ClipFacts:
    shown = [len(present(plane, clip.num_objects)) == clip.num_objects for plane in clip.mask_planes]
    promptable = tuple(bool(labels.all()) and seen for labels, seen in zip(clip.labeled, shown, strict=True))
    return ClipFacts(clip.seed, clip.num_objects, promptable, tuple(bool(labels.any()) for labels in clip.labeled))


def _blank(bad: tuple[str, ...], num_frames: int, resolution: int) -> VideoBatch:
    return VideoBatch(
        frames=torch.zeros((1, num_frames, resolution, resolution, 3), dtype=torch.uint8),
        mask_planes=torch.zeros((1, num_frames, 1, resolution, resolution), dtype=torch.uint8),
        labeled=torch.zeros((num_frames, 1), dtype=torch.bool),
        object_clip=torch.zeros(1, dtype=torch.int64),
        object_bit=torch.zeros(1, dtype=torch.int64),
        object_ids=torch.zeros(1, dtype=torch.int64),
        info=BatchInfo(
            sources=("blank clip: every sample of this batch was left out",),
            bad_samples=bad,
            loss_weight=0,
            clips=(ClipFacts(0, 1, (False,) * num_frames, (False,) * num_frames),),
        ),
        batch_size=[],
    )
