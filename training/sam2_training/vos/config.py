"""Configuration of video object segmentation: the sections of clips, network, prompts and loss, and its own ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from sam2_training.core.errors import ConfigError
from sam2_training.core.settings import setting
from sam2_training.engine.config import CheckpointConfig, RunConfig
from sam2_training.engine.optimizer_config import OptimizerConfig
from sam2_training.vos.clips.config import TrainingSetConfig, TransformsConfig, ValidationSetConfig, VosDatasetConfig
from sam2_training.vos.evaluation.prompt_spec import PromptSpec
from sam2_training.vos.foreign_keys import FOREIGN_KEYS
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.metrics.names import METRICS
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.prompts_config import PromptsConfig


@dataclass(frozen=True)
class VosOptimizerConfig(OptimizerConfig):
    """The optimizer and its parameter groups. Later lr_groups win over earlier ones."""

    layer_decay_module: str = "image_encoder.trunk"
    """The module whose blocks layer_decay counts."""
    vision_lr: float = setting(3.0e-6, at_least=0, aliases=("scratch.vision_lr",))
    """Learning rate of the image encoder, where an entry of lr_groups refers to it (optimizer=published does)."""


@dataclass(frozen=True)
class VosCheckpointConfig(CheckpointConfig):
    """When the state is saved, which weights are kept besides, and what a start begins from."""

    monitor: tuple[str, ...] = setting(("val_j_and_f",), aliases=("checkpointing.monitor",))
    """Metrics whose best weights are kept as checkpoints/best_<metric>.pt."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How videos are evaluated, in validations and by the command evaluate.py."""

    prompt: str = "mask"
    """What the network is told of an object on its first frame: mask, box, click:<n> (n clicks there), or
    interactive:<n> (n rounds of a corrective click on the worst frame); n from 1 to 999."""
    protocol: Literal["davis", "sav"] = "davis"
    """Frames that count. davis: neither an object's first frame nor the video's last; sav: all but the first."""
    retention_dataset: VosDatasetConfig | None = setting(None, aliases=("evaluation.guard_dataset",))
    """Another dataset, which shows what the network forgets: evaluated with the starting and with the best weights."""
    save_masks: bool = True
    """Keep the masks predicted in the newest and in the best validation as PNGs beside the scores."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        try:
            PromptSpec.parse(self.prompt, f"{where}.prompt")
        except ConfigError as error:
            yield from error.problems


@dataclass(frozen=True)
class VisualizationConfig:
    """Pictures of predictions in the report, in TensorBoard and as GIFs."""

    enabled: bool = True
    """Make pictures: film strips of validations in the report and in TensorBoard, and those below."""
    train_every_n_steps: int = setting(0, at_least=0)
    """A film strip of a training clip in TensorBoard every n steps; 0: none. It costs a forward pass."""
    val_first_batch_every_n_epochs: int = setting(1, at_least=0)
    """visualization/*.gif of the first validation video, at the first validation after every n epochs; 0: none.
    Needs evaluation.save_masks."""
    max_length: int = setting(8, at_least=1)
    """Frames of a film strip or GIF, at most."""
    stride: int = setting(1, at_least=1)
    """Frames from one picture of a strip or GIF to the next, at least."""


@dataclass(frozen=True)
class VosConfig(RunConfig):
    """Everything that a training run for video object segmentation depends on, besides code and data."""

    metrics: ClassVar[tuple[str, ...]] = METRICS
    """What a validation measures."""
    foreign_keys: ClassVar[Mapping[str, str]] = {**RunConfig.foreign_keys, **FOREIGN_KEYS}
    """{key of other programs: what to write here}, for messages."""

    task: str = "vos"
    """What is trained: vos, video object segmentation."""
    optimizer: VosOptimizerConfig = field(default_factory=VosOptimizerConfig)
    checkpoint: VosCheckpointConfig = setting(default_factory=VosCheckpointConfig, free=True)
    dataset: TrainingSetConfig = field(default_factory=TrainingSetConfig)
    val_dataset: ValidationSetConfig | None = setting(None, free=True)
    """Videos that are evaluated and not trained on. dataset.max_num_objects holds for both;
    multiplier, reverse_time_prob, short_videos and val_fraction are of dataset only. null: see dataset.val_fraction."""
    transforms: TransformsConfig = field(default_factory=TransformsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    evaluation: EvaluationConfig = setting(default_factory=EvaluationConfig, free=True)
    visualization: VisualizationConfig = setting(default_factory=VisualizationConfig, free=True)

    @property
    def picture_interval(self) -> int:
        return self.visualization.train_every_n_steps if self.visualization.enabled else 0

    @property
    def num_measuring_threads(self) -> int:
        """Threads that read frames ahead where videos are measured."""
        return 1 if self.val_dataset is None else self.val_dataset.num_workers

    @property
    def max_bad_fraction(self) -> float:
        return self.dataset.max_bad_fraction

    @property
    def measured_dataset(self) -> ValidationSetConfig | None:
        """val_dataset, with the frames of dataset.img_folder where only its annotations are given."""
        found = self.val_dataset
        if found is None or not found.data_path or found.img_folder:
            return found
        return replace(found, img_folder=self.dataset.img_folder)

    def inputs(self) -> dict[str, str | None]:
        sections: dict[str, VosDatasetConfig | None] = {
            "dataset": self.dataset,
            **{f"dataset.sets[{number}]": one for number, one in enumerate(self.dataset.sets)},
            "val_dataset": self.measured_dataset,
            "evaluation.retention_dataset": self.evaluation.retention_dataset,
        }
        return {
            f"{section}.{key}": getattr(dataset, key)
            for section, dataset in sections.items()
            if dataset is not None
            for key in ("img_folder", "gt_folder", "data_path", "file_list_txt")
        }

    def identity(self) -> tuple[str, ...]:
        return (*super().identity(), "model.name", "model.checkpoint")

    def how_to_validate(self) -> str:
        validates = self.val_dataset is not None or self.dataset.val_fraction > 0
        return "" if validates else "set val_dataset or dataset.val_fraction"

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        missing = self.how_to_validate()
        if self.evaluation.retention_dataset is not None and missing:
            yield f"evaluation.retention_dataset is set, but it is measured with the validation set only: {missing}"
        num_frames, synthetic = self.dataset.num_frames, self.dataset.synthetic
        if num_frames == 1 and self.prompts.prob_to_use_pt_input == 0:
            yield (
                "dataset.num_frames=1 with prompts.prob_to_use_pt_input=0: the only frame's mask is given, so there is "
                "nothing to learn; set dataset.num_frames to 2 or more, or train with clicks (prompts=published)"
            )
        if num_frames == 1 and "mask" in (self.prompts.prompt_types or ()):
            yield (
                "dataset.num_frames=1 with mask among prompts.prompt_types: where the only frame's mask is given, "
                "there is nothing to learn; set dataset.num_frames to 2 or more, or leave mask out"
            )
        if self.dataset.is_generated and synthetic.num_frames < num_frames:
            yield (
                f"dataset.synthetic.num_frames={synthetic.num_frames} is less than dataset.num_frames={num_frames}: "
                "a clip would not fit"
            )
