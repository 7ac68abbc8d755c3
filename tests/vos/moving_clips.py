"""Small clips of moving rectangles on noise, for tests of the network and of its loss."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from sam2_training.vos.batch import BatchInfo, VideoBatch

SIZE = 64
"""Side of the frames, pixels: the smallest that sam2_configs/architecture/tiny.yaml takes."""


def make_batch(
    num_frames: int,
    objects_per_clip: tuple[int, ...] = (2,),
    absent: Iterable[tuple[int, int]] = (),
    unlabeled: Iterable[tuple[int, int]] = (),
    seed: int = 0,
    size: int = SIZE,
) -> VideoBatch:
    """A batch of clips; absent and unlabeled: (frame, object) pairs, objects counted over the whole batch."""
    generator = torch.Generator().manual_seed(seed)
    num_clips, num_objects = len(objects_per_clip), sum(objects_per_clip)
    frames = torch.randint(0, 256, (num_clips, num_frames, size, size, 3), dtype=torch.uint8, generator=generator)
    object_clip = torch.tensor([b for b, count in enumerate(objects_per_clip) for _ in range(count)])
    object_bit = torch.tensor([n for count in objects_per_clip for n in range(count)])
    planes = torch.zeros(num_clips, num_frames, 1, size, size, dtype=torch.uint8)
    labeled = torch.ones(num_frames, num_objects, dtype=torch.bool)
    for o, (b, n) in enumerate(zip(object_clip.tolist(), object_bit.tolist(), strict=True)):
        for t in range(num_frames):
            top, left = 5 + 7 * n + 3 * t + seed % 5, 8 + 9 * n + 2 * t + 3 * b
            if (t, o) not in set(absent):
                planes[b, t, 0, top : top + 20, left : left + 17] |= 1 << n
    for t, o in unlabeled:
        labeled[t, o] = False
    info = BatchInfo(sources=("generated",) * num_clips, loss_weight=num_objects)
    return VideoBatch(
        frames=frames,
        mask_planes=planes,
        labeled=labeled,
        object_clip=object_clip,
        object_bit=object_bit,
        object_ids=torch.arange(1, num_objects + 1),
        info=info,
        batch_size=[],
    )
