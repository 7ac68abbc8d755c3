"""The devices that a configuration asks for, and what this machine has; torch is imported only where it must count."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TypeVar

from sam2_training.core.errors import ConfigError
from sam2_training.engine.config import LoadedConfig, RunConfig

ConfigT = TypeVar("ConfigT", bound=RunConfig)


def num_processes(config: RunConfig) -> int:
    """Processes on this machine: launcher.gpus_per_node, where auto means one for each GPU."""
    asked = config.launcher.gpus_per_node
    if isinstance(asked, tuple):
        return len(asked)
    if isinstance(asked, int):
        return asked
    return max(1, _num_gpus()) if config.trainer.accelerator in ("auto", "cuda") else 1


def listed_gpus(config: RunConfig) -> tuple[int, ...]:
    """The GPUs that launcher.gpus_per_node names, one for each process; (): it names none."""
    asked = config.launcher.gpus_per_node
    return asked if isinstance(asked, tuple) else ()


def check_devices(config: RunConfig) -> None:
    """Raises ConfigError when this machine has fewer GPUs than processes were asked for; on a CPU any number runs."""
    accelerator, wanted = config.trainer.accelerator, num_processes(config)
    if accelerator == "cpu":
        return
    if accelerator == "mps" and wanted > 1:
        raise ConfigError(f"--num-gpus {wanted}: trainer.accelerator=mps trains in one process; ask for 1")
    num_gpus = _num_gpus()
    if num_gpus == 0 and accelerator == "auto":
        cores = os.cpu_count() or 1
        if wanted > cores:
            raise ConfigError(
                f"--num-gpus {wanted}: this machine has no GPU, and {cores} CPU cores for {wanted} training processes. "
                f"Ask for at most {cores}."
            )
        return
    if wanted > num_gpus:
        raise ConfigError(
            f"--num-gpus {wanted}: this machine has {num_gpus} usable GPU(s). Ask for at most {max(num_gpus, 1)}, "
            "or train on the CPU with trainer.accelerator=cpu."
        )


def on_this_machine(loaded: LoadedConfig[ConfigT]) -> LoadedConfig[ConfigT]:
    """The configuration with what trainer.cpu_fallback changes on a machine without a GPU, and a note for each change.

    All commands that compute call it, and all ranks alike.
    """
    trainer, launcher = loaded.config.trainer, loaded.config.launcher
    if not trainer.cpu_fallback:
        return loaded
    has_gpu = trainer.accelerator in ("auto", "cuda") and _num_gpus() > 0
    notes = []
    if trainer.accelerator == "cuda" and not has_gpu:
        notes.append("no GPU: trainer.accelerator=cuda becomes cpu (trainer.cpu_fallback)")
        trainer = replace(trainer, accelerator="cpu")
        if listed_gpus(loaded.config):
            launcher = replace(launcher, gpus_per_node=1)
    if trainer.precision == "16-mixed" and not has_gpu:
        notes.append("without CUDA trainer.precision=16-mixed becomes auto (trainer.cpu_fallback)")
        trainer = replace(trainer, precision="auto")
    config = replace(loaded.config, trainer=trainer, launcher=launcher)
    return replace(loaded, config=config, notes=(*loaded.notes, *notes))


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
