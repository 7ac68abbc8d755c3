"""What a logger is, and the names under which loggers show values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from sam2_training.core.columns import ColumnKind

if TYPE_CHECKING:
    from sam2_training.engine.task import Picture  # imports torch, which the processes of services do without

Values = Mapping[str, float]


class Logger(Protocol):
    """Where the values and pictures of a run go besides metrics.csv; lives on the main rank.

    Any call may raise OSError: that is shown once, and training continues.
    """

    def log(self, step: int, values: Values) -> None:
        """Takes the values after `step`, by name, such as losses/total, lr, timing/step_seconds, validation/loss."""
        ...

    def picture(self, name: str, picture: Picture, step: int) -> None: ...

    def summary(self, step: int, values: Values) -> None:
        """Takes the last validation's values, by name, from a run that has finished after `step`."""
        ...

    def close(self) -> None: ...


def step_scalars(values: Values, columns: Mapping[str, ColumnKind]) -> dict[str, float]:
    """The values of a training step under the names that loggers show. values: a row of metrics.csv."""
    seconds = max(values["step_seconds"], 1e-9)
    scalars = {}
    for name, value in values.items():
        kind = columns[name]
        if kind == "loss":
            scalars[f"losses/{name}"] = value
        elif kind == "score":
            scalars[f"scores/{name}"] = value
        elif kind in ("gradient", "rate"):
            scalars[name] = value
        elif kind == "count":
            scalars[f"timing/{name}_per_second"] = value / seconds
    return scalars | {
        "timing/step_seconds": seconds,
        "timing/data_wait_share": values["data_wait_seconds"] / seconds,
        "timing/memory_mib": values["memory_mib"],
    }


def validation_scalars(values: Values) -> dict[str, float]:
    """The values of a validation under the names that loggers show."""
    return {f"validation/{name.removeprefix('val_')}": value for name, value in values.items()}
