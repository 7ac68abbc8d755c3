"""The loggers of a run. Another one is a file in this folder, and a line here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from sam2_training.core.schema import as_dict
from sam2_training.engine.config import RunConfig
from sam2_training.engine.logging.service import LoggedRun, ServiceLogger
from sam2_training.engine.logging.sink import Logger
from sam2_training.engine.logging.tensorboard import TensorBoardLogger

LOGGERS: dict[str, Callable[[Path, int], Logger]] = {"tensorboard": TensorBoardLogger}
"""{name in messages: how it is opened, from the run's folder and the steps already done}."""


def service_openers(config: RunConfig, run_folder: Path, start_step: int) -> dict[str, Callable[[], Logger]]:
    """{name in messages: how it is opened} of the services that a run sends its values to."""
    values = as_dict(config)
    values["logging"]["name"] = config.logging.name or "/".join(run_folder.resolve().parts[-2:])
    run = LoggedRun(str(run_folder), start_step, values)
    seconds = config.logging.close_timeout_seconds
    return {name: functools.partial(ServiceLogger, name, run, seconds) for name in config.logging.services}
