"""Overfits a network with random weights on two real clips: trains until their J&F is above 0.9, with a report.

Everything between files and score takes part: a loss with the wrong sign, a mask beside its frame or a wrong learning
rate shows here as a score that stays low. With the defaults it needs a GPU (minutes); on a CPU take a small network:

Run: python benchmarks/overfit.py [--network sam2.1_hiera_t] [--resolution 512] [--steps 3000] [--output DIR]
     python benchmarks/overfit.py --network architecture/tiny.yaml --resolution 128 --frames 3 --videos surf car-shadow
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
THRESHOLD = 0.9


def main() -> int:
    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    listed = arguments.output / "videos.txt"
    listed.write_text("\n".join(arguments.videos) + "\n")
    trained = subprocess.run([sys.executable, "training/train.py", *settings(arguments, listed)], cwd=REPOSITORY)
    if trained.returncode:
        return trained.returncode
    found = sorted((arguments.output / "evaluation" / "validation").glob("step_*.json"))
    scores = {path.stem: json.loads(path.read_text())["values"]["j_and_f"] for path in found}
    best = max(scores, key=lambda name: scores[name])
    print(f"J&F {scores[best]:.3f} after {best}, wanted {THRESHOLD}; {arguments.output / 'report.html'}")
    return 0 if scores[best] > THRESHOLD else 1


def parse_arguments() -> argparse.Namespace:
    data = Path(os.environ.get("SAM2_TEST_DATA", REPOSITORY.parent / "shared" / "data")) / "vos"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data, help="folder with JPEGImages/ and Annotations/")
    parser.add_argument("--videos", nargs=2, default=["car-shadow", "surf"], help="two videos with dense masks")
    parser.add_argument("--network", default="sam2.1_hiera_t")
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--frames", type=int, default=8, help="frames of a training clip")
    parser.add_argument("--steps", type=int, default=3000, help="at most")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "sam2_logs" / "overfit", help="the run's folder")
    return parser.parse_args()


def settings(arguments: argparse.Namespace, listed: Path) -> list[str]:
    folders = f"img_folder={arguments.data}/JPEGImages", f"gt_folder={arguments.data}/Annotations"
    both = [*folders, f"file_list_txt={listed}"]
    return [
        *("-c", "sam2.1_training/custom_finetune", "transforms=none", "prompts=mask"),
        *(f"model.name={arguments.network}", "model.checkpoint=null", "model.drop_path_rate=0"),
        *(f"scratch.resolution={arguments.resolution}", f"scratch.num_frames={arguments.frames}"),
        *(f"scratch.base_lr={arguments.learning_rate}", f"scratch.vision_lr={arguments.learning_rate}"),
        *("optimizer.layer_decay=1.0", "dataset.multiplier=100", f"trainer.max_steps={arguments.steps}"),
        # Trained on and measured on the very same videos: that is the point here, and a mistake everywhere else.
        *(f"dataset.{setting}" for setting in both),
        *(f"val_dataset.{setting}" for setting in both),
        *("trainer.val_check_interval=250", "early_stopping.monitor=val_j_and_f", "early_stopping.patience=1000"),
        f"early_stopping.stopping_threshold={THRESHOLD}",
        f"launcher.experiment_log_dir={arguments.output.resolve()}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
