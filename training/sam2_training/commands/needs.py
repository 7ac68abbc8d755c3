"""Command: needs. What a run needs from its machine, one key=value a line; the launcher asks this first."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from sam2_training.commands import train
from sam2_training.commands.command import Command
from sam2_training.core.errors import EXIT_FINISHED
from sam2_training.engine.config import PREFETCHED_BATCHES, continues_run
from sam2_training.engine.devices import num_processes
from sam2_training.engine.output_dir import unfinished_run
from sam2_training.vos.clips.config import TrainingSetConfig
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.names import resolve_network
from sam2_training.vos.model.published import published_files, published_name

MIB = 2**20
RESERVE_MIB = 256
"""Room in /dev/shm for what torch and NCCL exchange, per process."""
STATES = 3
"""A run's state in units of its weights: the weights and AdamW's two moments."""
OWN_NETWORK_BYTES = 200 * MIB
"""Weights of a network of the user's own, whose size is not known: between those of small and b+."""


def run(arguments: argparse.Namespace) -> int:
    """Prints the needs of the run that `train` would start with the same arguments; the exit code."""
    loaded = train.load(arguments, VosConfig)
    below = unfinished_run(loaded) if loaded.config.launcher.experiment_log_dir is None else None
    print("\n".join(needs(loaded.config, below or loaded.log_dir)))
    return EXIT_FINISHED


def needs(config: VosConfig, log_dir: Path) -> Iterator[str]:
    """weights: the published file it starts from, or nothing; shm_mib: room in /dev/shm; disk_mib: for checkpoints."""
    weights = None if continues_run(config, log_dir) else published_name(config.model)
    yield f"weights={weights or ''}"
    yield f"shm_mib={shared_memory_mib(config)}"
    yield f"disk_mib={checkpoints_mib(config, weights)}"


def shared_memory_mib(config: VosConfig) -> int:
    """MiB of /dev/shm that loader workers and the exchange between processes fill at most."""
    loader, dataset = config.loader, config.dataset
    mixed = [(dataset.of_set(number), one.batch_size) for number, one in enumerate(dataset.sets)]

    def batch_bytes(clips: TrainingSetConfig, batch_size: int | None) -> int:
        planes = -(-clips.max_num_objects // 8)  # masks travel as bit planes, eight objects a byte
        return (batch_size or loader.batch_size) * clips.num_frames * config.model.image_size**2 * (3 + planes)

    largest = max(batch_bytes(*one) for one in [*([(dataset, None)] if dataset.has_own_videos else []), *mixed])
    waiting = loader.num_workers * PREFETCHED_BATCHES + config.trainer.accumulate_grad_batches
    batches = waiting if loader.num_workers else 0
    per_process = RESERVE_MIB + -(-batches * largest // MIB)
    return per_process * num_processes(config)


def checkpoints_mib(config: VosConfig, weights: str | None) -> int:
    """MiB that the kept checkpoints, and one more while it is written, take at most."""
    known = published_files()
    name = weights or resolve_network(config.model.name).checkpoint_name
    weight_bytes = known[name].num_bytes if name else OWN_NETWORK_BYTES
    return -(-weight_bytes * STATES * (config.checkpoint.keep_last + 1) // MIB)


COMMAND = Command(
    description="Print what a run needs from its machine, one key=value a line: the published weights it starts from, "
    "MiB of /dev/shm and of disk. Takes the arguments of train.",
    run=run,
    shared=train.COMMAND.shared,
    add_arguments=train.add_arguments,
)
