"""Configuration of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from sam2_training.core.settings import setting

SAM2_WEIGHTS = ("loss_mask", "loss_dice", "loss_iou", "loss_class")
BCE_DICE_WEIGHTS = ("bce_weight", "dice_weight", "iou_weight", "temporal_weight")
BCE_DICE_KEYS = (*BCE_DICE_WEIGHTS, "smooth")
"""The keys of type=bce_dice; all others are of type=sam2."""


@dataclass(frozen=True)
class LossConfig:
    """Weights and shapes of the loss terms. Every key belongs to one type; with the other it must stay as it is."""

    type: Literal["sam2", "bce_dice"] = "sam2"
    """sam2: the loss of SAM 2's published training, with the keys loss_*, focal_*, supervise_all_iou and
    iou_use_l1_loss. bce_dice: plain cross entropy, Dice, soft IoU and change from frame to frame, with the others."""
    loss_mask: float = setting(20.0, at_least=0)
    """Weight of the focal loss on mask logits."""
    loss_dice: float = setting(1.0, at_least=0)
    """Weight of the Dice loss."""
    loss_iou: float = setting(1.0, at_least=0)
    """Weight of the error of the predicted IoU."""
    loss_class: float = setting(1.0, at_least=0)
    """Weight of the cross entropy of "is the object in this frame"."""
    focal_alpha: float = 0.25
    """Weight of foreground pixels in the focal loss; negative: no weighting."""
    focal_gamma: float = 2.0
    """Focusing exponent of the focal loss; 0: plain cross entropy."""
    focal_alpha_obj_score: float = -1.0
    """focal_alpha of the "is the object in this frame" loss."""
    focal_gamma_obj_score: float = 0.0
    """focal_gamma of the "is the object in this frame" loss."""
    supervise_all_iou: bool = True
    """Train the predicted IoU of all candidate masks; false: only the best one's."""
    iou_use_l1_loss: bool = True
    """L1 error of the predicted IoU; false: squared error."""
    bce_weight: float = setting(1.0, at_least=0)
    """bce_dice: weight of the binary cross entropies, of the mask's pixels (mean) and of "is the object in this
    frame"."""
    dice_weight: float = setting(1.0, at_least=0)
    """bce_dice: weight of the Dice loss."""
    iou_weight: float = setting(0.5, at_least=0)
    """bce_dice: weight of the soft IoU loss of the mask. The network's own estimate of its IoU is not trained."""
    temporal_weight: float = setting(0.1, at_least=0)
    """bce_dice: weight of |change of the probability - change of the ground truth| between neighboring frames of a
    clip, mean over pixels, for objects labeled in both frames; 0 for a perfect prediction of a moving object."""
    smooth: float = setting(1e-6, at_least=1e-12)
    """bce_dice: added to both parts of the fractions of Dice and soft IoU, pixels."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        other = "sam2" if self.type == "bce_dice" else "bce_dice"
        for field in fields(self):
            value = getattr(self, field.name)
            is_others = field.name != "type" and (field.name in BCE_DICE_KEYS) != (self.type == "bce_dice")
            if is_others and value != field.default:
                yield (
                    f"{where}.{field.name}={value} has no effect with {where}.type={self.type}: remove it, or set "
                    f"{where}.type={other}"
                )
        weights = BCE_DICE_WEIGHTS if self.type == "bce_dice" else SAM2_WEIGHTS
        if max(getattr(self, name) for name in weights) <= 0:
            yield f"{where}: {', '.join(weights[:-1])} and {weights[-1]} are all 0; set at least one of them above 0"
