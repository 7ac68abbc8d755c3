"""How well a network carries a first-frame mask through clips: the simplest test of a tracker."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sam2_training.vos.batch import VideoBatch
from sam2_training.vos.model.prompts import mask_plan
from sam2_training.vos.model.tracker import TrainableSAM2


@torch.no_grad()
def propagate(model: TrainableSAM2, batch: VideoBatch) -> Tensor:
    """Predicted masks of every frame, bool [T, O, H, W], from the true masks of frame 0.

    The model is left in evaluation mode. Runs under no_grad, not inference_mode, which would poison the position
    caches for later training.
    """
    model.eval()
    outputs = model.track(batch, mask_plan(batch.num_frames))
    return torch.stack([output.final_masks[:, 0] > 0 for output in outputs])


def mean_iou(predictions: Sequence[Tensor], batches: Sequence[VideoBatch]) -> float:
    """Mean over clips' objects and frames of the IoU of `propagate`'s masks; frame 0, which is given, is left out.

    A frame in which the object is absent counts 1 if nothing is predicted there, else 0.
    """
    scores = []
    for predicted, batch in zip(predictions, batches, strict=True):
        truth = torch.stack([batch.masks(t) for t in range(batch.num_frames)])
        intersection = (predicted & truth).flatten(2).sum(-1).double()
        union = (predicted | truth).flatten(2).sum(-1).double()
        iou = torch.where(union > 0, intersection / union.clamp(min=1), 1.0)  # [T, O]
        scores.append(iou[1:].flatten())
    return float(torch.cat(scores).mean())
