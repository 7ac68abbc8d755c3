"""TensorBoard: event files in <run>/tensorboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sam2_training.engine.logging.sink import Values
from sam2_training.engine.task import Picture


class TensorBoardLogger:
    """Implements `Logger`. The files appear with the first value."""

    def __init__(self, run_folder: Path, start_step: int) -> None:
        """start_step: steps already done; what older starts wrote beyond it is hidden."""
        self._folder, self._start_step = run_folder / "tensorboard", start_step
        self._writer: Any = None

    def log(self, step: int, values: Values) -> None:
        writer = self._opened()
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    def picture(self, name: str, picture: Picture, step: int) -> None:
        self._opened().add_image(name, picture, step, dataformats="HWC")

    def summary(self, step: int, values: Values) -> None:
        return  # event files have none, and the values are there

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _opened(self) -> Any:
        if self._writer is None:
            # Imported after the first step has been shown: it takes 0.2 s, with a cold disk more.
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=self._start_step + 1, flush_secs=30)
        return self._writer
