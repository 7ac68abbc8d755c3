"""Command: train."""

from __future__ import annotations

import argparse
from pathlib import Path

from sam2_training.commands.command import Command
from sam2_training.commands.failures import claim_run_folder
from sam2_training.core.errors import EXIT_FINISHED, ConfigError
from sam2_training.core.rank_variables import rank_numbers
from sam2_training.core.terminal import say
from sam2_training.core.text import shown
from sam2_training.engine.config import LoadedConfig, RunConfig
from sam2_training.engine.devices import num_processes, on_this_machine
from sam2_training.engine.logging.extras import check_extras
from sam2_training.engine.output_dir import in_run_folder
from sam2_training.tasks import ConfigT, check_start, load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of train, and of needs."""
    parser.add_argument("--num-nodes", type=int, metavar="N", help="machines (launcher.num_nodes)")
    parser.add_argument("--use-cluster", type=int, choices=(0, 1), help="1: submit to SLURM (submitit.use_cluster)")
    parser.add_argument(
        "--check",
        action="store_true",
        help="print the resolved configuration, build the network, load its weights, and stop; needs no GPU",
    )
    parser.add_argument("--config-path", metavar="DIR", help="folder in which -c is looked for first")
    parser.add_argument("--cfg", choices=("job",), help="print the resolved configuration, every key, and stop")
    parser.add_argument("--resolve", action="store_true", help="with --cfg: as always, interpolations are resolved")
    parser.add_argument("--data", action="store_true", help="with --check: index the videos too")


def load(arguments: argparse.Namespace, wanted: type[ConfigT]) -> LoadedConfig[ConfigT]:
    """The checked configuration that the command line asks for. Raises ConfigError."""
    overrides = list(arguments.overrides)
    if arguments.num_gpus is not None:
        overrides.append(f"launcher.gpus_per_node={arguments.num_gpus}")
    if arguments.num_nodes is not None:
        overrides.append(f"launcher.num_nodes={arguments.num_nodes}")
    if arguments.use_cluster is not None:
        overrides.append(f"submitit.use_cluster={'true' if arguments.use_cluster else 'false'}")
    return load_config(in_folder(arguments.config_path, arguments.config), overrides, wanted)


def in_folder(folder: str | None, name: str) -> str:
    """The path of a recipe in the folder that --config-path names; the name itself where there is none."""
    if folder is None:
        return name
    path = Path(folder) / (name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not path.is_file():
        raise ConfigError(f"--config-path {folder}: there is no {path.name} in it")
    return str(path)


def run(arguments: argparse.Namespace) -> int:
    """Trains here, or in as many processes as the configuration asks for; the exit code."""
    loaded = load(arguments, RunConfig)
    if arguments.data and not arguments.check:
        raise ConfigError("--data goes with --check, which then indexes the videos; a run always does")
    check_extras(loaded.config)
    if arguments.check:
        return check(loaded, arguments.data)
    if arguments.resolve and not arguments.cfg:
        raise ConfigError("--resolve goes with --cfg job, which prints the configuration")
    if arguments.cfg:
        print(loaded.resolved_yaml(), end="")
        return EXIT_FINISHED
    loaded = on_this_machine(loaded)
    loaded = in_run_folder(loaded)
    rank = rank_numbers()
    if rank is None or rank.is_main:
        claim_run_folder(loaded)
    # torch takes a second or two to import; nothing that needs it has been asked for until here.
    from sam2_training.commands.launch import start_ranks, train_in_this_process

    launcher = loaded.config.launcher
    if rank is not None or num_processes(loaded.config) * launcher.num_nodes == 1:
        return train_in_this_process(loaded)
    if launcher.num_nodes > 1:
        raise ConfigError(
            f"launcher.num_nodes={launcher.num_nodes}: start torchrun on each machine, as docs/training.md shows "
            'under "Several machines"; it starts this command with the right rank'
        )
    folder = str(loaded.log_dir).replace('"', '\\"')
    told = [*arguments.argv, f'launcher.experiment_log_dir="{folder}"']
    return start_ranks("train", told, loaded.config, loaded.log_dir)


def check(loaded: LoadedConfig[RunConfig], with_data: bool) -> int:
    """Prints the configuration as YAML, and in comments below it what a run would start from; the exit code."""
    print(loaded.resolved_yaml(), end="", flush=True)
    for line in check_start(loaded.config, with_data):
        heading = line.startswith("# ")
        # A name's line end would end the comment.
        say(f"\n{shown(line)}" if heading else f"#   {shown(line)}".rstrip())
    return EXIT_FINISHED


COMMAND = Command(
    description="Fine-tune SAM 2.1 on videos with masks. The same command again continues where it stopped. "
    "All settings: docs/configuration.md.",
    run=run,
    shared=("config", "num_gpus", "overrides"),
    add_arguments=add_arguments,
)
