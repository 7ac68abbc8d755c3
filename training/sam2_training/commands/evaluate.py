"""Command: evaluate."""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import dataclass
from pathlib import Path

from sam2_training.commands.command import Command
from sam2_training.commands.failures import require_writable_output
from sam2_training.core.errors import EXIT_FINISHED
from sam2_training.core.outputs import OutputFolder
from sam2_training.core.rank_variables import rank_numbers
from sam2_training.core.schema import fingerprint
from sam2_training.core.shared_work import HeartbeatCallback
from sam2_training.core.terminal import say
from sam2_training.engine.config import LoadedConfig
from sam2_training.engine.devices import on_this_machine
from sam2_training.engine.folder_lock import folder_lock
from sam2_training.engine.hangs import ends_when_stuck
from sam2_training.engine.heartbeat import command_heartbeat, in_turn
from sam2_training.engine.processes import STATUS, TORCHRUN_LOG
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.comparison import Requirement
from sam2_training.vos.evaluation.prompt_spec import PromptSpec

EXIT_REQUIREMENT = 1
"""A --require does not hold."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of evaluate."""
    parser.add_argument(
        "--baseline", metavar="FILE", help="weights to compare with, such as those that training started from"
    )
    parser.add_argument("--split", metavar="FILE", help="text file with one video name a line: evaluate these only")
    parser.add_argument("--prompt", help="mask, box, click:N or interactive:N (default: evaluation.prompt)")
    parser.add_argument("--protocol", choices=("davis", "sav"), help="frames that count (default: evaluation.protocol)")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="default: <run folder>/evaluation/<checkpoint's stem>"
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="CONDITION",
        help='exit 1 unless it holds, such as "j_and_f>=0.75"; may be given again',
    )


@dataclass(frozen=True)
class _Asked:
    """What the command line asks for, checked before anything is loaded."""

    arguments: argparse.Namespace
    loaded: LoadedConfig[VosConfig]
    spec: PromptSpec
    requirements: list[Requirement]
    output: OutputFolder


def run(arguments: argparse.Namespace) -> int:
    """Evaluates here, or in the processes that share the videos; the exit code."""
    num_processes = 1 if arguments.num_gpus is None else arguments.num_gpus
    loaded = load_config(arguments.config, [*arguments.overrides, f"launcher.gpus_per_node={num_processes}"], VosConfig)
    asked = _Asked(
        arguments,
        loaded,
        PromptSpec.parse(arguments.prompt or loaded.config.evaluation.prompt),
        [Requirement.parse(text, bool(arguments.baseline)) for text in arguments.require],
        _output_folder(arguments, loaded),
    )
    rank = rank_numbers()
    if rank is None or rank.is_main:
        _claim(asked.output, num_processes)
    if num_processes == 1:
        with folder_lock(asked.output.folder):
            return evaluate(asked)
    # torch takes a second or two to import; nothing that needs it has been asked for until here.
    from sam2_training.commands.launch import start_ranks
    from sam2_training.engine.run import run_as_rank

    if rank is None:
        return start_ranks("evaluate", arguments.argv, on_this_machine(loaded).config, asked.output.folder)
    exit_code = run_as_rank(asked.output.folder, lambda: (evaluate(asked), "finished"))
    # torchrun would take a requirement that does not hold for a failure; it stands in the status.
    return EXIT_FINISHED if exit_code == EXIT_REQUIREMENT else exit_code


def _output_folder(arguments: argparse.Namespace, loaded: LoadedConfig[VosConfig]) -> OutputFolder:
    from sam2_training.vos.evaluation.files import is_former_evaluation

    given = {f"--{name}": getattr(arguments, name) for name in ("split", "checkpoint", "baseline", "config")}
    folder = arguments.output or loaded.log_dir / "evaluation" / Path(arguments.checkpoint).stem
    return OutputFolder(folder, "--output", {**loaded.config.inputs(), **given}, is_former_evaluation)


def _claim(output: OutputFolder, num_processes: int) -> None:
    """Checks the files that are known before the videos are, makes the folder, and lists those that processes write."""
    from sam2_training.vos.evaluation.files import MASKS, SCORES_CSV, SCORES_JSON

    of_processes = [STATUS, TORCHRUN_LOG] if num_processes > 1 else []
    output.check([SCORES_CSV, SCORES_JSON, f"{MASKS}/", *of_processes])
    require_writable_output(output.folder)
    if of_processes:
        output.record(of_processes)


def evaluate(asked: _Asked) -> int:
    """Evaluates as one rank (the only one, or one of several); the main rank prints the table and writes the files."""
    from sam2_training.core.ranks import process_group, ranks_from_environment
    from sam2_training.engine.precision import Precision
    from sam2_training.engine.provenance import provenance
    from sam2_training.vos.evaluation.evaluate_checkpoint import (
        EvaluationRequest,
        report_lines,
        run_evaluation,
        write_results,
    )
    from sam2_training.vos.evaluation.evaluation_set import EvaluationSet, open_evaluation_set
    from sam2_training.vos.evaluation.files import result_files
    from sam2_training.vos.task import PACKAGES

    arguments, loaded, output = asked.arguments, on_this_machine(asked.loaded), asked.output
    config = loaded.config
    ranks = ranks_from_environment(config.trainer.accelerator)
    precision = Precision(config.trainer.precision, ranks.device)
    stuck = ends_when_stuck(config.loader.timeout_minutes, output.folder, ranks.rank)
    with stuck, process_group(ranks, config.trainer.collective_timeout_minutes * 60), command_heartbeat() as heartbeat:

        def open_videos(beat: HeartbeatCallback) -> EvaluationSet:
            beats = in_turn(beat, heartbeat)
            found = open_evaluation_set(config, arguments.split, asked.loaded.log_dir, beats)
            ranks.on_main(lambda: output.check(result_files(found.clips)))
            return found

        videos = ranks.main_first(open_videos)
        protocol = arguments.protocol or config.evaluation.protocol
        processes = f"{ranks.world_size} processes on " if ranks.world_size > 1 else "on "
        out = ranks.choose(sys.stdout, io.StringIO())
        say("\n".join([*(f"WARNING: {note}" for note in loaded.notes), f"Evaluating {videos.description}"]), out)
        say(
            f"prompt {asked.spec}, protocol {protocol}, {processes}{ranks.device.type}, precision {precision.name}",
            out,
        )
        request = EvaluationRequest(
            config=config,
            videos=videos,
            checkpoint=arguments.checkpoint,
            baseline=arguments.baseline,
            spec=asked.spec,
            protocol=protocol,
            output=output,
            ranks=ranks,
            autocast_dtype=precision.autocast_dtype,
            heartbeat=heartbeat,
        )
        evaluated = run_evaluation(request)
        numbers = evaluated.means()
        made_by = provenance(fingerprint(config), videos.fingerprint, config.seed, ranks, PACKAGES)
        ranks.on_main(lambda: write_results(request, evaluated, asked.requirements, made_by))
        say("\n".join(report_lines(evaluated, out)), out)
        say(f"{output.folder}/  scores.csv  scores.json  masks/", out)
        for requirement in asked.requirements:
            say(requirement.verdict(numbers), out)
        ranks.barrier()  # whoever is faster waits: the main rank holds the connections
    return EXIT_FINISHED if all(one.holds(numbers) for one in asked.requirements) else EXIT_REQUIREMENT


COMMAND = Command(
    description="Track the objects of videos with masks, and score the result: J, F and J&F per object.",
    run=run,
    shared=("config", "checkpoint", "num_gpus", "overrides"),
    add_arguments=add_arguments,
    meaning_of_1="a --require does not hold",
)
