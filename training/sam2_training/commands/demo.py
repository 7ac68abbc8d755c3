"""Command: demo. Trains a small network on generated clips and shows what it learned; `make demo`."""

from __future__ import annotations

import argparse
import time

from sam2_training.commands.command import Command
from sam2_training.commands.failures import claim_run_folder
from sam2_training.core.errors import ConfigError
from sam2_training.core.terminal import say
from sam2_training.engine.config import LoadedConfig
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

REQUIRED_GAIN = 0.25
"""J&F that training must add on the validation set, whose clips are not trained on."""


def run(arguments: argparse.Namespace) -> int:
    """Trains and evaluates the demo; the exit code: 0 if the network learned."""
    began = time.monotonic()
    return _run(load_config("sam2.1_training/demo", arguments.overrides, VosConfig), began)


def _run(loaded: LoadedConfig[VosConfig], began: float) -> int:
    claim_run_folder(loaded)
    # torch takes a second or two to import; nothing that needs it has been asked for until here.
    from sam2_training.commands.launch import train_in_this_process

    code = train_in_this_process(loaded)
    if code != 0:
        return code
    scores = _scores(loaded)
    steps = sorted(scores)
    if len(steps) < 2 or steps[0] != 0:
        raise ConfigError(
            f"the demo compares the network before and after training, but found validations of the steps {steps}: "
            "do not switch them off"
        )
    gain = scores[steps[-1]] - scores[0]
    print("\nJ&F on the validation set, generated clips that were not trained on:")
    for step in steps:
        print(f"  step {step:>4}    {scores[step]:.3f}")
    print(f"  difference   {gain:+.3f}   (needed: +{REQUIRED_GAIN})")
    say(f"Report with pictures: {loaded.log_dir / 'report.html'}")
    print(f"Took {(time.monotonic() - began) / 60:.1f} minutes.")
    if gain < REQUIRED_GAIN:
        print("The network did not learn what it should have: something is wrong with this installation or change.")
        return 1
    return 0


def _scores(loaded: LoadedConfig[VosConfig]) -> dict[int, float]:
    """{step: mean J&F} of the run's validations; 0 where no object has a score."""
    from sam2_training.vos.evaluation.measured_set import kept_results
    from sam2_training.vos.metrics.names import VALIDATION

    results = kept_results(loaded.log_dir / "evaluation" / VALIDATION)
    return {step: result.mean().j_and_f or 0.0 for step, result in results.items()}


COMMAND = Command(
    description="Train a small network on generated clips (minutes on a CPU), and show what it learned.",
    run=run,
    shared=("overrides",),
    meaning_of_1="the network did not learn",
)
