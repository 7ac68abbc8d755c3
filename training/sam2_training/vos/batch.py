"""Types shared by data, network and loss: a batch of clips, and the network's output for one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from tensordict import TensorClass
from torch import Tensor

from sam2_training.engine.task import BatchInfo as SampleBatchInfo
from sam2_training.vos.clips.planes import OBJECTS_PER_PLANE


@dataclass(frozen=True)
class ClipFacts:
    """What of one clip is known without asking the device."""

    seed: int
    """Of the positions of its simulated clicks and boxes: the clip's own, so that they do not depend on its batch."""
    num_objects: int
    promptable: tuple[bool, ...]
    """Per frame: every object is labeled and visible, so that each can be prompted there."""
    labeled_frames: tuple[bool, ...]
    """Per frame: at least one object is labeled."""


@dataclass(frozen=True)
class BatchInfo(SampleBatchInfo):
    """The part of a batch that stays on the CPU. The loss is divided by its objects: `loss_weight` is O, or 0 for the
    blank clip that stands for an all-bad batch."""

    clips: tuple[ClipFacts, ...] = ()
    """One a clip. Empty: not known on the CPU (see `VideoBatch.clip_facts`)."""


class VideoBatch(TensorClass):
    """B clips of T frames with O objects in all, still uint8: bytes are normalized and bits split on the device."""

    frames: Tensor
    """uint8 [B, T, H, W, 3], RGB."""
    mask_planes: Tensor
    """uint8 [B, T, P, H, W]: object n of a clip is bit n % 8 of plane n // 8."""
    labeled: Tensor
    """bool [T, O]: whether the object is labeled in the frame; unlabeled ones carry no loss."""
    object_clip: Tensor
    """int64 [O]: the clip each object belongs to; ascending."""
    object_bit: Tensor
    """int64 [O]: the object's number n within its clip."""
    object_ids: Tensor
    """int64 [O]: the object's id in the annotation."""
    info: BatchInfo
    """Metadata that stays on the CPU."""
    ignored_planes: Tensor | None = None
    """As mask_planes: pixels that take no part in an object's losses and clicks; None: all take part."""

    @property
    def num_frames(self) -> int:
        return int(self.frames.shape[1])

    @property
    def num_objects(self) -> int:
        return int(self.object_clip.shape[0])

    def masks(self, frame_index: int) -> Tensor:
        """The ground-truth masks of all objects in one frame, bool [O, H, W]."""
        return self._split(self.mask_planes, frame_index)

    def ignored(self, frame_index: int) -> Tensor | None:
        """Pixels of one frame that take no part, bool [O, H, W], none of them in a mask; None: all take part."""
        if self.ignored_planes is None:
            return None
        return self._split(self.ignored_planes, frame_index) & ~self.masks(frame_index)

    def _split(self, planes: Tensor, frame_index: int) -> Tensor:
        plane = planes[self.object_clip, frame_index, self.object_bit // OBJECTS_PER_PLANE]  # [O, H, W]
        shift = (self.object_bit % OBJECTS_PER_PLANE).to(torch.uint8)
        return (plane >> shift[:, None, None]) & 1 == 1

    def clip_facts(self) -> tuple[ClipFacts, ...]:
        """`BatchInfo.clips`, or the same read from the tensors (waits for a GPU), with a clip's number as its seed."""
        if self.info.clips:
            return self.info.clips
        shown = torch.stack([self.masks(t).flatten(1).any(1) for t in range(self.num_frames)]) & self.labeled  # [T, O]
        facts = []
        for number in range(self.frames.shape[0]):
            own = self.object_clip == number
            promptable, labeled = shown[:, own].all(1).tolist(), self.labeled[:, own].any(1).tolist()
            facts.append(ClipFacts(number, int(own.sum()), tuple(promptable), tuple(labeled)))
        return tuple(facts)

    def part(self, clips: Sequence[int]) -> VideoBatch:
        """A batch of some of the clips, by number, in ascending order."""
        facts = self.clip_facts()
        first = list(accumulate((one.num_objects for one in facts), initial=0))
        device = self.labeled.device
        objects = torch.tensor([o for n in clips for o in range(first[n], first[n + 1])], device=device)
        rows = torch.tensor(list(clips), device=device)
        owner = [row for row, n in enumerate(clips) for _ in range(facts[n].num_objects)]
        return VideoBatch(
            frames=self.frames[rows],
            mask_planes=self.mask_planes[rows],
            labeled=self.labeled[:, objects],
            object_clip=torch.tensor(owner, device=device),
            object_bit=self.object_bit[objects],
            object_ids=self.object_ids[objects],
            info=replace(self.info, clips=tuple(facts[n] for n in clips), loss_weight=len(owner)),
            ignored_planes=None if self.ignored_planes is None else self.ignored_planes[rows],
            batch_size=[],
        )

    def normalized_frames(self, mean: Tensor, std: Tensor) -> Tensor:
        """Network input float32 [B * T, 3, H, W], clip by clip; mean and std: [3], for values between 0 and 1."""
        pixels = self.frames.flatten(0, 1).permute(0, 3, 1, 2).float()
        scale = 1.0 / (255.0 * std)
        return pixels * scale[:, None, None] - (mean / std)[:, None, None]


@dataclass
class PredictionStep:
    """One pass of the mask decoder over a frame: the first prompt's, or one correction click's."""

    low_res_masks: Tensor
    """Logits of the M candidates, [O, M, H/4, W/4]."""
    ious: Tensor
    """Predicted IoU of each candidate, [O, M]."""
    object_score_logits: Tensor | None
    """Logit of "the object is in this frame", [O, 1]; None if the network predicts none (pred_obj_scores: false)."""
    high_res_masks: Tensor | None = None
    """Logits of the candidates at full size, [O, M, H, W], where the network computes them anyway (for a mask
    prompt); otherwise None, and the loss upsamples `low_res_masks`."""


@dataclass
class FrameOutput:
    """The network's predictions for one frame of a clip."""

    frame_index: int
    steps: list[PredictionStep]
    """In order; the last one is the frame's result."""
    final_masks: Tensor
    """Logits of the chosen candidate after the last step, [O, 1, H, W], as the memory encoder saw them."""


@dataclass
class TrackedClips:
    """Clips of a batch that were prompted on the same frames, with the network's predictions for them."""

    batch: VideoBatch
    outputs: list[FrameOutput]
    """One a frame, in time order."""
