"""Command: train. `python training/train.py -c sam2.1_training/custom_finetune [key=value ...]`."""

from __future__ import annotations

import argparse
import os
import sys

from sam2_training.core.errors import ConfigError, TrainingError, described
from sam2_training.core.places import PACKAGE
from sam2_training.engine.config import LoadedConfig, RunConfig
from sam2_training.tasks import ConfigT, load_config


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line as a namespace: config, overrides, num_gpus, num_nodes, use_cluster, check."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Fine-tune SAM 2.1 on videos with masks. Started again, it continues where it stopped.",
        epilog="Exit codes: 0 finished, 2 configuration, 3 loss not finite, 4 checkpoint, 5 hang, 6 data, "
        "75 stopped on request (start again to go on). All keys: docs/configuration.md.",
    )
    parser.add_argument(
        "-c", "--config", required=True, help="recipe, such as sam2.1_training/custom_finetune, or a YAML file"
    )
    parser.add_argument(
        "--num-gpus", type=int, metavar="N", help="processes on this machine, one a GPU (launcher.gpus_per_node)"
    )
    parser.add_argument("--num-nodes", type=int, metavar="N", help="machines (launcher.num_nodes)")
    parser.add_argument("--use-cluster", type=int, choices=(0, 1), help="1: submit to SLURM (submitit.use_cluster)")
    parser.add_argument("--check", action="store_true", help="print the resolved configuration and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, such as scratch.resolution=512")
    return parser.parse_intermixed_args(argv)


def load(arguments: argparse.Namespace, wanted: type[ConfigT]) -> LoadedConfig[ConfigT]:
    """The checked configuration that the command line asks for. Raises ConfigError."""
    overrides = list(arguments.overrides)
    if arguments.num_gpus is not None:
        overrides.append(f"launcher.gpus_per_node={arguments.num_gpus}")
    if arguments.num_nodes is not None:
        overrides.append(f"launcher.num_nodes={arguments.num_nodes}")
    if arguments.use_cluster is not None:
        overrides.append(f"submitit.use_cluster={'true' if arguments.use_cluster else 'false'}")
    return load_config(arguments.config, overrides, wanted)


def main(argv: list[str] | None = None) -> int:
    """Trains as the command line says; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parse_arguments(argv)
    try:
        loaded = load(arguments, RunConfig)
        if arguments.check:
            print(loaded.resolved_yaml(), end="")
            return 0
        return run(loaded, argv)
    except TrainingError as error:
        print(described(error), file=sys.stderr)
        return error.exit_code


def run(loaded: LoadedConfig[RunConfig], argv: list[str]) -> int:
    """Trains here, or in as many processes as the configuration asks for; the exit code."""
    # torch takes a second or two to import; nothing that needs it has been asked for until here.
    from sam2_training.commands.launch import train_in_this_process
    from sam2_training.engine.processes import run_workers
    from sam2_training.engine.run import check_devices, check_log_dir

    inside_torchrun = "RANK" in os.environ
    launcher = loaded.config.launcher
    check_log_dir(loaded.log_dir)
    if inside_torchrun or launcher.gpus_per_node * launcher.num_nodes == 1:
        return train_in_this_process(loaded)
    if launcher.num_nodes > 1:
        raise ConfigError(
            f"launcher.num_nodes={launcher.num_nodes}: start torchrun on each machine, as docs/training.md shows "
            'under "Several machines"; it starts this command with the right rank'
        )
    check_devices(loaded.config)
    return run_workers(PACKAGE.parent / "train.py", argv, launcher.gpus_per_node, loaded.log_dir / "run_status.json")
