"""Configuration of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sam2_training.core.settings import setting


@dataclass(frozen=True)
class LossConfig:
    """Weights and shapes of the loss terms, as in SAM 2's published training."""

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

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        if max(self.loss_mask, self.loss_dice, self.loss_iou, self.loss_class) <= 0:
            yield f"{where}: loss_mask, loss_dice, loss_iou and loss_class are all 0; set at least one of them above 0"
