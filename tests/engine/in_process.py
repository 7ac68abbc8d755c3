"""Trains the second task inside the test's own process: a run takes a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sam2_training.engine.config import CheckpointConfig, LauncherConfig, LoadedConfig, OptimizerConfig, TrainerConfig
from sam2_training.engine.run import run_rank

from tests.engine.second_task import RegressionConfig, RegressionTask

STEPS = 6


def config(folder: Path, trainer: dict[str, Any] | None = None, **checkpoint: Any) -> RegressionConfig:
    """A run of 6 steps with a save at each; trainer, checkpoint: settings of these sections."""
    made = RegressionConfig(
        task="regression",
        trainer=TrainerConfig(**{"accelerator": "cpu", "max_steps": STEPS, "log_every_n_steps": 1, **(trainer or {})}),
        optimizer=OptimizerConfig(lr=0.01, no_weight_decay_modules=()),
        checkpoint=CheckpointConfig(**{"every_n_steps": 1, **checkpoint}),
        launcher=LauncherConfig(experiment_log_dir=str(folder)),
    )
    return replace(made, loader=replace(made.loader, batch_size=2, num_workers=0))


def train(asked: RegressionConfig, task: Callable[..., Any] = RegressionTask) -> int:
    """The exit code of a start; raises what the run raises."""
    return run_rank(LoadedConfig(asked, "second/task", "composed: true\n"), task)
