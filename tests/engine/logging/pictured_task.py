"""The small regression of the engine's tests, with a picture every few steps and a score in its validation."""

from __future__ import annotations

import numpy as np
from torch import nn

from tests.engine.second_task import RegressionConfig, RegressionTask, RegressionValidation


class PicturedConfig(RegressionConfig):
    picture_interval = 16


class ScoredValidation(RegressionValidation):
    def measure(self, model: nn.Module, *rest: object) -> dict[str, float]:
        return {**super().measure(model, *rest), "val_J&F": 0.5}


class PicturedTask(RegressionTask):
    validation = ScoredValidation

    def columns(self) -> dict[str, str]:
        return {**super().columns(), "val_J&F": "score"}

    def training_picture(self, *_: object) -> np.ndarray:
        return np.tile(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], (1, 16, 3))
