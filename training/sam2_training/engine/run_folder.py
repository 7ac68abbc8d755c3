"""The run's folder: neither among what is read, nor full of files that no run wrote."""

from __future__ import annotations

from pathlib import Path

from sam2_training.core.outputs import OutputFolder
from sam2_training.engine.config import LoadedConfig, RunConfig

_KNOWN_BY = ("config_resolved.yaml", "metrics.csv", "run_status.json", "logs/heartbeat", "checkpoints/checkpoint.pt")
"""A folder with one of these is a run's, also without a manifest."""
RUN_FILES = (
    *(*_KNOWN_BY, "config.yaml", "provenance.json", "report.html", "evaluation", "tensorboard", "visualization"),
    *("wandb", "swanlab", "mlflow"),
)
"""What a run writes, as far as somebody else's files could have these names."""


def run_folder(loaded: LoadedConfig[RunConfig]) -> OutputFolder:
    """The run's folder, to be checked for and claimed with `RUN_FILES` before the run begins.

    link_depth=1: every start looks, and a large dataset's files are too many to list each time.
    """
    option, inputs = "launcher.experiment_log_dir", loaded.config.inputs()
    return OutputFolder(loaded.log_dir, option, inputs, _is_run_folder, link_depth=1)


def _is_run_folder(folder: Path) -> bool:
    return any((folder / name).exists() for name in _KNOWN_BY)
