"""The loggers of a run. Another one is a file in this folder, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sam2_training.engine.logging.sink import Logger
from sam2_training.engine.logging.tensorboard import TensorBoardLogger

LOGGERS: dict[str, Callable[[Path, int], Logger]] = {"tensorboard": TensorBoardLogger}
"""{name in messages: how it is opened, from the run's folder and the steps already done}."""
