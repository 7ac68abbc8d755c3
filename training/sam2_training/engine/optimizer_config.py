"""The optimizer's part of a configuration: the class, its parameter groups, and the learning rate over the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sam2_training.core.settings import setting


@dataclass(frozen=True)
class LrGroupConfig:
    """Parameters whose name matches `pattern` (a glob) start the schedule at `lr`."""

    pattern: str
    """Glob of parameter names, such as encoder.*."""
    lr: float = setting(at_least=0)
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
    """Class name in torch.optim; any that needs no closure."""
    lr: float = setting(5.0e-6, at_least=0, aliases=("scratch.base_lr",))
    """Learning rate at the start of the schedule, for every parameter that no entry of lr_groups matches."""
    betas: tuple[float, float] | None = (0.9, 0.999)
    """Passed to classes that take them; null: to none."""
    eps: float | None = 1.0e-8
    """Passed to classes that take it; null: to none."""
    weight_decay: float = setting(0.1, at_least=0)
    """Weight decay, decoupled in AdamW."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the class by their names in torch, such as {momentum: 0.9, nesterov: true}."""
    no_weight_decay: tuple[str, ...] = ("*bias*",)
    """Globs of parameter names without weight decay."""
    no_weight_decay_modules: tuple[str, ...] = ("torch.nn.LayerNorm",)
    """Module classes whose own parameters have no weight decay."""
    lr_groups: tuple[LrGroupConfig, ...] = ()
    """Own learning rates by parameter name."""
    layer_decay: float = setting(1.0, above=0, at_most=1)
    """Each block of the module named below learns this factor slower than the block after it; 1: no decay."""
    layer_decay_module: str = ""
    """The module whose blocks layer_decay counts."""
    layer_decay_overrides: tuple[LayerDecayOverrideConfig, ...] = ()
    """Parameters of that module with a factor of their own."""


@dataclass(frozen=True)
class SchedulerConfig:
    """The learning rate over the run: a shape that spans it, or a class of torch.optim.lr_scheduler.

    With a class, what is null below is left to torch, except where a default is named. A key of another class is an
    error, unless it has the default that is named.
    """

    enabled: bool = True
    """false: the learning rates stay as they are, as with type=constant."""
    type: str = "cosine"
    """cosine, linear or constant: a factor on each group's own rate, from 1 to end_factor over the run. Or a class name
    in torch.optim.lr_scheduler, such as CosineAnnealingLR, StepLR, OneCycleLR or ReduceLROnPlateau."""
    interval: Literal["step", "epoch"] | None = None
    """How often a class is stepped; null: OneCycleLR and CyclicLR after every step, the others after every epoch, as
    in Lightning. ReduceLROnPlateau follows validations."""
    end_factor: float = setting(0.1, at_least=0, at_most=1)
    """Factor at the end of the run (cosine, linear)."""
    warmup_fraction: float = setting(0.0, at_least=0, below=1)
    """Fraction of the run over which a factor rises linearly from warmup_start_factor to 1, before the schedule."""
    warmup_start_factor: float = setting(0.01, at_least=0, at_most=1)
    """Factor at the first step of the warm-up."""
    monitor: str | None = None
    """The metric that ReduceLROnPlateau follows; null: the first of checkpoint.monitor."""
    T_max: int | None = setting(None, at_least=1)
    """CosineAnnealingLR: epochs (or steps) from the highest rate to the lowest; null: 10."""
    eta_min: float | None = setting(None, at_least=0)
    """CosineAnnealingLR: the lowest rate; null: 1e-6."""
    step_size: int | None = setting(None, at_least=1)
    """StepLR: epochs (or steps) from one fall to the next; null: 5."""
    gamma: float | None = setting(None, above=0)
    """StepLR, MultiStepLR, ExponentialLR: the factor of each fall; null: 0.1."""
    mode: str | None = None
    """ReduceLROnPlateau: min or max; null: as for the monitored metric in general."""
    factor: float | None = setting(None, above=0, below=1)
    """ReduceLROnPlateau: the factor of each fall; null: 0.5."""
    patience: int | None = setting(None, at_least=0)
    """ReduceLROnPlateau: validations without improvement before a fall; null: 5."""
    threshold: float | None = setting(None, at_least=0)
    """ReduceLROnPlateau: the smallest change that is an improvement; null: 1e-3."""
    threshold_mode: Literal["rel", "abs"] | None = None
    """ReduceLROnPlateau: whether threshold is relative; null: rel."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the class by their names in torch, such as {milestones: [10, 20]}."""
