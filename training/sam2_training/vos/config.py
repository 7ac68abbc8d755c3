"""Configuration of video object segmentation: clips, network, prompts, loss, evaluation, pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from sam2_training.data.config import DatasetConfig
from sam2_training.engine.config import RunConfig
from sam2_training.vos.metrics.names import METRICS


@dataclass(frozen=True)
class VosDatasetConfig(DatasetConfig):
    """Which videos, what happens with those that do not fit, and how clips are cut from them."""

    multiplier: int = 1
    """How often each video is seen per epoch."""
    frame_selection: Literal["all", "annotated"] = "all"
    """"all": clips run over all frames, and frames without a mask are tracked through without loss;
    "annotated": clips are made of frames with a mask only (for sparsely labeled videos)."""
    frame_interval: tuple[int, int] = (1, 1)
    """Distance between neighboring frames of a clip, drawn per clip between these two (inclusive)."""
    reverse_time_prob: float = 0.0
    """Probability that a clip runs backwards."""
    short_videos: Literal["error", "skip", "repeat_last"] = "error"
    """Videos with fewer than scratch.num_frames frames: stop, leave out and count, or repeat their last frame."""

    def problems_at(self, where: str) -> Iterator[str]:
        yield from super().problems_at(where)
        if self.multiplier < 1:
            yield f"{where}.multiplier={self.multiplier} must be at least 1"
        low, high = self.frame_interval
        if not 1 <= low <= high:
            yield f"{where}.frame_interval={[low, high]} must be [smallest, largest] with 1 <= smallest <= largest"
        if not 0 <= self.reverse_time_prob <= 1:
            yield f"{where}.reverse_time_prob={self.reverse_time_prob} must lie between 0 and 1"


@dataclass(frozen=True)
class ColorJitterConfig:
    """Factors are drawn from [1 - value, 1 + value]; 0 switches a part off. Hue is a shift in [-hue, hue],
    at most 0.5."""

    brightness: float = 0.0
    """Blend with black."""
    contrast: float = 0.0
    """Blend with the image's mean gray."""
    saturation: float = 0.0
    """Blend with the gray image."""
    hue: float = 0.0
    """Shift of the hue, as a fraction of the color circle."""

    def problems_at(self, where: str) -> Iterator[str]:
        for name in ("brightness", "contrast", "saturation"):
            if getattr(self, name) < 0:
                yield f"{where}.{name}={getattr(self, name)} must not be negative"
        if not 0 <= self.hue <= 0.5:
            yield f"{where}.hue={self.hue} must lie between 0 and 0.5"


@dataclass(frozen=True)
class AffineConfig:
    """Random affine map about the image center, the same for all frames of a clip; all zero or null switches it off."""

    degrees: float = 25.0
    """Rotation is drawn from [-degrees, degrees]."""
    shear: float = 20.0
    """Horizontal shear is drawn from [-shear, shear] degrees."""
    scale: tuple[float, float] | None = None
    """Zoom factor is drawn between these two; null: 1."""
    translate: tuple[float, float] | None = None
    """Largest shift as a fraction of width and of height; null: none."""

    def problems(self) -> Iterator[str]:
        if not 0 <= self.degrees <= 180:
            yield f"transforms.affine.degrees={self.degrees} must lie between 0 and 180"
        if not 0 <= self.shear < 90:
            yield f"transforms.affine.shear={self.shear} must lie between 0 and 90"
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            yield f"transforms.affine.scale={list(self.scale)} must be [smallest, largest] with 0 < smallest <= largest"
        if self.translate is not None and not all(0 <= part <= 1 for part in self.translate):
            yield f"transforms.affine.translate={list(self.translate)} must be two fractions between 0 and 1"


@dataclass(frozen=True)
class TransformsConfig:
    """Augmentation, in this order: flip, affine, resize to a square, jitter per clip, grayscale, jitter per frame."""

    horizontal_flip_prob: float = 0.5
    """Probability that a whole clip is mirrored."""
    affine: AffineConfig = field(default_factory=AffineConfig)
    clip_jitter: ColorJitterConfig = field(default_factory=lambda: ColorJitterConfig(0.1, 0.03, 0.03))
    """Drawn once per clip."""
    grayscale_prob: float = 0.05
    """Probability that a whole clip turns gray."""
    frame_jitter: ColorJitterConfig = field(default_factory=lambda: ColorJitterConfig(0.1, 0.05, 0.05))
    """Drawn for every frame."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted per channel (RGB, range 0 to 1), on the device."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Divided by per channel, after the mean."""

    def problems(self) -> Iterator[str]:
        for name in ("horizontal_flip_prob", "grayscale_prob"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"transforms.{name}={getattr(self, name)} must lie between 0 and 1"
        if any(part <= 0 for part in self.std):
            yield f"transforms.std={list(self.std)} must be positive"
        yield from self.affine.problems()
        yield from self.clip_jitter.problems_at("transforms.clip_jitter")
        yield from self.frame_jitter.problems_at("transforms.frame_jitter")


@dataclass(frozen=True)
class ModelConfig:
    """Which SAM 2 network, from which weights, and which part of it learns."""

    name: str = "sam2.1_hiera_b+"
    """A published network in any usual spelling (sam2.1_hiera_b+, base_plus, b+, configs/sam2.1/sam2.1_hiera_b+.yaml,
    ...), or the path of an architecture YAML of your own (its `_target_`s must start with `sam2.`)."""
    checkpoint: str | None = "auto"
    """Weights to start from: a file, "auto" (the published file of this network in checkpoints/), or null: random."""
    trainable_modules: tuple[str, ...] | None = None
    """Names or globs of modules and parameters that learn, such as memory_attention or image_encoder.neck.*;
    everything else is frozen: no gradient, no optimizer state, no dropout. null: everything learns."""
    attention_dropout: float | None = None
    """Dropout on the attention weights inside memory attention; null: as in the architecture (0.1). With 0 attention
    takes torch's fused kernels; the dropout on each layer's output stays as it is."""
    drop_path_rate: float | None = None
    """Stochastic depth in the image encoder's trunk: the last block is left out with this probability, earlier ones
    with less; null: as in the architecture (0). The published training recipe has 0.1."""
    compile: bool = False
    """torch.compile the image encoder and the memory attention (slow first step, then faster; needs a C compiler)."""

    def problems(self) -> Iterator[str]:
        if not self.name:
            yield "model.name is empty: give a network such as sam2.1_hiera_t"
        if self.attention_dropout is not None and not 0 <= self.attention_dropout < 1:
            yield f"model.attention_dropout={self.attention_dropout} must lie between 0 and 1"
        if self.drop_path_rate is not None and not 0 <= self.drop_path_rate < 1:
            yield f"model.drop_path_rate={self.drop_path_rate} must lie between 0 and 1"
        if self.trainable_modules is not None and not self.trainable_modules:
            yield "model.trainable_modules is empty, so nothing would learn: name modules, or null for all"


@dataclass(frozen=True)
class PromptsConfig:
    """How a user's prompts are simulated; names and defaults as in SAM 2's published training."""

    prob_to_use_pt_input: float = 0.5
    """Probability of clicks or a box; otherwise the true mask is the prompt. One-frame clips always use
    clicks, unless this is 0."""
    prob_to_use_box_input: float = 0.5
    """Under point input: probability of a box instead of the first click, per conditioning frame."""
    num_init_cond_frames: int = 2
    """Frames with a first prompt, at most; the clip's first frame is always one of them."""
    rand_init_cond_frames: bool = True
    """Draw their number between 1 and num_init_cond_frames; false: always the maximum."""
    num_frames_to_correct: int = 2
    """Under point input: frames that get correction clicks, at most; conditioning frames first."""
    rand_frames_to_correct: bool = True
    """Draw their number between the conditioning frames' and num_frames_to_correct; false: always the maximum."""
    num_correction_pt_per_frame: int = 7
    """Correction clicks on each corrected frame."""
    prob_to_sample_from_gt: float = 0.1
    """Probability that a correction click is drawn from the true mask instead of from the error region."""
    add_all_frames_to_correct_as_cond: bool = True
    """A corrected frame becomes a conditioning frame for the rest of the clip."""
    box_noise: float = 0.1
    """Largest shift of a box side, as a fraction of the box's width or height."""
    box_noise_bound_px: int = 20
    """Largest shift of a box side, pixels."""

    def problems(self) -> Iterator[str]:
        for name in ("prob_to_use_pt_input", "prob_to_use_box_input", "prob_to_sample_from_gt"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"prompts.{name}={getattr(self, name)} must lie between 0 and 1"
        if self.num_init_cond_frames < 1:
            yield f"prompts.num_init_cond_frames={self.num_init_cond_frames} must be at least 1"
        if self.prob_to_use_pt_input > 0 and self.num_frames_to_correct < self.num_init_cond_frames:
            yield (
                f"prompts.num_frames_to_correct={self.num_frames_to_correct} must be at least "
                f"prompts.num_init_cond_frames={self.num_init_cond_frames}: conditioning frames are corrected first"
            )
        for name in ("num_correction_pt_per_frame", "box_noise", "box_noise_bound_px"):
            if getattr(self, name) < 0:
                yield f"prompts.{name}={getattr(self, name)} must not be negative"


@dataclass(frozen=True)
class LossConfig:
    """Weights and shapes of the loss terms, as in SAM 2's published training."""

    loss_mask: float = 20.0
    """Weight of the focal loss on mask logits."""
    loss_dice: float = 1.0
    """Weight of the Dice loss."""
    loss_iou: float = 1.0
    """Weight of the error of the predicted IoU."""
    loss_class: float = 1.0
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

    def problems(self) -> Iterator[str]:
        weights = [self.loss_mask, self.loss_dice, self.loss_iou, self.loss_class]
        if min(weights) < 0 or max(weights) <= 0:
            yield f"loss weights {weights} must not be negative, and at least one must be above 0"


@dataclass(frozen=True)
class EvaluationConfig:
    """How videos are evaluated, in validations and by the command evaluate.py."""

    prompt: str = "mask"
    """What the network is told of an object on its first frame: mask, box, click:<n> (n clicks there), or
    interactive:<n> (n rounds of a corrective click on the worst frame)."""
    protocol: Literal["davis", "sav"] = "davis"
    """Frames that count. davis: neither an object's first frame nor the video's last; sav: all but the first."""
    guard_dataset: VosDatasetConfig | None = None
    """Another dataset, of what the network must not forget: evaluated with the starting and with the best weights."""
    save_masks: bool = True
    """Keep the masks predicted in the newest and in the best validation as PNGs beside the scores."""

    def problems(self) -> Iterator[str]:
        kind, colon, count = self.prompt.partition(":")
        known = (kind in ("mask", "box") and not colon) or (
            kind in ("click", "interactive") and count.isdigit() and int(count) > 0
        )
        if not known:
            yield f"evaluation.prompt={self.prompt!r} must be mask, box, click:<n> or interactive:<n>, such as click:3"
        if self.guard_dataset is not None:
            yield from self.guard_dataset.problems_at("evaluation.guard_dataset")


@dataclass(frozen=True)
class VisualizationConfig:
    """Pictures of predictions in the report, in TensorBoard and as GIFs."""

    enabled: bool = True
    """Make pictures: film strips of validations in the report and in TensorBoard, and those below."""
    train_every_n_steps: int = 0
    """A film strip of a training clip in TensorBoard, every so many steps; 0: none. It costs a forward pass."""
    val_first_batch_every_n_epochs: int = 1
    """visualization/*.gif of the first validation video, at the first validation after every so many epochs; 0: none.
    Needs evaluation.save_masks."""
    max_length: int = 8
    """Frames of a film strip or GIF, at most."""
    stride: int = 1
    """Frames from one picture of a strip or GIF to the next, at least."""

    def problems(self) -> Iterator[str]:
        for name in ("train_every_n_steps", "val_first_batch_every_n_epochs"):
            if getattr(self, name) < 0:
                yield f"visualization.{name}={getattr(self, name)} must be 0 or more"
        for name in ("max_length", "stride"):
            if getattr(self, name) < 1:
                yield f"visualization.{name}={getattr(self, name)} must be at least 1"


@dataclass(frozen=True)
class VosConfig(RunConfig):
    """Everything that a training run for video object segmentation depends on, besides code and data."""

    metrics: ClassVar[tuple[str, ...]] = METRICS
    """What a validation measures."""

    task: str = "vos"
    """What is trained: vos, video object segmentation."""
    dataset: VosDatasetConfig = field(default_factory=VosDatasetConfig)
    val_dataset: VosDatasetConfig | None = None
    """Videos that are evaluated and not trained on; the same keys as dataset. null: see dataset.val_fraction."""
    transforms: TransformsConfig = field(default_factory=TransformsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    visualization: VisualizationConfig = field(default_factory=VisualizationConfig)

    @property
    def picture_interval(self) -> int:
        return self.visualization.train_every_n_steps if self.visualization.enabled else 0

    @property
    def max_bad_fraction(self) -> float:
        return self.dataset.max_bad_fraction

    def how_to_validate(self) -> str:
        validates = self.val_dataset is not None or self.dataset.val_fraction > 0
        return "" if validates else "set val_dataset or dataset.val_fraction"

    def problems(self) -> Iterator[str]:
        """A sentence for every value that cannot work."""
        yield from super().problems()
        if self.val_dataset is not None:
            yield from self.val_dataset.problems_at("val_dataset")
        if self.scratch.num_frames == 1 and self.prompts.prob_to_use_pt_input == 0:
            yield (
                "scratch.num_frames=1 with prompts.prob_to_use_pt_input=0: the only frame's mask is given, so there is "
                "nothing to learn; set scratch.num_frames to 2 or more, or train with clicks (prompts=published)"
            )
        synthetic = self.dataset.synthetic
        if self.dataset.dataset_type == "synthetic" and synthetic.num_frames < self.scratch.num_frames:
            yield (
                f"dataset.synthetic.num_frames={synthetic.num_frames} is less than "
                f"scratch.num_frames={self.scratch.num_frames}: a clip would not fit"
            )
