"""Configuration of video object segmentation: clips, network, prompts, loss, evaluation, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Literal

from sam2_training.core.errors import ConfigError
from sam2_training.core.settings import setting
from sam2_training.data.config import DatasetConfig
from sam2_training.engine.config import CheckpointConfig, RunConfig
from sam2_training.engine.optimizer_config import OptimizerConfig
from sam2_training.vos.evaluation.prompt_spec import PromptSpec
from sam2_training.vos.foreign_keys import FOREIGN_KEYS
from sam2_training.vos.metrics.names import METRICS


@dataclass(frozen=True)
class VosDatasetConfig(DatasetConfig):
    """Which videos, what happens with those that do not fit, and how clips are cut from them."""

    multiplier: int = setting(1, at_least=1)
    """How often each video is seen per epoch."""
    frame_selection: Literal["all", "annotated"] = "all"
    """"all": clips run over all frames, and frames without a mask are tracked through without loss;
    "annotated": clips are made of frames with a mask only (for sparsely labeled videos)."""
    frame_interval: tuple[int, int] = setting((1, 1), at_least=1, ascending=True)
    """Distance between neighboring frames of a clip, drawn per clip between these two (inclusive)."""
    reverse_time_prob: float = setting(0.0, at_least=0, at_most=1)
    """Probability that a clip runs backwards."""
    short_videos: Literal["error", "skip", "repeat_last"] = "error"
    """Videos with fewer frames than a clip needs: stop, leave out and count, or repeat their last frame."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        yield from super().problems(where)
        if where == "dataset":
            return
        plain = type(self)()
        for name, why in WITHOUT_EFFECT_IN_MEASURED_SETS.items():
            if getattr(self, name) != getattr(plain, name):
                yield f"{where}.{name}={getattr(self, name)} has no effect here: {why}; remove it"


WITHOUT_EFFECT_IN_MEASURED_SETS = {
    "multiplier": "each video of it is measured once",
    "reverse_time_prob": "it is measured forward in time",
    "short_videos": "all of its videos are measured, short ones too",
}
"""{key of a dataset: why it changes nothing where videos are measured and not trained on}."""


@dataclass(frozen=True)
class TrainingSetConfig(VosDatasetConfig):
    """Which videos are trained on, and what a clip is."""

    num_frames: int = setting(1, at_least=1, aliases=("scratch.num_frames",))
    """Frames per clip."""
    max_num_objects: int = setting(3, at_least=1, aliases=("scratch.max_num_objects",))
    """Objects per clip, at most; chosen at random among those visible in the clip's first frame."""

    def with_videos_of(self, other: VosDatasetConfig) -> TrainingSetConfig:
        """The same clips, cut from the videos of another dataset."""
        return replace(self, **{item.name: getattr(other, item.name) for item in fields(other)})


@dataclass(frozen=True)
class ColorJitterConfig:
    """Factors are drawn from [1 - value, 1 + value]; 0 switches a part off. Hue is a shift in [-hue, hue],
    at most 0.5."""

    brightness: float = setting(0.0, at_least=0)
    """Blend with black."""
    contrast: float = setting(0.0, at_least=0)
    """Blend with the image's mean gray."""
    saturation: float = setting(0.0, at_least=0)
    """Blend with the gray image."""
    hue: float = setting(0.0, at_least=0, at_most=0.5)
    """Shift of the hue, as a fraction of the color circle."""


@dataclass(frozen=True)
class AffineConfig:
    """Random affine map about the image center, the same for all frames of a clip; all zero or null switches it off."""

    degrees: float = setting(25.0, at_least=0, at_most=180, unit="degrees")
    """Rotation is drawn from [-degrees, degrees]."""
    shear: float = setting(20.0, at_least=0, below=90, unit="degrees")
    """Horizontal shear is drawn from [-shear, shear]."""
    scale: tuple[float, float] | None = setting(None, above=0, ascending=True)
    """Zoom factor is drawn between these two; null: 1."""
    translate: tuple[float, float] | None = setting(None, at_least=0, at_most=1)
    """Largest shift as a fraction of width and of height; null: none."""


@dataclass(frozen=True)
class TransformsConfig:
    """Augmentation, in this order: flip, affine, resize to a square, jitter per clip, grayscale, jitter per frame."""

    horizontal_flip_prob: float = setting(0.5, at_least=0, at_most=1)
    """Probability that a whole clip is mirrored."""
    affine: AffineConfig = field(default_factory=AffineConfig)
    clip_jitter: ColorJitterConfig = field(default_factory=lambda: ColorJitterConfig(0.1, 0.03, 0.03))
    """Drawn once per clip."""
    grayscale_prob: float = setting(0.05, at_least=0, at_most=1)
    """Probability that a whole clip turns gray."""
    frame_jitter: ColorJitterConfig = field(default_factory=lambda: ColorJitterConfig(0.1, 0.05, 0.05))
    """Drawn for every frame."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted per channel (RGB, range 0 to 1), on the device."""
    std: tuple[float, float, float] = setting((0.229, 0.224, 0.225), above=0)
    """Divided by per channel, after the mean."""


@dataclass(frozen=True)
class ModelConfig:
    """Which SAM 2 network, from which weights, and which part of it learns."""

    name: str = setting("sam2.1_hiera_b+", free=True)
    """A published network in any usual spelling (sam2.1_hiera_b+, base_plus, b+, configs/sam2.1/sam2.1_hiera_b+.yaml,
    ...), or the path of an architecture YAML of your own (its `_target_`s must start with `sam2.`). A resume compares
    the file's content, not its name."""
    image_size: int = setting(1024, multiple_of=32, unit="pixels", aliases=("scratch.resolution",))
    """Side of the square network input; a multiple of Hiera's strides."""
    checkpoint: str | None = setting("auto", free=True)
    """Weights to start from: a file, "auto" (the published file of this network in checkpoints/), or null: random."""
    trainable_modules: tuple[str, ...] | None = None
    """Names or globs of modules and parameters that learn, such as memory_attention or image_encoder.neck.*;
    everything else is frozen: no gradient, no optimizer state, no dropout. null: everything learns."""
    attention_dropout: float | None = setting(None, at_least=0, below=1)
    """Dropout on the attention weights inside memory attention; null: as in the architecture (0.1). With 0 attention
    takes torch's fused kernels; the dropout on each layer's output stays as it is."""
    drop_path_rate: float | None = setting(None, at_least=0, below=1)
    """Stochastic depth in the image encoder's trunk: the last block is left out with this probability, earlier ones
    with less; null: as in the architecture (0). The published training recipe has 0.1."""
    compile: bool = False
    """torch.compile the image encoder and the memory attention (slow first step, then faster; needs a C compiler)."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        if not self.name:
            yield f"{where}.name is empty: give a network such as sam2.1_hiera_t"
        if self.trainable_modules is not None and not self.trainable_modules:
            yield f"{where}.trainable_modules is empty, so nothing would learn: name modules, or null for all"


@dataclass(frozen=True)
class PromptsConfig:
    """How a user's prompts are simulated; names and defaults as in SAM 2's published training."""

    prob_to_use_pt_input: float = setting(0.5, at_least=0, at_most=1)
    """Probability of clicks or a box; otherwise the ground-truth mask is the prompt. One-frame clips always use
    clicks, unless this is 0."""
    prob_to_use_box_input: float = setting(0.5, at_least=0, at_most=1)
    """Under point input: probability of a box instead of the first click, per conditioning frame."""
    num_init_cond_frames: int = setting(2, at_least=1)
    """Frames with a first prompt, at most; the clip's first frame is always one of them."""
    rand_init_cond_frames: bool = True
    """Draw their number between 1 and num_init_cond_frames; false: always the maximum."""
    num_frames_to_correct: int = 2
    """Under point input: frames that get correction clicks, at most; conditioning frames first."""
    rand_frames_to_correct: bool = True
    """Draw their number between the conditioning frames' and num_frames_to_correct; false: always the maximum."""
    num_correction_pt_per_frame: int = setting(7, at_least=0)
    """Correction clicks on each corrected frame."""
    prob_to_sample_from_gt: float = setting(0.1, at_least=0, at_most=1)
    """Probability that a correction click is drawn from the ground-truth mask instead of from the error region."""
    add_all_frames_to_correct_as_cond: bool = True
    """A corrected frame becomes a conditioning frame for the rest of the clip."""
    box_noise: float = setting(0.1, at_least=0)
    """Largest shift of a box side, as a fraction of the box's width or height."""
    box_noise_bound_px: int = setting(20, at_least=0, unit="pixels")
    """Largest shift of a box side."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        if self.prob_to_use_pt_input > 0 and self.num_frames_to_correct < self.num_init_cond_frames:
            yield (
                f"{where}.num_frames_to_correct={self.num_frames_to_correct} must be at least "
                f"{where}.num_init_cond_frames={self.num_init_cond_frames}: conditioning frames are corrected first"
            )


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
    val_dataset: VosDatasetConfig | None = setting(None, free=True)
    """Videos that are evaluated and not trained on. dataset.num_frames and dataset.max_num_objects hold for both;
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
    def max_bad_fraction(self) -> float:
        return self.dataset.max_bad_fraction

    def inputs(self) -> dict[str, str | None]:
        sections: dict[str, VosDatasetConfig | None] = {
            "dataset": self.dataset,
            "val_dataset": self.val_dataset,
            "evaluation.retention_dataset": self.evaluation.retention_dataset,
        }
        return {
            f"{section}.{key}": getattr(dataset, key)
            for section, dataset in sections.items()
            if dataset is not None
            for key in ("img_folder", "gt_folder", "file_list_txt")
        }

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
        if self.dataset.is_generated and synthetic.num_frames < num_frames:
            yield (
                f"dataset.synthetic.num_frames={synthetic.num_frames} is less than dataset.num_frames={num_frames}: "
                "a clip would not fit"
            )
