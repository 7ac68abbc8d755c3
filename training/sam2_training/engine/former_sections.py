"""Sections and rules that are about to move to the fields they speak of."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sam2_training.core.schema import flatten

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class ScratchConfig:
    """The numbers that users change most, named as in SAM 2's own recipes."""

    resolution: int = 1024
    """Side of the square network input, pixels; a multiple of 32 (Hiera's strides)."""
    train_batch_size: int = 1
    """Clips per device in one forward pass."""
    num_train_workers: int = 2
    """Loader processes per device; 0 loads in the training process. Results do not depend on it."""
    num_frames: int = 1
    """Frames per clip."""
    max_num_objects: int = 3
    """Objects per clip, at most; chosen at random among those visible in the clip's first frame."""
    num_epochs: int = 10
    """Passes over the dataset (times dataset.multiplier)."""
    base_lr: float = 5.0e-6
    """Learning rate at the start of the schedule, for everything but the image encoder."""
    vision_lr: float = 3.0e-6
    """Learning rate of the image encoder."""

    def problems(self) -> Iterator[str]:
        if self.resolution < 32 or self.resolution % 32:
            low = max(32, self.resolution // 32 * 32)
            yield f"scratch.resolution={self.resolution} is not a multiple of 32; nearest: {low} or {low + 32}"
        for name in ("train_batch_size", "num_frames", "max_num_objects", "num_epochs"):
            if getattr(self, name) < 1:
                yield f"scratch.{name}={getattr(self, name)} must be at least 1"
        if self.num_train_workers < 0:
            yield f"scratch.num_train_workers={self.num_train_workers} must be 0 or more"
        for name in ("base_lr", "vision_lr"):
            if getattr(self, name) < 0:
                yield f"scratch.{name}={getattr(self, name)} must not be negative"


@dataclass(frozen=True)
class CheckpointingConfig:
    """Which weights are kept besides the newest states (those: checkpoint.*)."""

    monitor: tuple[str, ...] = ("val_j_and_f",)
    """Metrics whose best weights are kept as checkpoints/best_<metric>.pt."""
    mode: Mode | None = None
    """max: more is better; min: less. null: less of a loss, more of anything else."""
    save_top_k: int = 1
    """How many of the best weights are kept per metric; with more than one, also as best_<metric>_step_<n>.pt.
    -1: all, 0: none."""
    save_last: bool = False
    """Give the newest state also the name checkpoints/last.pt (beside checkpoint.pt)."""
    every_n_epochs: int = 1
    """Save the run's state at the end of every so many epochs."""

    def problems(self) -> Iterator[str]:
        if len(set(self.monitor)) < len(self.monitor):
            yield f"checkpointing.monitor={list(self.monitor)} names a metric twice"
        if self.save_top_k < -1:
            yield f"checkpointing.save_top_k={self.save_top_k} must be -1 (all), 0 (none) or more"
        if self.every_n_epochs < 1:
            yield f"checkpointing.every_n_epochs={self.every_n_epochs} must be at least 1"


FREE_KEYS = (
    "scratch.num_train_workers",
    "scratch.train_batch_size",
    "trainer.accumulate_grad_batches",
    "trainer.log_every_n_steps",
    "trainer.enable_progress_bar",
    "trainer.collective_timeout_minutes",
    "trainer.accelerator",
    "trainer.val_check_interval",
    "trainer.check_val_every_n_epoch",
    "trainer.limit_val_batches",
    "trainer.num_sanity_val_steps",
    "trainer.validate_initial_weights",
    "early_stopping.*",
    "dataset.img_folder",
    "dataset.gt_folder",
    "dataset.file_list_txt",
    "model.checkpoint",
    "val_dataset.img_folder",
    "val_dataset.gt_folder",
    "val_dataset.file_list_txt",
    "evaluation.*",
    "visualization.*",
    "checkpointing.*",
    "checkpoint.*",
    "launcher.*",
    "submitit.*",
)
"""Keys that a resumed run may change freely. The two that size a batch are free because a resumed run keeps the
checkpoint's global batch, and files because their content is compared, not their place."""


def differences(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What changed between two `as_dict` configurations: (changes of the mathematics, harmless ones), as sentences."""
    before, after = flatten(old), flatten(new)
    matter: list[str] = []
    harmless: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            free = any(fnmatch.fnmatchcase(key, pattern) for pattern in FREE_KEYS)
            (harmless if free else matter).append(f"{key}: {before.get(key)!r} -> {after.get(key)!r}")
    return matter, harmless
