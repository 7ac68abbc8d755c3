"""Command: export."""

from __future__ import annotations

import argparse
from pathlib import Path

from sam2_training.commands.command import Command
from sam2_training.commands.failures import require_writable_output
from sam2_training.core.errors import EXIT_FINISHED, ConfigError
from sam2_training.core.outputs import OutputFolder
from sam2_training.core.terminal import say
from sam2_training.engine.heartbeat import command_heartbeat
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of export."""
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="the file to write, .pt or .safetensors"
    )
    parser.add_argument("--fp16", action="store_true", help="store numbers in 16 bits: half the size, rounded")
    parser.add_argument(
        "--adapters", action="store_true", help="of a run with model.lora: write the adapters alone, a few MB"
    )
    parser.add_argument("--safetensors", action="store_true", help="write safetensors (needs that package)")


def run(arguments: argparse.Namespace) -> int:
    """Writes and verifies the file, and prints what it is; the exit code."""
    if arguments.adapters and (arguments.fp16 or arguments.safetensors):
        raise ConfigError("--adapters goes with neither --fp16 nor --safetensors: merge the adapters first")
    config = load_config(arguments.config, arguments.overrides, VosConfig).config
    # torch takes a second or two to import; nothing that needs it has been asked for until here.
    from sam2_training.vos.export.export_weights import check_format, export_weights

    check_format(arguments.checkpoint, arguments.output, arguments.safetensors)
    inputs = {**config.inputs(), "--checkpoint": arguments.checkpoint, "--config": arguments.config}
    output = OutputFolder(arguments.output.parent, "--output", inputs)
    output.check([arguments.output.name])
    require_writable_output(output.folder)
    if arguments.adapters:
        return _export_adapters(arguments, output)
    say("Writing, then verifying with stock sam2 on the CPU ...")
    with command_heartbeat():
        made = export_weights(config, arguments.checkpoint, arguments.output, arguments.fp16, arguments.safetensors)
    output.record([arguments.output.name])
    say(f"before    {made.bytes_before:>13,} bytes  {arguments.checkpoint}")
    say(f"after     {made.bytes_after:>13,} bytes  {made.path}  ({made.num_tensors} tensors)")
    say(f"sha256    {made.sha256}")
    say("verified  loaded strictly by stock sam2; its masks equal ours on a generated clip")
    if arguments.fp16:
        say(f"fp16      mean IoU with the masks of the unrounded weights: {made.iou_with_checkpoint:.4f}")
    return EXIT_FINISHED


def _export_adapters(arguments: argparse.Namespace, output: OutputFolder) -> int:
    from sam2_training.vos.model.adapter_files import write_adapters

    number = write_adapters(arguments.checkpoint, arguments.output)
    output.record([arguments.output.name])
    say(f"before    {Path(arguments.checkpoint).stat().st_size:>13,} bytes  {arguments.checkpoint}")
    say(f"after     {arguments.output.stat().st_size:>13,} bytes  {arguments.output}  (adapters of {number} layers)")
    say(
        "evaluate, predict and export take this file as --checkpoint, with model.checkpoint=<what the run started from>"
    )
    return EXIT_FINISHED


COMMAND = Command(
    description="Write a checkpoint's weights, and nothing else, to a file that stock sam2 loads; stock sam2 verifies "
    "it before it gets its name.",
    run=run,
    shared=("config", "checkpoint", "overrides"),
    add_arguments=add_arguments,
)
