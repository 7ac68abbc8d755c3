"""Command: evaluate. `python training/evaluate.py -c RECIPE --checkpoint FILE [--baseline FILE] [key=value ...]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":
    # Before anything of ours is imported, as in train.py: this repository's `training` must win over any other.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.core.config import LoadedConfig, fingerprint, load_config
from training.core.errors import EXIT_FINISHED, TrainingError
from training.vos.commands.comparison import Requirement
from training.vos.commands.failures import check_output_folder, report_failure
from training.vos.evaluation.prompts import PromptSpec

EXIT_REQUIREMENT = 1
"""A --require does not hold."""


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
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, such as scratch.resolution=512")
    return parser.parse_intermixed_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Evaluates as the command line says; the exit code."""
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    try:
        loaded = load_config(arguments.config, arguments.overrides)
        spec = PromptSpec.parse(arguments.prompt or loaded.config.evaluation.prompt)
        requirements = [Requirement.parse(text, bool(arguments.baseline)) for text in arguments.require]
        return run(arguments, loaded, spec, requirements)
    except (TrainingError, OSError, KeyboardInterrupt) as error:
        return report_failure(error)


def run(arguments: argparse.Namespace, loaded: LoadedConfig, spec: PromptSpec, requirements: list[Requirement]) -> int:
    """Evaluates, prints the table and writes the files; the exit code."""
    # torch takes a second or two to import; nothing that needs it has been asked for until here.
    from training.core.distributed import Ranks, choose_device
    from training.engine.precision import Precision
    from training.engine.provenance import provenance
    from training.vos.commands.evaluation import EvaluationRequest, report_lines, run_evaluation, write_results
    from training.vos.commands.evaluation_data import open_evaluation_set
    from training.vos.commands.network import autocast_dtype

    config = loaded.config
    output = arguments.output or loaded.log_dir / "evaluation" / Path(arguments.checkpoint).stem
    device = choose_device(config.trainer.accelerator, 0)
    precision = Precision(config.trainer.precision, device).name
    check_output_folder(output)
    videos = open_evaluation_set(config, arguments.split, loaded.log_dir)
    protocol = arguments.protocol or config.evaluation.protocol
    print(f"Evaluating {videos.description}", flush=True)
    print(f"prompt {spec}, protocol {protocol}, on {device.type}, precision {precision}", flush=True)
    request = EvaluationRequest(
        config=config,
        videos=videos,
        checkpoint=arguments.checkpoint,
        baseline=arguments.baseline,
        spec=spec,
        protocol=protocol,
        output=output,
        device=device,
        autocast_dtype=autocast_dtype(precision),
    )
    evaluated = run_evaluation(request)
    made_by = provenance(fingerprint(config), videos.fingerprint, config.seed, Ranks(device=device))
    write_results(request, evaluated, requirements, made_by)
    print("\n".join(report_lines(evaluated, sys.stdout.encoding)))
    print(f"{output}/  scores.csv  scores.json  masks/")
    numbers = evaluated.means()
    for requirement in requirements:
        print(requirement.verdict(numbers))
    return EXIT_FINISHED if all(one.holds(numbers) for one in requirements) else EXIT_REQUIREMENT


if __name__ == "__main__":
    raise SystemExit(main())
