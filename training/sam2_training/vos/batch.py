"""Types shared by data, network and loss: a batch of clips, and the network's output for one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        owner = self._owners()
        return self.of_objects([o for o, n in enumerate(owner) if n in set(clips)])

    def clips_of(self, objects: Sequence[int]) -> list[int]:
        """The numbers of the clips that some objects belong to, ascending."""
        owner = self._owners()
        return sorted({owner[o] for o in objects})

    def of_objects(self, objects: Sequence[int]) -> VideoBatch:
        """A batch of some of the objects, by number, in ascending order, and of the clips that they belong to.

        The facts per frame of a clip that loses objects stay those of all its objects.
        """
        facts, clips, owner = self.clip_facts(), self.clips_of(objects), self._owners()
        device = self.labeled.device
        numbers = torch.tensor(list(objects), device=device)
        rows = torch.tensor(clips, device=device)
        own = [clips.index(owner[o]) for o in objects]
        return VideoBatch(
            frames=self.frames[rows],
            mask_planes=self.mask_planes[rows],
            labeled=self.labeled[:, numbers],
            object_clip=torch.tensor(own, device=device),
            object_bit=self.object_bit[numbers],
            object_ids=self.object_ids[numbers],
            info=replace(
                self.info,
                clips=tuple(replace(facts[n], num_objects=own.count(row)) for row, n in enumerate(clips)),
                loss_weight=len(own),
            ),
            ignored_planes=None if self.ignored_planes is None else self.ignored_planes[rows],
            batch_size=[],
        )

    def _owners(self) -> list[int]:
        """The clip of each object, as `object_clip`, without asking the device."""
        return [number for number, clip in enumerate(self.clip_facts()) for _ in range(clip.num_objects)]

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
    """Objects of a batch that were prompted alike, and their clips, with the network's predictions for them."""

    batch: VideoBatch
    outputs: list[FrameOutput]
    """One a frame, in time order."""
