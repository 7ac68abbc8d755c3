"""Configuration of the run itself: device, precision, steps, checkpoints, where things go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


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
