"""Command: export. `python training/export.py -c RECIPE --checkpoint FILE --output FILE [--fp16] [--safetensors]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sam2_training.core.errors import EXIT_FINISHED, TrainingError
from sam2_training.engine.config import LoadedConfig
from sam2_training.tasks import load_config
from sam2_training.vos.commands.failures import check_output_folder, report_failure
from sam2_training.vos.config import VosConfig


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = argparse.ArgumentParser(
        prog="export.py",
        description="Write a checkpoint's weights, and nothing else, to a file that stock sam2 loads; verified by "
        "stock sam2 before it gets its name.",
        epilog="Exit codes: 0 finished, 2 configuration, 4 checkpoint.",
    )
    parser.add_argument("-c", "--config", required=True, help="the recipe that the weights were trained with")
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="weights to export")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="the file to write, .pt or .safetensors"
    )
    parser.add_argument("--fp16", action="store_true", help="store numbers in 16 bits: half the size, rounded")
    parser.add_argument("--safetensors", action="store_true", help="write safetensors (needs that package)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, such as scratch.resolution=512")
    return parser.parse_intermixed_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exports as the command line says; the exit code."""
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    try:
        return run(arguments, load_config(arguments.config, arguments.overrides, VosConfig))
    except (TrainingError, OSError, KeyboardInterrupt) as error:
        return report_failure(error)


def run(arguments: argparse.Namespace, loaded: LoadedConfig[VosConfig]) -> int:
    """Writes and verifies the file, and says what it is; the exit code."""
    # torch takes a second or two to import; nothing that needs it has been asked for until here.
    from sam2_training.vos.export.export_weights import check_format, export_weights

    check_format(arguments.checkpoint, arguments.output, arguments.safetensors)
    check_output_folder(arguments.output.parent)
    print("Writing, then verifying with stock sam2 on the CPU ...", flush=True)
    made = export_weights(loaded.config, arguments.checkpoint, arguments.output, arguments.fp16, arguments.safetensors)
    print(f"before    {made.bytes_before:>13,} bytes  {arguments.checkpoint}")
    print(f"after     {made.bytes_after:>13,} bytes  {made.path}  ({made.num_tensors} tensors)")
    print(f"sha256    {made.sha256}")
    print("verified  loaded strictly by stock sam2; its masks equal ours on a generated clip")
    if arguments.fp16:
        print(f"fp16      mean IoU with the masks of the unrounded weights: {made.iou_with_checkpoint:.4f}")
    return EXIT_FINISHED
