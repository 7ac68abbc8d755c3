"""The engine's part of a configuration: the loop, its loader, optimizer, checkpoints, and where a run's files go."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from sam2_training.core.aliases import in_written_words
from sam2_training.core.changes import differences
from sam2_training.core.schema import as_dict
from sam2_training.core.settings import setting
from sam2_training.engine.foreign_keys import FOREIGN_KEYS
from sam2_training.engine.logging.config import LoggingConfig
from sam2_training.engine.optimizer_config import OptimizerConfig, SchedulerConfig
from sam2_training.engine.trainer_config import TrainerConfig

Mode = Literal["min", "max"]

DEFAULT_PATIENCE = 10
PREFETCHED_BATCHES = 2
"""Batches that a loader worker prepares ahead."""


def checkpoint_folder(config: RunConfig, log_dir: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return log_dir / config.save_dir


def continues_run(config: RunConfig, log_dir: Path) -> bool:
    """Whether a start goes on from a checkpoint, and so needs no weights to start from."""
    return config.checkpoint.resume_from is not None or any(checkpoint_folder(config, log_dir).glob("step_*.pt"))


def mode_of(metric: str, mode: Mode | None) -> Mode:
    """Whether less or more of a metric is better: as configured, else less of a loss and more of anything else."""
    return mode or ("min" if "loss" in metric else "max")


def devices(value: Any) -> Any:
    """What launcher.gpus_per_node holds for Lightning's spellings of devices: "auto" for -1, 2 for "2", [0, 2] for
    "0,2". Raises ValueError for what means no device."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*(,\s*\d+\s*)*,?\s*", value):
        numbers = [int(number) for number in value.split(",") if number.strip()]
        value = numbers if "," in value else numbers[0]
    if value == -1 and not isinstance(value, bool):
        return "auto"
    is_number = isinstance(value, int) and not isinstance(value, bool)
    is_list = isinstance(value, list | tuple) and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
    if is_number and value < 1:
        raise ValueError("must be at least 1")
    if is_list and (not value or min(value) < 0 or len(set(value)) < len(value)):
        raise ValueError("must name one or more different GPUs, counted from 0")
    if not (is_number or is_list or value == "auto"):
        raise ValueError("must be auto, a number of processes, or a list of GPUs such as [0, 2]")
    return value


def level_name(value: Any) -> Any:
    """The name of a level in capitals."""
    name = value.upper() if isinstance(value, str) else value
    return {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(name, name)


@dataclass(frozen=True)
class LoaderConfig:
    """How samples are loaded while training. Results do not depend on the number of workers."""

    batch_size: int = setting(1, at_least=1, free=True, aliases=("scratch.train_batch_size", "dataset.batch_size"))
    """Samples per device in one forward pass. A resumed run keeps the global batch it began with."""
    num_workers: int = setting(2, at_least=0, free=True, aliases=("scratch.num_train_workers", "dataset.num_workers"))
    """Loader processes per device; 0 loads in the training process."""
    shuffle: bool = setting(True, aliases=("dataset.shuffle",))
    """Go through the samples in another order in each epoch, drawn from seed; false: always in the dataset's order."""
    timeout_minutes: float = setting(30.0, above=0, free=True, unit="minutes")
    """Longest time that reading a batch may take, and any file of the dataset in any command. After that a share is
    taken for stalled: exit code 5, with the file's name and stack traces in logs/stacks_*.txt."""


@dataclass(frozen=True)
class CheckpointConfig:
    """When the state is saved, which weights are kept besides, and what a start begins from."""

    resume_from: str | None = setting(None, aliases=("ckpt_path", "trainer.ckpt_path"))
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
    """The metric that is watched; null: never stop early, unless trainer.early_stopping_patience is set."""
    mode: Mode | None = None
    """max: more is better; min: less. null: less of a loss, more of anything else."""
    patience: int = setting(DEFAULT_PATIENCE, at_least=1)
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

    gpus_per_node: int | tuple[int, ...] | Literal["auto"] = setting(1, read=devices, aliases=("trainer.devices",))
    """Training processes on this machine (--num-gpus); on a CPU they share the cores. auto or -1: one for each GPU,
    without a GPU one. A list such as [0, 2]: one for each of these GPUs."""
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
    output_dir: str | None = setting(None, free=True)
    """Folder of runs: each has a folder <date>/<time>/ in it, with checkpoints/, config.yaml, .hydra/config.yaml and
    training.log. The same command again continues the newest run there that has the same configuration and is not
    finished. null: see launcher.experiment_log_dir, which also comes first."""
    save_dir: str = setting("checkpoints", free=True, aliases=("checkpointing.dirpath",))
    """Where checkpoints are kept, a folder inside the run's folder."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = setting("INFO", free=True, read=level_name)
    """The least important messages that the terminal and the log file show."""
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
    def stopping_rules(self) -> EarlyStoppingConfig:
        """The section early_stopping, with what trainer.early_stopping_patience says."""
        patience = self.trainer.early_stopping_patience
        if patience is None:
            return self.early_stopping
        monitor = self.early_stopping.monitor or next(iter(self.checkpoint.monitor), None)
        return replace(self.early_stopping, monitor=monitor, patience=patience)

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

    def identity(self) -> tuple[str, ...]:
        """Keys that a resumed run may change, and that still tell one run from another below output_dir."""
        return ("checkpoint.resume_from", *self.inputs())

    def how_to_validate(self) -> str:
        """What to set so that something is validated; "" if something is. A task says this of its own keys."""
        return ""

    def problems(self) -> Iterator[str]:
        """A sentence for all that does not go together across sections."""
        inside = Path(self.save_dir)
        if inside.is_absolute() or ".." in inside.parts or not inside.parts:
            yield f"save_dir={self.save_dir} must be a folder inside the run's folder, such as checkpoints"
        if isinstance(self.launcher.gpus_per_node, tuple) and self.trainer.accelerator in ("cpu", "mps"):
            yield (
                f"launcher.gpus_per_node={list(self.launcher.gpus_per_node)} names GPUs, but "
                f"trainer.accelerator={self.trainer.accelerator}: give a number of processes"
            )
        missing = self.how_to_validate()
        if self.trainer.limit_train_batches == 0 and (missing or not self.trainer.limit_val_batches):
            cure = " and ".join(filter(None, [missing, "leave trainer.limit_val_batches above 0"]))
            yield f"trainer.limit_train_batches=0 trains nothing, and nothing is validated either: {cure}"
        if self.early_stopping.monitor is not None and missing:
            yield f"early_stopping.monitor={self.early_stopping.monitor}, but nothing is validated: {missing}"
        patience = self.trainer.early_stopping_patience
        if patience is not None:
            yield from self._patience_problems(f"trainer.early_stopping_patience={patience}", patience, missing)

    def _patience_problems(self, found: str, patience: int, missing: str) -> Iterator[str]:
        if missing:
            yield f"{found}, but nothing is validated: {missing}"
        if self.stopping_rules.monitor is None:
            yield f"{found}, and no metric to watch: set early_stopping.monitor"
        if self.early_stopping.patience not in (DEFAULT_PATIENCE, patience):
            yield f"{found} and early_stopping.patience={self.early_stopping.patience} are one setting: write it once"

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
    notes: tuple[str, ...] = ()
    """What was changed for this machine, sentences for the start banner."""

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
