"""The command line: `sam2-training VERB ...`, and the scripts in training/ that run one verb each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam2_training import __version__
from sam2_training.commands.command import find_command, run_command
from sam2_training.core.errors import exit_code_lines
from sam2_training.core.places import SCRIPTS


@dataclass(frozen=True)
class Verb:
    """What is known of a verb before its module is imported; scripts/launcher/verbs.sh reads the table as well."""

    summary: str
    data: str = ""
    """What the user's data must hold: "masks" (videos with masks), "videos", or nothing: the verb needs no data."""
    gpu: bool = True
    """Whether it computes on a GPU where there is one."""
    hidden: bool = False
    """Left out of --help: started by other verbs."""


VERBS = {
    "train": Verb("fine-tune SAM 2.1 on videos with masks", data="masks"),
    "evaluate": Verb("score weights on videos with masks", data="masks"),
    "predict": Verb("track objects through a video", data="videos"),
    "convert": Verb("write a dataset of any format as folders of masks and as COCO-video", data="videos", gpu=False),
    "export": Verb("write slim weights that stock sam2 loads", gpu=False),
    "demo": Verb("train a small network on generated clips and show what it learned"),
    "health": Verb("tell whether a command on this host is alive", gpu=False),
    "needs": Verb("print what a run needs from its machine", data="masks", gpu=False),
    "logging_service": Verb("hand the values of a run to a service such as W&B", gpu=False, hidden=True),
    "torchrun_agent": Verb("run torchrun for a command that asks for several processes", hidden=True),
}
"""A new verb is a line here and a module of its name in commands/."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `sam2-training ...` and returns the exit code."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    return run_command(arguments.verb, [*_defaults(arguments), *arguments.arguments])


def script(file: str) -> Callable[[], int]:
    """The main function of a script in training/: runs the verb that the script is named after, or, for run.py, any.

    Takes the scripts' folder off `sys.path`: `evaluate`, for one, is also the name of another package. Submodules of
    this package are found without it.
    """
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != SCRIPTS]
    path = Path(file)
    return main if path.stem == "run" else lambda: run_command(path.stem, sys.argv[1:], prog=path.name)


def _parser() -> argparse.ArgumentParser:
    width = max(len(name) for name, verb in VERBS.items() if not verb.hidden)
    verbs = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items() if not verb.hidden]
    parser = argparse.ArgumentParser(
        prog="sam2-training",
        usage="sam2-training [-h] [--version] VERB ...",
        description="Fine-tune SAM 2.1 on video object segmentation data, and report J&F before and after.",
        epilog="\n".join(["verbs (sam2-training VERB --help):", *verbs, "", "exit codes:", *exit_code_lines()]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sam2-training {__version__}")
    # For launchers, which need not know what a verb takes: before the verb, options are defaults for it.
    parser.add_argument("-c", "--config", help=argparse.SUPPRESS)
    parser.add_argument("--num-gpus", help=argparse.SUPPRESS)
    parser.add_argument("--data", nargs=2, metavar=("FRAMES", "MASKS"), help=argparse.SUPPRESS)
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="what to do; see below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _defaults(arguments: argparse.Namespace) -> list[str]:
    """The options before the verb, as words of its command line, without those that it does not take."""
    shared = find_command(arguments.verb).shared
    words: list[str] = []
    if arguments.config is not None and "config" in shared:
        words += ["--config", arguments.config]
    if arguments.num_gpus is not None and "num_gpus" in shared:
        words += ["--num-gpus", arguments.num_gpus]
    if arguments.data is not None and VERBS[arguments.verb].data == "masks":
        frames, masks = arguments.data
        words += [f"dataset.img_folder={frames}", f"dataset.gt_folder={masks}"]
    return words
