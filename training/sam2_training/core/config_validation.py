"""Configuration of what a training is worth: evaluation, best checkpoints, early stopping, pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sam2_training.core.config_data import DatasetConfig

Mode = Literal["min", "max"]

METRICS = ("val_j_and_f", "val_j", "val_f", "val_iou", "val_dice", "val_presence_accuracy", "val_loss")
"""What a validation measures; besides, each term of the loss as val_<term>, such as val_loss_mask."""


def mode_of(metric: str, mode: Mode | None) -> Mode:
    """Whether less or more of a metric is better: as configured, else less of a loss and more of anything else."""
    return mode or ("min" if "loss" in metric else "max")


def _problem_with_metric(where: str, metric: str) -> Iterator[str]:
    if metric not in METRICS and not metric.startswith("val_loss_"):
        yield f"{where}={metric} is not measured; a validation gives {', '.join(METRICS)} and val_loss_<term>"


@dataclass(frozen=True)
class EvaluationConfig:
    """How videos are evaluated, in validations and by the command evaluate.py."""

    prompt: str = "mask"
    """What the network is told of an object on its first frame: mask, box, click:<n> (n clicks there), or
    interactive:<n> (n rounds of a corrective click on the worst frame)."""
    protocol: Literal["davis", "sav"] = "davis"
    """Frames that count. davis: neither an object's first frame nor the video's last; sav: all but the first."""
    guard_dataset: DatasetConfig | None = None
    """Another dataset, of what the network must not forget: evaluated with the starting and with the best weights."""
    save_masks: bool = True
    """Keep the masks predicted in the newest and in the best validation as PNGs beside the scores."""

    def problems(self) -> Iterator[str]:
        kind, colon, count = self.prompt.partition(":")
        known = (kind in ("mask", "box") and not colon) or (
            kind in ("click", "interactive") and count.isdigit() and int(count) > 0
        )
        if not known:
            yield f"evaluation.prompt={self.prompt!r} must be mask, box, click:<n> or interactive:<n>, such as click:3"
        if self.guard_dataset is not None:
            yield from self.guard_dataset.problems_at("evaluation.guard_dataset")


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
        for metric in self.monitor:
            yield from _problem_with_metric("checkpointing.monitor", metric)
        if len(set(self.monitor)) < len(self.monitor):
            yield f"checkpointing.monitor={list(self.monitor)} names a metric twice"
        if self.save_top_k < -1:
            yield f"checkpointing.save_top_k={self.save_top_k} must be -1 (all), 0 (none) or more"
        if self.every_n_epochs < 1:
            yield f"checkpointing.every_n_epochs={self.every_n_epochs} must be at least 1"


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """When validations end a training before its last step. Names and meanings as in Lightning."""

    monitor: str | None = None
    """The metric that is watched; null: never stop early."""
    mode: Mode | None = None
    """max: more is better; min: less. null: less of a loss, more of anything else."""
    patience: int = 10
    """Validations in a row without improvement after which the training ends."""
    min_delta: float = 0.0
    """A change of no more than this is no improvement."""
    check_finite: bool = True
    """End when the metric is NaN or infinite."""
    stopping_threshold: float | None = None
    """End as soon as the metric is better than this."""
    divergence_threshold: float | None = None
    """End as soon as the metric is worse than this."""

    def problems(self) -> Iterator[str]:
        if self.monitor is not None:
            yield from _problem_with_metric("early_stopping.monitor", self.monitor)
        if self.patience < 1:
            yield f"early_stopping.patience={self.patience} must be at least 1"
        if self.min_delta < 0:
            yield f"early_stopping.min_delta={self.min_delta} must not be negative"


@dataclass(frozen=True)
class VisualizationConfig:
    """Pictures of predictions in the report, in TensorBoard and as GIFs."""

    enabled: bool = True
    """Make pictures: film strips of validations in the report and in TensorBoard, and those below."""
    train_every_n_steps: int = 0
    """A film strip of a training clip in TensorBoard, every so many steps; 0: none. It costs a forward pass."""
    val_first_batch_every_n_epochs: int = 1
    """visualization/*.gif of the first validation video, at the first validation after every so many epochs; 0: none.
    Needs evaluation.save_masks."""
    max_length: int = 8
    """Frames of a film strip or GIF, at most."""
    stride: int = 1
    """Frames from one picture of a strip or GIF to the next, at least."""

    def problems(self) -> Iterator[str]:
        for name in ("train_every_n_steps", "val_first_batch_every_n_epochs"):
            if getattr(self, name) < 0:
                yield f"visualization.{name}={getattr(self, name)} must be 0 or more"
        for name in ("max_length", "stride"):
            if getattr(self, name) < 1:
                yield f"visualization.{name}={getattr(self, name)} must be at least 1"
