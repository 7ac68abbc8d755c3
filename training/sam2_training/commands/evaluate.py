"""Command: evaluate. `python training/evaluate.py -c RECIPE --checkpoint FILE [--baseline FILE] [key=value ...]`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

from sam2_training.core.errors import EXIT_FINISHED, TrainingError
from sam2_training.core.places import PACKAGE
from sam2_training.core.schema import fingerprint
from sam2_training.engine.config import LoadedConfig
from sam2_training.tasks import load_config
from sam2_training.vos.commands.failures import check_output_folder, report_failure
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.comparison import Requirement
from sam2_training.vos.evaluation.prompts import PromptSpec

EXIT_REQUIREMENT = 1
"""A --require does not hold."""


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {count}")
    return count


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Track the objects of videos with masks, and score the result: J, F and J&F per object.",
        epilog="Exit codes: 0 finished, 1 a --require does not hold, 2 configuration, 3 output not finite, "
        "4 checkpoint, 6 data.",
    )
    parser.add_argument("-c", "--config", required=True, help="the recipe that the weights were trained with")
    parser.add_argument(
        "--checkpoint", required=True, metavar="FILE", help="weights to evaluate: of a training, published, or exported"
    )
    parser.add_argument(
        "--baseline", metavar="FILE", help="weights to compare with, such as those training started from"
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
    parser.add_argument(
        "--num-gpus", type=_count, default=1, metavar="N", help="processes that share the videos (default: 1)"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, such as scratch.resolution=512")
    return parser.parse_intermixed_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Evaluates as the command line says; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parse_arguments(argv)
    try:
        loaded = load_config(
            arguments.config, [*arguments.overrides, f"launcher.gpus_per_node={arguments.num_gpus}"], VosConfig
        )
        spec = PromptSpec.parse(arguments.prompt or loaded.config.evaluation.prompt)
        requirements = [Requirement.parse(text, bool(arguments.baseline)) for text in arguments.require]
        arguments.output = arguments.output or loaded.log_dir / "evaluation" / Path(arguments.checkpoint).stem
        check_output_folder(arguments.output)
        if arguments.num_gpus > 1:
            return run_shared(argv, arguments, loaded, spec, requirements)
        return run(arguments, loaded, spec, requirements)
    except (TrainingError, OSError, KeyboardInterrupt) as error:
        return report_failure(error)


def run_shared(
    argv: list[str],
    arguments: argparse.Namespace,
    loaded: LoadedConfig[VosConfig],
    spec: PromptSpec,
    requirements: list[Requirement],
) -> int:
    """Starts the processes that share the videos, or, in one of them, does its part; the exit code."""
    from sam2_training.engine.processes import die_with_parent, run_workers, write_status
    from sam2_training.engine.run import check_devices

    status_path = arguments.output / "run_status.json"
    if "RANK" not in os.environ:
        check_devices(loaded.config)
        return run_workers(PACKAGE.parent / "evaluate.py", argv, arguments.num_gpus, status_path)
    die_with_parent()
    try:
        exit_code = run(arguments, loaded, spec, requirements)
    except (TrainingError, OSError) as error:
        # All fail together; the first says why.
        exit_code = error.exit_code if isinstance(error, TrainingError) else TrainingError.exit_code
        return report_failure(error) if write_status(status_path, exit_code, str(error), keep_first=True) else exit_code
    write_status(status_path, exit_code, "finished", keep_first=True)
    return EXIT_FINISHED  # torchrun would take a requirement that does not hold for a failure


def run(
    arguments: argparse.Namespace, loaded: LoadedConfig[VosConfig], spec: PromptSpec, requirements: list[Requirement]
) -> int:
    """Evaluates as one rank (the only one, or one of several); the main rank prints the table and writes the files."""
    # torch takes a second or two to import; nothing that needs it has been asked for until here.
    from sam2_training.core.ranks import process_group, ranks_from_environment
    from sam2_training.engine.precision import Precision
    from sam2_training.engine.provenance import provenance
    from sam2_training.vos.evaluation.evaluate_checkpoint import (
        EvaluationRequest,
        report_lines,
        run_evaluation,
        write_results,
    )
    from sam2_training.vos.evaluation.evaluation_set import open_evaluation_set

    config, output = loaded.config, arguments.output
    ranks = ranks_from_environment(config.trainer.accelerator)
    precision = Precision(config.trainer.precision, ranks.device)
    with process_group(ranks, config.trainer.collective_timeout_minutes * 60):
        videos = ranks.main_first(
            lambda heartbeat: open_evaluation_set(config, arguments.split, loaded.log_dir, heartbeat)
        )
        protocol = arguments.protocol or config.evaluation.protocol
        processes = f"{ranks.world_size} processes on " if ranks.world_size > 1 else "on "
        out = ranks.choose(sys.stdout, io.StringIO())
        print(f"Evaluating {videos.description}", file=out)
        print(
            f"prompt {spec}, protocol {protocol}, {processes}{ranks.device.type}, precision {precision.name}",
            file=out,
            flush=True,
        )
        request = EvaluationRequest(
            config=config,
            videos=videos,
            checkpoint=arguments.checkpoint,
            baseline=arguments.baseline,
            spec=spec,
            protocol=protocol,
            output=output,
            ranks=ranks,
            autocast_dtype=precision.autocast_dtype,
        )
        evaluated = run_evaluation(request)
        numbers = evaluated.means()
        made_by = provenance(fingerprint(config), videos.fingerprint, config.seed, ranks)
        ranks.on_main(lambda: write_results(request, evaluated, requirements, made_by))
        print("\n".join(report_lines(evaluated, sys.stdout.encoding)), file=out)
        print(f"{output}/  scores.csv  scores.json  masks/", file=out)
        for requirement in requirements:
            print(requirement.verdict(numbers), file=out)
        ranks.barrier()  # whoever is faster waits: the main rank holds the connections
    return EXIT_FINISHED if all(one.holds(numbers) for one in requirements) else EXIT_REQUIREMENT
