"""Kinds of the values in metrics.csv and in the history of validations."""

from __future__ import annotations

from sam2_training.core.columns import ColumnKind
from sam2_training.vos.metrics.names import LOSS_NAMES, PREFIXES, SCORE_NAMES


def column_kinds() -> dict[str, ColumnKind]:
    """{name: kind} of the losses of a step, and of what a validation measures on each of its sets."""
    kinds: dict[str, ColumnKind] = dict.fromkeys(("total", *LOSS_NAMES), "loss")
    for prefix in PREFIXES.values():
        kinds |= dict.fromkeys((f"{prefix}{name}" for name in SCORE_NAMES), "score")
        kinds |= dict.fromkeys((f"{prefix}{name}" for name in ("loss", *LOSS_NAMES)), "loss")
    return kinds
