"""The engine's part of a configuration: the loop, its loader, optimizer, checkpoints, and where a run's files go."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from sam2_training.core.aliases import in_written_words
from sam2_training.core.changes import differences
from sam2_training.core.schema import as_dict
from sam2_training.core.settings import setting
from sam2_training.engine.foreign_keys import FOREIGN_KEYS
from sam2_training.engine.logging.config import LoggingConfig
from sam2_training.engine.optimizer_config import OptimizerConfig, SchedulerConfig

Mode = Literal["min", "max"]

DEFAULT_NONFINITE_BUDGET = 10
PREFETCHED_BATCHES = 2
"""Batches that a loader worker prepares ahead."""


def checkpoint_folder(log_dir: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return log_dir / "checkpoints"


def continues_run(config: RunConfig, log_dir: Path) -> bool:
    """Whether a start goes on from a checkpoint, and so needs no weights to start from."""
    return config.checkpoint.resume_from is not None or any(checkpoint_folder(log_dir).glob("step_*.pt"))


def mode_of(metric: str, mode: Mode | None) -> Mode:
    """Whether less or more of a metric is better: as configured, else less of a loss and more of anything else."""
    return mode or ("min" if "loss" in metric else "max")


@dataclass(frozen=True)
class LoaderConfig:
    """How samples are loaded while training. Results do not depend on the number of workers."""

    batch_size: int = setting(1, at_least=1, free=True, aliases=("scratch.train_batch_size",))
    """Samples per device in one forward pass. A resumed run keeps the global batch it began with."""
    num_workers: int = setting(2, at_least=0, free=True, aliases=("scratch.num_train_workers",))
    """Loader processes per device; 0 loads in the training process."""
    timeout_minutes: float = setting(30.0, above=0, free=True, unit="minutes")
    """Longest time that reading a batch may take, and any file of the dataset in any command. After that a share is
    taken for stalled: exit code 5, with the file's name and stack traces in logs/stacks_*.txt."""


@dataclass(frozen=True)
class TrainerConfig:
    """The loop."""

    accelerator: Literal["auto", "cpu", "cuda"] = setting("auto", free=True)
    """Where to train; auto: on a GPU if there is one."""
    precision: Literal["auto", "32", "bf16-mixed", "16-mixed"] = "auto"
    """Autocast type; auto: bf16-mixed on a GPU, 32 on a CPU. 16-mixed (GPU only) adds a gradient scaler."""
    gradient_clip_val: float | None = setting(0.1, above=0)
    """Largest L2 norm of the gradient; null: no clipping."""
    ema_decay: float | None = setting(None, above=0, below=1)
    """Average the weights that learn: after every step, average = d * average + (1 - d) * weights, in float32, with d
    rising to this (such as 0.999) as (1 + step) / (10 + step). The average is validated, and is what checkpoint.pt,
    best_*.pt and exports hold; training goes on with the weights themselves. null: no average."""
    accumulate_grad_batches: int = setting(1, at_least=1, free=True)
    """Batches per optimizer step. The loss is normalized over all of them, so 4 batches of 1 equal 1 batch of 4."""
    max_epochs: int = setting(10, at_least=1, aliases=("scratch.num_epochs",))
    """Passes over the training data."""
    max_steps: int | None = setting(None, at_least=1)
    """Stop after this many optimizer steps; the schedule then spans them. null: max_epochs decides."""
    log_every_n_steps: int = setting(10, at_least=1, free=True)
    """Log every n steps; losses stay on the device in between."""
    enable_progress_bar: bool = setting(True, free=True)
    """A progress bar on a terminal; elsewhere plain lines appear every log_every_n_steps anyway."""
    collective_timeout_minutes: float = setting(10.0, above=0, free=True, unit="minutes")
    """A rank that waits longer than this for the others ends the run with exit code 5. While they still read the
    dataset or validate, it counts from their last heartbeat."""
    on_nonfinite: Literal["stop", "skip"] = setting("stop", free=True)
    """When a loss or gradient is not finite: stop: end the run with exit code 3; skip: leave that step out."""
    nonfinite_budget: int = setting(DEFAULT_NONFINITE_BUDGET, at_least=1, free=True)
    """With on_nonfinite=skip: steps of the whole run that may be left out; one more ends it with exit code 3."""
    deterministic: bool = False
    """Ask torch for deterministic kernels only (GPU: slower). On CPU results are bitwise reproducible anyway."""
    val_check_interval: float | int = setting(1.0, free=True)
    """When to validate: a fraction of an epoch (1.0: at its end), or, as a whole number n, every n steps."""
    check_val_every_n_epoch: int = setting(1, at_least=1, free=True)
    """With val_check_interval as a fraction: validate every n epochs only."""
    limit_val_batches: float | int = setting(1.0, free=True)
    """How much of the validation set a validation takes: a fraction, or a number of its items; 0: no validation."""
    num_sanity_val_steps: int = setting(2, at_least=0, free=True)
    """Items of the validation set that a fresh start evaluates first, unless it evaluates all of them anyway."""
    limit_train_batches: float | int = 1.0
    """Steps of an epoch: a fraction, or a number; 0: train nothing, validate only."""
    validate_initial_weights: bool = setting(True, free=True)
    """Evaluate the starting weights, so that the result can be compared with them."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            yield f"{where}.precision=16-mixed needs a GPU; use bf16-mixed or 32 with {where}.accelerator=cpu"
        for name in ("val_check_interval", "limit_val_batches", "limit_train_batches"):
            value = getattr(self, name)
            if value < 0 or (isinstance(value, float) and value > 1):
                yield f"{where}.{name}={value} must be a fraction from 0.0 to 1.0, or a whole number"
        if self.on_nonfinite == "stop" and self.nonfinite_budget != DEFAULT_NONFINITE_BUDGET:
            yield f"{where}.nonfinite_budget={self.nonfinite_budget} needs {where}.on_nonfinite=skip"
        if self.val_check_interval == 0:
            yield f"{where}.val_check_interval=0: to validate never, set {where}.limit_val_batches=0"


@dataclass(frozen=True)
class CheckpointConfig:
    """When the state is saved, which weights are kept besides, and what a start begins from."""

    resume_from: str | None = None
    """Continue from this checkpoint of a run; null: from the newest intact one in the run's own folder, if any."""
    every_n_steps: int | None = setting(None, at_least=1)
    """Save every n steps; null: only by time, at the end of epochs and at the end of the run."""
    every_n_minutes: float | None = setting(10.0, above=0, unit="minutes")
    """Save when this much time has passed since the last save; null: not by time."""
    every_n_epochs: int = setting(1, at_least=1, aliases=("checkpointing.every_n_epochs",))
    """Save every n epochs."""
    keep_last: int = setting(2, at_least=2)
    """Newest checkpoints to keep; two at least, because one may turn out damaged."""
    save_last: bool = setting(False, aliases=("checkpointing.save_last",))
    """Give the newest state also the name checkpoints/last.pt (beside checkpoint.pt)."""
    max_failed_saves: int = setting(3, at_least=1)
    """A failed save (full disk) is logged and training continues; so many in a row end the run with exit code 4."""
    monitor: tuple[str, ...] = setting(("val_loss",), aliases=("checkpointing.monitor",))
    """Metrics whose best weights are kept as checkpoints/best_<metric>.pt."""
    mode: Mode | None = setting(None, aliases=("checkpointing.mode",))
    """max: more is better; min: less. null: less of a loss, more of anything else."""
    save_top_k: int = setting(1, at_least=-1, aliases=("checkpointing.save_top_k",))
    """How many of the best weights are kept per metric; with more than one, also as best_<metric>_step_<n>.pt.
    -1: all, 0: none."""
    allow_config_change: bool = False
    """Continue although keys that affect results differ from those the checkpoint was made with."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        if len(set(self.monitor)) < len(self.monitor):
            yield f"{where}.monitor={list(self.monitor)} names a metric twice"


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """When validations end a run before its last step. Names and meanings as in Lightning."""

    monitor: str | None = None
    """The metric that is watched; null: never stop early."""
    mode: Mode | None = None
    """max: more is better; min: less. null: less of a loss, more of anything else."""
    patience: int = setting(10, at_least=1)
    """Validations in a row without improvement after which the run ends."""
    min_delta: float = setting(0.0, at_least=0)
    """A change of no more than this is no improvement."""
    check_finite: bool = True
    """End when the metric is NaN or infinite."""
    stopping_threshold: float | None = None
    """End as soon as the metric is better than this."""
    divergence_threshold: float | None = None
    """End as soon as the metric is worse than this."""


@dataclass(frozen=True)
class LauncherConfig:
    """Processes, and the run's folder."""

    gpus_per_node: int = setting(1, at_least=1)
    """Training processes on this machine (--num-gpus); on a CPU they share the cores."""
    num_nodes: int = setting(1, at_least=1)
    """Machines. With more than one, start torchrun on each yourself: docs/training.md shows the command."""
    experiment_log_dir: str | None = None
    """The run's folder: checkpoints/, logs/, tensorboard/, config.yaml, config_resolved.yaml, metrics.csv.
    null: sam2_logs/<config name>."""


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
    timeout_hour: float | None = setting(None, unit="hours")
    """Time limit of the job."""
    name: str | None = None
    """Name of the job."""

    def problems(self, where: str) -> Iterator[str]:
        """Whatever is set: see above."""
        if self.use_cluster:
            yield (
                f"{where}.use_cluster=true (--use-cluster 1): submitting to SLURM is not available in this version; "
                "use --use-cluster 0 inside an sbatch script"
            )
        for name in ("partition", "account", "qos", "cpus_per_task", "timeout_hour", "name"):
            if getattr(self, name) is not None:
                yield f"{where}.{name} is set, but submitting to SLURM is not available in this version; remove it"


@dataclass(frozen=True)
class RunConfig:
    """What every training run depends on, besides code and data; a task's own configuration extends it."""

    metrics: ClassVar[tuple[str, ...]] = ("val_loss", "val_loss_*")
    """Names, or globs of names, of what the task's validation measures."""
    foreign_keys: ClassVar[Mapping[str, str]] = FOREIGN_KEYS
    """{key of other programs: what to write here}, for messages."""

    task: str = ""
    """What is trained: the name of a registered task."""
    seed: int = setting(123, at_least=0)
    """All randomness of a run derives from it."""
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    early_stopping: EarlyStoppingConfig = setting(default_factory=EarlyStoppingConfig, free=True)
    checkpoint: CheckpointConfig = setting(default_factory=CheckpointConfig, free=True)
    logging: LoggingConfig = setting(default_factory=LoggingConfig, free=True)
    launcher: LauncherConfig = setting(default_factory=LauncherConfig, free=True)
    submitit: SubmititConfig = setting(default_factory=SubmititConfig, free=True)

    @property
    def picture_interval(self) -> int:
        """Steps from one picture of a training batch to the next; 0: no pictures."""
        return 0

    @property
    def max_bad_fraction(self) -> float:
        """The run stops when more than this fraction of an epoch's samples was left out."""
        return 0.0

    def inputs(self) -> dict[str, str | None]:
        """{setting: file or folder that is read, and that no result may replace}. A task says this of its own keys."""
        return {}

    def how_to_validate(self) -> str:
        """What to set so that something is validated; "" if something is. A task says this of its own keys."""
        return ""

    def problems(self) -> Iterator[str]:
        """A sentence for all that does not go together across sections."""
        missing = self.how_to_validate()
        if self.trainer.limit_train_batches == 0 and (missing or not self.trainer.limit_val_batches):
            cure = " and ".join(filter(None, [missing, "leave trainer.limit_val_batches above 0"]))
            yield f"trainer.limit_train_batches=0 trains nothing, and nothing is validated either: {cure}"
        if self.early_stopping.monitor is not None and missing:
            yield f"early_stopping.monitor={self.early_stopping.monitor}, but nothing is validated: {missing}"

    def metric_problems(self) -> Iterator[str]:
        """A sentence for every monitored metric that the task's validation does not measure."""
        monitored = [("checkpoint.monitor", metric) for metric in self.checkpoint.monitor]
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
    """The recipe's name, <folder>/<stem>, which is also the run's folder below sam2_logs."""
    composed_yaml: str
    """As composed, interpolations not yet resolved."""
    written: Mapping[str, str] = field(default_factory=dict)
    """{key: the alias that the recipe or the command line uses for it}."""

    @property
    def log_dir(self) -> Path:
        """The run's folder."""
        return Path(self.config.launcher.experiment_log_dir or Path("sam2_logs") / self.name)

    def resolved_yaml(self) -> str:
        """Every key with its final value; a recipe in itself."""
        import yaml

        text: str = yaml.safe_dump(as_dict(self.config), sort_keys=False, allow_unicode=True, width=120)
        return text

    def differences_from(self, saved: dict[str, Any]) -> tuple[list[str], list[str]]:
        """(changes that affect results, changes that do not) from the configuration in a checkpoint, as sentences.

        Keys are named as this run's user wrote them.
        """
        matter, harmless = differences(type(self.config), saved, as_dict(self.config))
        return self._in_written_words(matter), self._in_written_words(harmless)

    def _in_written_words(self, sentences: list[str]) -> list[str]:
        return [in_written_words(sentence, self.written) for sentence in sentences]
