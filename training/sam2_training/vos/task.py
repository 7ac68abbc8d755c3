"""The SAM 2 wing as the engine sees it: builds dataset, network and loss from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam2_training.core.columns import ColumnKind
from sam2_training.core.ranks import Ranks
from sam2_training.core.text import some
from sam2_training.engine.config import continues_run
from sam2_training.engine.task import Picture, RunSummary, SampleGroup, WrittenReport
from sam2_training.vos.batch import VideoBatch
from sam2_training.vos.clips.dataset import ClipDataset
from sam2_training.vos.clips.mixed import MixedClips, open_clips
from sam2_training.vos.columns import column_kinds
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.adapter_files import network_as_saved
from sam2_training.vos.model.build import architecture_fingerprint, build_network
from sam2_training.vos.model.freezing import explained_presets, freeze, memory_remark, trainable_table
from sam2_training.vos.model.lora import add_lora, describe_lora
from sam2_training.vos.model.names import resolve_network
from sam2_training.vos.model.published import starting_weights
from sam2_training.vos.model.step import ClipStep
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.model.weights import load_weights
from sam2_training.vos.reporting.pictures import training_strip
from sam2_training.vos.reporting.writer import ReportWriter
from sam2_training.vos.validation import VosValidation, open_validation

PACKAGES = ("sam2", "av")
"""What SAM 2 networks are built from."""


class VosTask:
    """Video object segmentation with SAM 2; implements `sam2_training.engine.task.Task`.

    Opening it builds (or finds) the dataset index, so wrong data is found before the network is built.
    """

    title = "SAM 2.1 training"
    sample_noun = "clip"
    packages = PACKAGES

    def __init__(self, config: VosConfig, ranks: Ranks, log_dir: Path, name: str = "training") -> None:
        """name: the recipe's, for the report's title."""
        self.config = config
        self._initial_weights = starting_weights(config, log_dir)
        self._continues = continues_run(config, log_dir)
        self._dataset, held_out = ranks.main_first(lambda heartbeat: open_clips(config, log_dir, heartbeat))
        self._held_out = held_out
        self._validation = open_validation(config, ranks, log_dir, held_out)
        sets = self._validation.sets if self._validation is not None else {}
        self._as_saved = network_as_saved(config.model)
        if isinstance(self._dataset, MixedClips):
            indexes = {f"training set {number}": part.index for number, part in enumerate(self._dataset.parts, start=1)}
        else:
            indexes = {"training set": self._dataset.index}
        self._report = ReportWriter(config, name, log_dir, indexes, sets)

    def columns(self) -> Mapping[str, ColumnKind]:
        return column_kinds(self.config.loss.type)

    def describe_data(self) -> list[str]:
        lines = self._dataset.describe()
        if self._held_out is not None:
            own = self._dataset.parts[0] if isinstance(self._dataset, MixedClips) else self._dataset
            lines.append(
                f"held out for validation (dataset.val_fraction={self.config.dataset.val_fraction:g}, by a hash of "
                f"their names): {len(self._held_out)} of {len(self._held_out) + len(own.index)}: "
                f"{some(self._held_out.names)}"
            )
        if self._validation is None:
            return [*lines, "no validation: set dataset.val_fraction or val_dataset to measure J&F"]
        return lines + self._validation.describe()

    def training_picture(self, model: TrainableSAM2, batch: VideoBatch) -> Picture:
        return training_strip(model, batch, self.config.visualization.max_length)

    def validation(self) -> VosValidation | None:
        return self._validation

    def write_report(self, summary: RunSummary) -> WrittenReport:
        return self._report.write(summary)

    def data_fingerprint(self) -> str:
        return self._dataset.fingerprint()

    def model_fingerprint(self) -> str:
        return architecture_fingerprint(self.config.model.name)

    def dataset(self) -> ClipDataset | MixedClips:
        return self._dataset

    def sample_groups(self) -> tuple[SampleGroup, ...]:
        return self._dataset.groups() if isinstance(self._dataset, MixedClips) else ()

    def model(self) -> TrainableSAM2:
        return initial_network(self.config, self._initial_weights)

    def saved_form(self, model: TrainableSAM2) -> Mapping[str, Any]:
        return self._as_saved(model)

    def step_module(self, model: TrainableSAM2) -> ClipStep:
        return ClipStep(model, self.config.loss)

    def describe_model(self, model: TrainableSAM2) -> list[str]:
        return describe_network(self.config, "the checkpoint" if self._continues else self._initial_weights, model)

    def usage_snippet(self, checkpoint_path: str) -> list[str]:
        network = resolve_network(self.config.model.name)
        lines = ["from sam2.build_sam import build_sam2_video_predictor"]
        if network.checkpoint_name is None:
            # Stock sam2 finds only its own architectures; ours tells it of this one.
            lines.append("from sam2_training.vos.model.names import register_aliases")
            lines.append(f'register_aliases("{network.yaml_path}")')
        arguments = f'"{network.config_name}", "{checkpoint_path}"'
        replaced = [f"++model.{name}={value}" for name, value in self.config.model.replaced_arguments().items()]
        if replaced:
            arguments += f", hydra_overrides_extra={replaced}"
        lines.append(f"predictor = build_sam2_video_predictor({arguments})")
        return lines


def initial_network(config: VosConfig, weights: str | None) -> TrainableSAM2:
    """The network with its initial weights (a file; None: random), on the CPU, frozen and with adapters as configured.

    Raises ConfigError and CheckpointError.
    """
    model = build_network(config.model, config.prompts, config.transforms)
    if weights is not None:
        load_weights(model, weights)
    freeze(model, config.model.learning_modules)
    if config.model.lora is not None:
        add_lora(model, config.model.lora)
    return model


def describe_network(config: VosConfig, weights: str | None, model: TrainableSAM2) -> list[str]:
    """Lines on which network it is, from which weights, and what of it learns."""
    network = resolve_network(config.model.name)
    source = weights or "random weights"
    longest = max([config.dataset.num_frames, *(one.num_frames or 1 for one in config.dataset.sets)])
    remark = memory_remark(model, longest)
    head = f"{network.key} at {config.model.image_size} px from {source}"
    what = [*explained_presets(config.model.trainable_modules or ()), *describe_lora(model, config.model.lora)]
    return [head, *what, *trainable_table(model), *remark]
