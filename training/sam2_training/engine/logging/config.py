"""The section logging: where a run's values and pictures go besides its own folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sam2_training.core.settings import setting

LoggerName = Literal["csv", "tensorboard", "wandb", "swanlab", "mlflow"]
NAMES: tuple[LoggerName, ...] = ("csv", "tensorboard", "wandb", "swanlab", "mlflow")
ALWAYS: tuple[LoggerName, ...] = ("csv", "tensorboard")
"""Files in the run's folder, which every run writes."""


def logger_names(value: Any) -> Any:
    """A list of loggers for other spellings: one name, null, or a class such as WandbLogger."""
    entries = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return [_logger_name(entry) for entry in entries]


def _logger_name(entry: Any) -> Any:
    name = str(entry).lower().removesuffix("logger")
    if name not in NAMES:
        classes = "CSVLogger, TensorBoardLogger, WandbLogger, SwanLabLogger, MLFlowLogger"
        raise ValueError(f"must be null, or one or a list of {', '.join(NAMES)}, also written {classes}")
    return name


@dataclass(frozen=True)
class LoggingConfig:
    """Loggers. metrics.csv and TensorBoard's event files are written by every run; services come on top."""

    logger_type: tuple[LoggerName, ...] = setting((), read=logger_names)
    """Services that get the values besides: wandb, swanlab, mlflow; one, a list, or null for none. Class names of
    Lightning such as WandbLogger mean the same. csv and tensorboard may be named, and are written in any case."""
    use_wandb: bool = setting(False, aliases=("use_wandb",))
    """The same as wandb in logger_type."""
    use_swanlab: bool = setting(False, aliases=("use_swanlab",))
    """The same as swanlab in logger_type."""
    use_mlflow: bool = setting(False, aliases=("use_mlflow",))
    """The same as mlflow in logger_type."""
    project: str = setting(
        "sam2-training",
        aliases=(
            "wandb_project",
            "swanlab_project",
            "mlflow_experiment",
            "logging.wandb_project",
            "logging.experiment",
        ),
    )
    """The project in W&B and SwanLab, the experiment in MLflow."""
    name: str | None = None
    """The run's name there; null: the last two parts of its folder."""
    mode: Literal["online", "offline"] = setting("online", aliases=("wandb_mode", "swanlab_mode", "logging.wandb_mode"))
    """offline: W&B and SwanLab write into the run's folder only, to be sent later with their command sync; MLflow takes
    no server."""
    mlflow_tracking_uri: str | None = setting(None, aliases=("mlflow_tracking_uri", "logging.tracking_uri"))
    """Where MLflow keeps runs, such as http://host:5000; null: the variable MLFLOW_TRACKING_URI, else a database in the
    run's folder."""
    close_timeout_seconds: float = setting(60.0, above=0, at_most=3600, unit="seconds")
    """How long the end of a run waits for each service to take what is left; after that the service is ended."""

    @property
    def services(self) -> tuple[str, ...]:
        """The services that are on, each once."""
        asked = {"wandb": self.use_wandb, "swanlab": self.use_swanlab, "mlflow": self.use_mlflow}
        return tuple(name for name, use in asked.items() if use or name in self.logger_type)

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        uri = self.mlflow_tracking_uri
        if uri is not None and "mlflow" not in self.services:
            yield f"{where}.mlflow_tracking_uri={uri} is set, but MLflow is not used: set {where}.logger_type=mlflow"
        elif uri is not None and self.mode == "offline" and uri.startswith(("http:", "https:", "databricks")):
            yield f"{where}.mode=offline, but {where}.mlflow_tracking_uri={uri} is a server: remove one of them"
