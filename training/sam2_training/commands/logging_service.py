"""Command: logging_service. Internal: a logger that is a service, as `engine.logging.service` starts it."""

from __future__ import annotations

from sam2_training.commands.command import Command
from sam2_training.engine.logging.service_process import add_arguments, run

COMMAND = Command(
    description="Hand the values of a run, from standard input, to a service.",
    run=run,
    shared=(),
    add_arguments=add_arguments,
)
