"""Names of what is measured, each declared here only; imports neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Mapping

SCORE_NAMES = ("j", "f", "j_and_f", "iou", "dice", "presence_accuracy")
"""The scores of an object, and their means over objects, in the order of scores.csv."""
TITLES = {"j_and_f": "J&F", "j": "J", "f": "F"}
"""The scores that reports show, the main one first, and their titles."""
LOSS_NAMES = ("loss_mask", "loss_dice", "loss_iou", "loss_class")
"""The terms of the training loss, loss.type=sam2."""
BCE_DICE_LOSS_NAMES = ("loss_bce", "loss_dice", "loss_soft_iou", "loss_class", "loss_temporal")
"""Those of loss.type=bce_dice."""

VALIDATION, RETENTION = "validation", "retention"
"""The sets of videos that a run measures: unseen videos, and videos of what the network must not forget. Also the
names of their folders below <run>/evaluation."""
PREFIXES = {VALIDATION: "val_", RETENTION: "retention_"}
"""How the names of a set's metrics begin."""

_MAIN = ("j_and_f", "loss")
METRIC_NAMES = (*_MAIN, *(name for name in SCORE_NAMES if name not in _MAIN))
"""What is measured on a set, the most important first; besides, each term of the loss."""
METRICS = (*(f"{PREFIXES[VALIDATION]}{name}" for name in METRIC_NAMES), f"{PREFIXES[VALIDATION]}loss_*")
"""What a configuration can watch; the last stands for each term of the loss, such as val_loss_mask."""


def loss_names(loss_type: str) -> tuple[str, ...]:
    """The terms of a type of loss."""
    return LOSS_NAMES if loss_type == "sam2" else BCE_DICE_LOSS_NAMES


def most_important_first(values: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a set in the order of `METRIC_NAMES`, then the others by name."""
    places = {name: place for place, name in enumerate(METRIC_NAMES)}
    return {name: values[name] for name in sorted(values, key=lambda name: (places.get(name, len(places)), name))}
