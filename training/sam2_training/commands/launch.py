"""Starting a run of the task that the recipe names, as one rank in this process."""

from __future__ import annotations

from sam2_training.engine.config import LoadedConfig, RunConfig
from sam2_training.engine.run import run_rank
from sam2_training.tasks import task_class


def train_in_this_process(loaded: LoadedConfig[RunConfig]) -> int:
    """Trains as one rank (the only one, or one that torchrun started); the exit code, also in run_status.json."""
    return run_rank(loaded, task_class(loaded.config))
