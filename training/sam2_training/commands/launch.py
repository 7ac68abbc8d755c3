"""Starting work in this process as a rank, or in several processes of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sam2_training.core.places import start_words
from sam2_training.engine.config import LoadedConfig, RunConfig
from sam2_training.engine.devices import check_devices, num_processes
from sam2_training.engine.folder_lock import lock_for_ranks
from sam2_training.engine.processes import STATUS, run_workers
from sam2_training.engine.run import run_rank
from sam2_training.tasks import task_class


def start_ranks(verb: str, argv: Sequence[str], config: RunConfig, folder: Path) -> int:
    """Runs a verb as launcher.gpus_per_node processes on this machine; the exit code, also in the folder's status.

    Raises ConfigError when the machine lacks the devices, or another start works in the folder.
    """
    check_devices(config)
    script, *words = start_words(verb)
    with lock_for_ranks(folder):
        return run_workers(Path(script), [*words, *argv], num_processes(config), folder / STATUS)


def train_in_this_process(loaded: LoadedConfig[RunConfig]) -> int:
    """Trains as one rank (the only one, or one that torchrun started); the exit code, also in run_status.json."""
    return run_rank(loaded, task_class(loaded.config))
