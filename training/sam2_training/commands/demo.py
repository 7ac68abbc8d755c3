"""Command: demo. Trains a small network on generated clips and shows what it learned; `make demo`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from sam2_training.commands.command import Command
from sam2_training.engine.config import LoadedConfig
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

REQUIRED_GAIN = 0.25
"""Mean IoU that training must add on unseen clips."""
NUM_TEST_CLIPS = 48


def run(arguments: argparse.Namespace) -> int:
    """Trains and examines the demo; the exit code: 0 if the network learned."""
    began = time.monotonic()
    return _run(load_config("sam2.1_training/demo", arguments.overrides, VosConfig), began)


def _run(loaded: LoadedConfig[VosConfig], began: float) -> int:
    from sam2_training.commands.launch import train_in_this_process
    from sam2_training.vos.demo_evaluation import DemoEvaluation

    test = DemoEvaluation(loaded.config, NUM_TEST_CLIPS)
    print(f"Testing the untrained network on {NUM_TEST_CLIPS} unseen clips ...", flush=True)
    before = test.score(checkpoint=None)
    code = train_in_this_process(loaded)
    if code != 0:
        return code
    after = test.score(str(loaded.log_dir / "checkpoints" / "checkpoint.pt"))
    picture = loaded.log_dir / "demo.png"
    test.write_picture(picture)
    test.write_predictions(loaded.log_dir / "demo_predictions.json")
    _show(loaded.config, before, after, picture, time.monotonic() - began)
    _show_report(loaded)
    return 0 if after - before >= REQUIRED_GAIN else 1


def _show(config: VosConfig, before: float, after: float, picture: Path, seconds: float) -> None:
    size = config.model.image_size
    print()
    print(f"Mean IoU on {NUM_TEST_CLIPS} unseen clips, first frame's masks given, {size} px, propagated frames only:")
    print(f"  untrained   {before:.3f}")
    print(f"  trained     {after:.3f}")
    print(f"  difference  {after - before:+.3f}   (needed: +{REQUIRED_GAIN})")
    print(f"Pictures: {picture}  (rows: truth, untrained, trained)")
    print(f"Took {seconds / 60:.1f} minutes.")
    if after - before < REQUIRED_GAIN:
        print("The network did not learn what it should have: something is wrong with this installation or change.")


def _show_report(loaded: LoadedConfig[VosConfig]) -> None:
    """J&F of the run's own validations, before and after, and where to look at them."""
    from sam2_training.vos.evaluation.result import EvaluationResult

    folder = loaded.log_dir / "evaluation" / "validation"
    print("J&F on the validation set of the run, clips that are not trained on either:")
    for path in sorted(folder.glob("step_*.json")):
        content = json.loads(path.read_text())
        mean = EvaluationResult.from_json(content["result"]).mean()
        found = "absent" if mean.j_and_f is None else f"{mean.j_and_f:.3f}"
        print(f"  step {content['step']:>4}   {found}")
    print(f"Report: {loaded.log_dir / 'report.html'}")


COMMAND = Command(
    description="Train a small network on generated clips (minutes on a CPU), and show what it learned.",
    run=run,
    shared=("overrides",),
    meaning_of_1="the network did not learn",
)
