"""Types shared by data, network and loss: a batch of clips, and the network's output for one frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tensordict import TensorClass
from torch import Tensor

from sam2_training.engine.task import BatchInfo as SampleBatchInfo
from sam2_training.vos.clips.planes import OBJECTS_PER_PLANE


@dataclass(frozen=True)
class BatchInfo(SampleBatchInfo):
    """The part of a batch that stays on the CPU. The loss is divided by its objects: `loss_weight` is O, or 0 for the
    blank clip that stands for an all-bad batch."""

    promptable: tuple[bool, ...] = ()
    """Per frame: every object is labeled and visible, so that each can be prompted there. Empty: not known on the CPU
    (see `VideoBatch.frame_facts`)."""
    labeled_frames: tuple[bool, ...] = ()
    """Per frame: at least one object is labeled. Empty: not known on the CPU."""


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

    @property
    def num_frames(self) -> int:
        return int(self.frames.shape[1])

    @property
    def num_objects(self) -> int:
        return int(self.object_clip.shape[0])

    def masks(self, frame_index: int) -> Tensor:
        """The ground-truth masks of all objects in one frame, bool [O, H, W]."""
        plane = self.mask_planes[self.object_clip, frame_index, self.object_bit // OBJECTS_PER_PLANE]  # [O, H, W]
        shift = (self.object_bit % OBJECTS_PER_PLANE).to(torch.uint8)
        return (plane >> shift[:, None, None]) & 1 == 1

    def frame_facts(self) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
        """(promptable, labeled_frames) as in `BatchInfo`: from there, or else from the tensors (waits for a GPU)."""
        if self.info.promptable and self.info.labeled_frames:
            return self.info.promptable, self.info.labeled_frames
        promptable = [
            (self.labeled[t] & self.masks(t).flatten(1).any(1)).all() for t in range(self.num_frames)
        ]  # T scalars
        return tuple(torch.stack(promptable).tolist()), tuple(self.labeled.any(1).tolist())

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
    object_score_logits: Tensor
    """Logit of "the object is in this frame", [O, 1]."""
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
