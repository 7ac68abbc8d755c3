"""One training step's forward pass as a single module: the network and its loss."""

from __future__ import annotations

from torch import Tensor

from sam2_training.engine.task import StepContext, StepModule
from sam2_training.vos.batch import VideoBatch
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.losses import tracked_loss
from sam2_training.vos.model.tracker import TrainableSAM2


class ClipStep(StepModule[VideoBatch]):
    """Batch in, losses out; what DDP wraps (find_unused_parameters=True: which parts take part depends on prompts)."""

    def __init__(self, model: TrainableSAM2, loss: LossConfig) -> None:
        super().__init__(model)
        self.loss = loss

    def forward(self, batch: VideoBatch, normalizer: float, context: StepContext) -> dict[str, Tensor]:
        """The losses of `clip_loss`; "total" can always be differentiated.

        normalizer: number of objects that the loss is divided by (mean over ranks).
        """
        losses = tracked_loss(self.model(batch, context.shared_rng("prompts")), self.loss, normalizer)
        if not losses["total"].requires_grad:
            losses["total"] = losses["total"] + self._zero_loss()
        return losses

    def _zero_loss(self) -> Tensor | float:
        """A zero with a gradient: a clip without anything to learn must not stop the other ranks."""
        trainable = (parameter for parameter in self.model.parameters() if parameter.requires_grad)
        first = next(trainable, None)
        return 0.0 if first is None else 0.0 * first.sum()
