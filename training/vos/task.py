"""The SAM 2 wing as the engine sees it: builds dataset, network and loss from the configuration."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from training.core.config import TrainConfig
from training.core.distributed import Ranks
from training.vos.dataset.clips import ClipDataset, SyntheticDataset, build_dataset
from training.vos.model.build import build_network
from training.vos.model.freezing import freeze, trainable_table
from training.vos.model.names import resolve_network
from training.vos.model.published import initial_checkpoint
from training.vos.model.step import ClipStep
from training.vos.model.tracker import TrainableSAM2
from training.vos.model.weights import load_weights


class VosTask:
    """Video object segmentation with SAM 2; implements `training.engine.task.Task`.

    Opening it builds (or finds) the dataset index, so wrong data is found before the network is built.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks, log_dir: Path) -> None:
        self.config = config
        self._initial_weights = initial_checkpoint(config.model)
        self._dataset: ClipDataset | SyntheticDataset = ranks.main_first(lambda: build_dataset(config, log_dir))

    def describe_data(self) -> list[str]:
        return self._dataset.describe()

    def data_fingerprint(self) -> str:
        return self._dataset.fingerprint()

    def dataset(self) -> ClipDataset | SyntheticDataset:
        return self._dataset

    def model(self) -> TrainableSAM2:
        model = build_network(
            self.config.model, self.config.scratch.resolution, self.config.prompts, self.config.transforms
        )
        if self._initial_weights is not None:
            load_weights(model, self._initial_weights)
        freeze(model, self.config.model.trainable_modules)
        return model

    def step_module(self, model: nn.Module) -> ClipStep:
        if not isinstance(model, TrainableSAM2):
            raise TypeError(f"expected the network that model() returned, found {type(model).__name__}")
        return ClipStep(model, self.config.loss)

    def describe_model(self, model: nn.Module) -> list[str]:
        network = resolve_network(self.config.model.name)
        weights = self._initial_weights or "random weights"
        return [f"{network.key} at {self.config.scratch.resolution} px from {weights}", *trainable_table(model)]

    def loading_lines(self, checkpoint_path: str) -> list[str]:
        network = resolve_network(self.config.model.name)
        lines = ["from sam2.build_sam import build_sam2_video_predictor"]
        if network.checkpoint_name is None:
            # Stock sam2 finds only its own architectures; ours tells it of this one.
            lines.append("from training.vos.model.names import register_aliases")
            lines.append(f'register_aliases("{network.yaml_path}")')
        lines.append(f'predictor = build_sam2_video_predictor("{network.config_name}", "{checkpoint_path}")')
        return lines
