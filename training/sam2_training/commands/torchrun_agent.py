"""Command: torchrun_agent. Internal: torchrun as `engine.processes.run_workers` starts it."""

from __future__ import annotations

from sam2_training.commands.command import Command
from sam2_training.engine.torchrun_agent import add_arguments, run

COMMAND = Command(
    description="Run torchrun for a command that asks for several processes.",
    run=run,
    shared=(),
    add_arguments=add_arguments,
)
