"""Configuration of the network and of what is optimized: model, prompts, loss, optimizer, schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


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
class LrGroupConfig:
    """Parameters whose name matches `pattern` (a glob) start the schedule at `lr`."""

    pattern: str
    """Glob of parameter names, such as image_encoder.*."""
    lr: float
    """Learning rate at the start of the schedule."""


@dataclass(frozen=True)
class LayerDecayOverrideConfig:
    """Parameters whose name matches `pattern` (a glob) take `value` instead of their layer's decay."""

    pattern: str
    """Glob of parameter names, such as *pos_embed*."""
    value: float
    """Factor on the learning rate, in place of the layer's."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its parameter groups. Later lr_groups win over earlier ones."""

    type: str = "AdamW"
    """Class name in torch.optim."""
    betas: tuple[float, float] | None = (0.9, 0.999)
    """null: not passed on, for optimizers without betas."""
    eps: float | None = 1.0e-8
    """null: not passed on, for optimizers without eps."""
    weight_decay: float = 0.1
    """Decoupled weight decay (AdamW)."""
    no_weight_decay: tuple[str, ...] = ("*bias*",)
    """Globs of parameter names without weight decay."""
    no_weight_decay_modules: tuple[str, ...] = ("torch.nn.LayerNorm",)
    """Module classes whose own parameters have no weight decay."""
    lr_groups: tuple[LrGroupConfig, ...] = ()
    """Own learning rates by parameter name, such as the image encoder's."""
    layer_decay: float = 1.0
    """Each block of the trunk named below learns this factor slower than the block after it; 1: no decay."""
    layer_decay_module: str = "image_encoder.trunk"
    """The module whose blocks layer_decay counts."""
    layer_decay_overrides: tuple[LayerDecayOverrideConfig, ...] = ()
    """Parameters of the trunk with a factor of their own."""

    def problems(self) -> Iterator[str]:
        if not 0 < self.layer_decay <= 1:
            yield f"optimizer.layer_decay={self.layer_decay} must lie above 0 and at most at 1"
        if self.weight_decay < 0:
            yield f"optimizer.weight_decay={self.weight_decay} must not be negative"
        for group in self.lr_groups:
            if group.lr < 0:
                yield f"optimizer.lr_groups: lr={group.lr} of {group.pattern!r} must not be negative"


@dataclass(frozen=True)
class SchedulerConfig:
    """The learning rate over the run, as a factor of each group's own rate."""

    type: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the factor over the run."""
    end_factor: float = 0.1
    """Factor at the end of the run (cosine, linear)."""
    warmup_fraction: float = 0.0
    """Fraction of the run over which the factor rises linearly from warmup_start_factor to 1."""
    warmup_start_factor: float = 0.01
    """Factor at the first step of the warm-up."""

    def problems(self) -> Iterator[str]:
        for name in ("end_factor", "warmup_start_factor"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"scheduler.{name}={getattr(self, name)} must lie between 0 and 1"
        if not 0 <= self.warmup_fraction < 1:
            yield f"scheduler.warmup_fraction={self.warmup_fraction} must lie between 0 and 1"
