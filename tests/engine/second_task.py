"""Another kind of training than the project's own: a regression on generated numbers, on the same engine."""

import torch
from sam2_training.core.rng import rng_for
from sam2_training.engine import config, task
from tensordict import TensorClass
from torch import Tensor, nn


class RegressionConfig(config.RunConfig):
    metrics = ("val_loss",)


class Numbers(TensorClass):
    x: Tensor  # [B, 4]
    info: task.BatchInfo


class NumbersDataset:
    def __len__(self) -> int:
        return 24

    def batch(self, keys: list[task.SampleKey]) -> Numbers:
        x = [rng_for(0, "sample", key.epoch, key.position).standard_normal(4) for key in keys]
        info = task.BatchInfo(tuple(f"sample {key.index}" for key in keys), loss_weight=len(keys))
        return Numbers(torch.tensor(x).float(), info, batch_size=[])


class RegressionStep(task.StepModule[Numbers]):
    def forward(self, batch: Numbers, normalizer: float, context: task.StepContext) -> dict[str, Tensor]:
        loss = (self.model(batch.x)[:, 0] - batch.x.sum(1)).square().sum() / normalizer
        return {"total": loss, "loss_square": loss.detach()}


class RegressionValidation(task.Validation[nn.Module]):
    def num_units(self, count: int | None = None) -> int:
        return 16

    def measure(self, model: nn.Module, *_: object) -> dict[str, float]:
        x = torch.linspace(-1, 1, 64).reshape(16, 4)
        model.eval()
        with torch.no_grad():
            error = model(x)[:, 0] - x.sum(1)
        model.train()
        return {"val_loss": error.square().mean().item()}


class RegressionTask(task.Task[Numbers, nn.Module]):
    step_module, dataset, validation = RegressionStep, NumbersDataset, RegressionValidation

    def __init__(self, *_: object) -> None: ...

    def columns(self) -> dict[str, str]:
        return {"loss_square": "loss", "val_loss": "loss"}

    def data_fingerprint(self) -> str:
        return "24 numbers of the generator's first version"

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))
