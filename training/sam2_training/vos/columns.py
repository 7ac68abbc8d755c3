"""Kinds of the values in metrics.csv and in the history of validations."""

from __future__ import annotations

from sam2_training.core.columns import ColumnKind
from sam2_training.vos.metrics.names import PREFIXES, SCORE_NAMES, loss_names


def column_kinds(loss_type: str) -> dict[str, ColumnKind]:
    """{name: kind} of the losses of a step (loss.type), and of what a validation measures on each of its sets."""
    losses = loss_names(loss_type)
    kinds: dict[str, ColumnKind] = dict.fromkeys(("total", *losses), "loss")
    for prefix in PREFIXES.values():
        kinds |= dict.fromkeys((f"{prefix}{name}" for name in SCORE_NAMES), "score")
        kinds |= dict.fromkeys((f"{prefix}{name}" for name in ("loss", *losses)), "loss")
    return kinds
