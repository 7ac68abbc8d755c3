"""The engine's part of a configuration: the loop, its loader, optimizer, checkpoints, and where a run's files go."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

from sam2_training.core.schema import as_dict
from sam2_training.engine.former_sections import CheckpointingConfig, ScratchConfig

Mode = Literal["min", "max"]

PREFETCHED_BATCHES = 2
"""Batches that a loader worker prepares ahead."""


def mode_of(metric: str, mode: Mode | None) -> Mode:
    """Whether less or more of a metric is better: as configured, else less of a loss and more of anything else."""
    return mode or ("min" if "loss" in metric else "max")


@dataclass(frozen=True)
class TrainerConfig:
    """The loop."""

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto: on a GPU if there is one."""
    precision: Literal["auto", "32", "bf16-mixed", "16-mixed"] = "auto"
    """Autocast type; auto: bf16-mixed on a GPU, 32 on a CPU. 16-mixed (GPU only) adds a gradient scaler."""
    gradient_clip_val: float | None = 0.1
    """Largest L2 norm of the gradient; null: no clipping."""
    accumulate_grad_batches: int = 1
    """Batches per optimizer step. The loss is normalized over all of them, so 4 batches of 1 equal 1 batch of 4."""
    max_steps: int | None = None
    """Stop after this many optimizer steps; the schedule then spans them. null: scratch.num_epochs decides."""
    log_every_n_steps: int = 10
    """Losses stay on the device in between."""
    enable_progress_bar: bool = True
    """A progress bar on a terminal; elsewhere plain lines appear every log_every_n_steps anyway."""
    collective_timeout_minutes: float = 10.0
    """A rank that waits longer than this for the others ends the run with exit code 5. While they still read the
    dataset or track videos of a validation, it counts from their last heartbeat."""
    deterministic: bool = False
    """Ask torch for deterministic kernels only (GPU: slower). On CPU results are bitwise reproducible anyway."""
    val_check_interval: float | int = 1.0
    """When to validate: a fraction of an epoch (1.0: at its end), or, as a whole number, every so many steps."""
    check_val_every_n_epoch: int = 1
    """With val_check_interval as a fraction: only in every so many epochs."""
    limit_val_batches: float | int = 1.0
    """Videos that a validation takes: a fraction of them, or a number; 0: no validation."""
    num_sanity_val_steps: int = 2
    """Videos that a fresh start evaluates first, if it does not evaluate its starting weights on all of them anyway."""
    limit_train_batches: float | int = 1.0
    """Steps of an epoch: a fraction, or a number; 0: train nothing, validate only."""
    validate_initial_weights: bool = True
    """Evaluate the starting weights, so that the result can be compared with them."""

    def problems(self) -> Iterator[str]:
        if self.gradient_clip_val is not None and self.gradient_clip_val <= 0:
            yield f"trainer.gradient_clip_val={self.gradient_clip_val} must be above 0, or null for no clipping"
        for name in ("accumulate_grad_batches", "log_every_n_steps"):
            if getattr(self, name) < 1:
                yield f"trainer.{name}={getattr(self, name)} must be at least 1"
        if self.max_steps is not None and self.max_steps < 1:
            yield f"trainer.max_steps={self.max_steps} must be at least 1, or null"
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            yield "trainer.precision=16-mixed needs a GPU; use bf16-mixed or 32 with trainer.accelerator=cpu"
        if self.collective_timeout_minutes <= 0:
            yield f"trainer.collective_timeout_minutes={self.collective_timeout_minutes} must be above 0"
        yield from self._interval_problems()

    def _interval_problems(self) -> Iterator[str]:
        for name in ("val_check_interval", "limit_val_batches", "limit_train_batches"):
            value = getattr(self, name)
            if value < 0 or (isinstance(value, float) and value > 1):
                yield f"trainer.{name}={value} must be a fraction from 0.0 to 1.0, or a whole number"
        if self.val_check_interval == 0:
            yield "trainer.val_check_interval=0: to validate never, set trainer.limit_val_batches=0"
        if self.check_val_every_n_epoch < 1:
            yield f"trainer.check_val_every_n_epoch={self.check_val_every_n_epoch} must be at least 1"
        if self.num_sanity_val_steps < 0:
            yield f"trainer.num_sanity_val_steps={self.num_sanity_val_steps} must be 0 or more"


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


@dataclass(frozen=True)
class CheckpointConfig:
    """When the state is saved, and what a start begins from."""

    resume_from: str | None = None
    """Continue from this checkpoint of a run; null: from the newest intact one in the run's own folder, if any."""
    every_n_steps: int | None = None
    """Save every so many steps; null: only by time, at the end of each epoch and at the end of the run."""
    every_n_minutes: float | None = 10.0
    """Save when this much time has passed since the last save; null: not by time."""
    keep_last: int = 2
    """Newest checkpoints to keep, at least 2: if one is damaged, the one before it is used."""
    max_failed_saves: int = 3
    """A save that fails (disk full) is shown and training goes on; so many in a row end the run with exit code 4."""
    allow_config_change: bool = False
    """Continue although keys that change the mathematics differ from those the checkpoint was made with."""

    def problems(self) -> Iterator[str]:
        if self.every_n_steps is not None and self.every_n_steps < 1:
            yield f"checkpoint.every_n_steps={self.every_n_steps} must be at least 1, or null"
        if self.every_n_minutes is not None and self.every_n_minutes <= 0:
            yield f"checkpoint.every_n_minutes={self.every_n_minutes} must be above 0, or null"
        if self.keep_last < 2:
            yield f"checkpoint.keep_last={self.keep_last} must be at least 2: one may turn out damaged"
        if self.max_failed_saves < 1:
            yield f"checkpoint.max_failed_saves={self.max_failed_saves} must be at least 1"


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """When validations end a training before its last step. Names and meanings as in Lightning."""

    monitor: str | None = None
    """The metric that is watched; null: never stop early."""
    mode: Mode | None = None
    """max: more is better; min: less. null: less of a loss, more of anything else."""
    patience: int = 10
    """Validations in a row without improvement after which the training ends."""
    min_delta: float = 0.0
    """A change of no more than this is no improvement."""
    check_finite: bool = True
    """End when the metric is NaN or infinite."""
    stopping_threshold: float | None = None
    """End as soon as the metric is better than this."""
    divergence_threshold: float | None = None
    """End as soon as the metric is worse than this."""

    def problems(self) -> Iterator[str]:
        if self.patience < 1:
            yield f"early_stopping.patience={self.patience} must be at least 1"
        if self.min_delta < 0:
            yield f"early_stopping.min_delta={self.min_delta} must not be negative"


@dataclass(frozen=True)
class LauncherConfig:
    """Processes, and the run's folder."""

    gpus_per_node: int = 1
    """Training processes on this machine (--num-gpus); on a CPU they share the cores."""
    num_nodes: int = 1
    """Machines. With more than one, start torchrun on each yourself: docs/training.md shows the command."""
    experiment_log_dir: str | None = None
    """The run's folder: checkpoints/, logs/, tensorboard/, config.yaml, config_resolved.yaml, metrics.csv.
    null: sam2_logs/<config name>."""

    def problems(self) -> Iterator[str]:
        for name in ("gpus_per_node", "num_nodes"):
            if getattr(self, name) < 1:
                yield f"launcher.{name}={getattr(self, name)} must be at least 1"


@dataclass(frozen=True)
class SubmititConfig:
    """SLURM. Accepted so that existing recipes load; anything but the defaults is an error until it is built."""

    use_cluster: bool = False
    """Submit the run to SLURM (--use-cluster 1)."""
    partition: str | None = None
    """SLURM partition."""
    account: str | None = None
    """SLURM account."""
    qos: str | None = None
    """SLURM quality of service."""
    cpus_per_task: int | None = None
    """CPU cores per training process."""
    timeout_hour: float | None = None
    """Time limit of the job, hours."""
    name: str | None = None
    """Name of the job."""

    def problems(self) -> Iterator[str]:
        if self.use_cluster:
            yield (
                "submitit.use_cluster=true (--use-cluster 1): submitting to SLURM is not available in this version; "
                "use --use-cluster 0 inside an sbatch script"
            )
        for name in ("partition", "account", "qos", "cpus_per_task", "timeout_hour", "name"):
            if getattr(self, name) is not None:
                yield f"submitit.{name} is set, but submitting to SLURM is not available in this version; remove it"


@dataclass(frozen=True)
class RunConfig:
    """What every training run depends on, besides code and data; a task's own configuration extends it."""

    metrics: ClassVar[tuple[str, ...]] = ()
    """Names, or globs of names, of what the task's validation measures."""

    task: str = ""
    """What is trained: the name of a registered task. A recipe without it trains vos."""
    seed: int = 123
    """All randomness of a run derives from it."""
    scratch: ScratchConfig = field(default_factory=ScratchConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    checkpointing: CheckpointingConfig = field(default_factory=CheckpointingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    submitit: SubmititConfig = field(default_factory=SubmititConfig)

    @property
    def picture_interval(self) -> int:
        """Steps from one picture of a training batch to the next; 0: no pictures."""
        return 0

    @property
    def max_bad_fraction(self) -> float:
        """The run stops when more than this fraction of an epoch's samples was left out."""
        return 0.0

    def how_to_validate(self) -> str:
        """What to set so that something is validated; "" if something is. A task says this of its own keys."""
        return ""

    def problems(self) -> Iterator[str]:
        """A sentence for every value that cannot work."""
        if self.seed < 0:
            yield f"seed={self.seed} must be 0 or more"
        for section in dataclasses.fields(self):
            value = getattr(self, section.name)
            if hasattr(value, "problems"):
                yield from value.problems()
        missing = self.how_to_validate()
        if self.trainer.limit_train_batches == 0 and (missing or not self.trainer.limit_val_batches):
            cure = " and ".join(filter(None, [missing, "leave trainer.limit_val_batches above 0"]))
            yield f"trainer.limit_train_batches=0 trains nothing, and nothing is validated either: {cure}"
        if self.early_stopping.monitor is not None and missing:
            yield f"early_stopping.monitor={self.early_stopping.monitor}, but nothing is validated: {missing}"

    def problems_with_metrics(self) -> Iterator[str]:
        """A sentence for every monitored metric that the task's validation does not measure."""
        monitored = [("checkpointing.monitor", metric) for metric in self.checkpointing.monitor]
        if self.early_stopping.monitor is not None:
            monitored.append(("early_stopping.monitor", self.early_stopping.monitor))
        for key, metric in monitored:
            if not any(fnmatch.fnmatchcase(metric, known) for known in self.metrics):
                yield f"{key}={metric} is not measured; a validation gives {', '.join(self.metrics)}"


ConfigT_co = TypeVar("ConfigT_co", bound=RunConfig, covariant=True)


@dataclass(frozen=True)
class LoadedConfig(Generic[ConfigT_co]):
    """A checked configuration, and where it came from."""

    config: ConfigT_co
    name: str
    """The recipe's name, such as sam2.1_training/custom_finetune; names the run's folder."""
    composed_yaml: str
    """As composed, interpolations not yet resolved."""

    @property
    def log_dir(self) -> Path:
        """The run's folder."""
        return Path(self.config.launcher.experiment_log_dir or Path("sam2_logs") / self.name)

    def resolved_yaml(self) -> str:
        """Every key with its final value; a recipe in itself."""
        import yaml

        text: str = yaml.safe_dump(as_dict(self.config), sort_keys=False, allow_unicode=True, width=120)
        return text
