"""What all commands share: options, the parser around them, and the way in and out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from sam2_training.commands.failures import report_failure, report_stop
from sam2_training.core.errors import exit_code_lines
from sam2_training.core.terminal import accept_any_text
from sam2_training.core.text import shown_lines
from sam2_training.engine.preemption import StopAtOnce, StopInterrupt

SHARED_OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "config": (
        ("-c", "--config", "--config-name"),
        {
            "required": True,
            "help": "recipe, such as sam2.1_training/custom_finetune, or a YAML file; to use weights, the one that "
            "they were trained with",
        },
    ),
    "checkpoint": (
        ("--checkpoint",),
        {"required": True, "metavar": "FILE", "help": "weights: a run's checkpoint, published, or exported"},
    ),
    "num_gpus": (
        ("--num-gpus",),
        {"type": int, "metavar": "N", "help": "processes on this machine, one per GPU (launcher.gpus_per_node)"},
    ),
    "overrides": (
        ("overrides",),
        {"nargs": "*", "metavar": "key=value", "help": "settings, such as scratch.resolution=512"},
    ),
}
"""{name: (flags, what argparse is told)}: options that mean the same in every command that takes them."""


@dataclass(frozen=True)
class Command:
    """A verb: what it is for, what it takes and what it runs. Each module in commands/ defines one as COMMAND."""

    description: str
    run: Callable[[argparse.Namespace], int]
    """The exit code for parsed arguments; besides the options, they have `argv`, the words that they were parsed from.
    Raises TrainingError, OSError."""
    shared: Sequence[str] = ("config", "overrides")
    """Names in `SHARED_OPTIONS`."""
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    """Adds the command's own options."""
    meaning_of_1: str = ""
    """What exit code 1 says besides failures of no other code."""


def find_command(verb: str) -> Command:
    """The command of a verb. Imports its module, and no torch."""
    command: Command = import_module(f"sam2_training.commands.{verb}").COMMAND
    return command


def run_command(verb: str, argv: Sequence[str], prog: str | None = None) -> int:
    """Runs a verb with its command line and returns the exit code; expected failures are printed as sentences.

    prog: the name in usage lines. Wrong usage ends in SystemExit(2), --help in SystemExit(0), as always with argparse.
    """
    accept_any_text()
    command = find_command(verb)
    parser = _parser(command, prog or f"sam2-training {verb}")
    # Settings may stand anywhere between the options.
    parse = parser.parse_intermixed_args if "overrides" in command.shared else parser.parse_args
    arguments = parse(argv)
    arguments.argv = list(argv)
    with StopAtOnce() as stop:
        try:
            return command.run(arguments)
        except (Exception, StopInterrupt) as error:  # a library may have made another error of the interrupt
            return report_stop() if stop.has_interrupted else report_failure(error)


def _parser(command: Command, prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        description=command.description,
        epilog="\n".join(["exit codes:", *exit_code_lines(command.meaning_of_1)]),
        formatter_class=_HelpFormatter,
    )
    shared = [name for name in SHARED_OPTIONS if name in command.shared]
    for name in shared:
        if name != "overrides":
            _add(parser, name)
    if command.add_arguments is not None:
        command.add_arguments(parser)
    if "overrides" in shared:  # after a command's own positional arguments
        _add(parser, "overrides")
    return parser


def _add(parser: argparse.ArgumentParser, name: str) -> None:
    flags, settings = SHARED_OPTIONS[name]
    parser.add_argument(*flags, **settings)


class _Parser(argparse.ArgumentParser):
    """Shows words that it does not understand without what a terminal would obey in them."""

    def error(self, message: str) -> NoReturn:
        super().error(shown_lines(message))


class _HelpFormatter(argparse.HelpFormatter):
    """Keeps the line breaks of the table of exit codes."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)
