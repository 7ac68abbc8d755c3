"""Compares what small_data chooses with what custom_finetune chooses, on few real clips, with several seeds.

A small network is trained on generated shapes first (the demo's recipe): it stands for the published weights, which are
not at hand. Then each recipe trains it on the same few videos; whole videos that were not trained on are scored.
Learning rates of both recipes are multiplied by one factor (--lr-scale), since the network is not SAM 2's; everything
else is the recipe's own, with the same number of optimizer steps.

Run: python benchmarks/small_data.py [--steps 60] [--seeds 3] [--lr-scale 20] [--output DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPES = {"custom_finetune": (5.0e-6, 3.0e-6), "small_data": (1.0e-5, 3.0e-6)}
"""{recipe: (scratch.base_lr, scratch.vision_lr)}."""
TRAINED = ("bmx-bumps", "car-shadow", "dogs-jump", "libby")
HELD_OUT = ("chair", "surf")


def main() -> int:
    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    start = pretrained(arguments)
    rows = []
    for recipe in RECIPES:
        for seed in range(1, arguments.seeds + 1):
            before, best, last, seconds = run(arguments, recipe, seed, start)
            rows.append((recipe, seed, before, best, last, seconds))
            print(
                f"{recipe} seed {seed}: J&F {before:.3f} -> {last:.3f} (best {best:.3f}), {seconds:.0f} s", flush=True
            )
    print(table(rows))
    return 0


def pretrained(arguments: argparse.Namespace) -> Path:
    """Weights of the small network after the demo's training on generated shapes."""
    folder = arguments.output / "shapes"
    train("demo", [f"launcher.experiment_log_dir={folder}", f"trainer.max_steps={arguments.shape_steps}"])
    return folder / "checkpoints" / "checkpoint.pt"


def run(arguments: argparse.Namespace, recipe: str, seed: int, start: Path) -> tuple[float, float, float, float]:
    """(J&F of the held-out videos before, best, at the end; seconds) of one training run."""
    folder = arguments.output / f"{recipe}_{seed}"
    lists = {}
    for name, videos in (("trained", TRAINED), ("held_out", HELD_OUT)):
        lists[name] = arguments.output / f"{name}.txt"
        lists[name].write_text("\n".join(videos) + "\n")
    images, masks = f"{arguments.data}/JPEGImages", f"{arguments.data}/Annotations"
    base_lr, vision_lr = (rate * arguments.lr_scale for rate in RECIPES[recipe])
    began = time.monotonic()
    train(
        recipe,
        [
            *(f"launcher.experiment_log_dir={folder}", f"seed={seed}", f"model.checkpoint={start}"),
            *("model.name=architecture/tiny.yaml", f"scratch.resolution={arguments.resolution}"),
            *(f"dataset.img_folder={images}", f"dataset.gt_folder={masks}", "dataset.val_fraction=0"),
            *(f"dataset.file_list_txt={lists['trained']}", "dataset.multiplier=100"),
            f"val_dataset={{img_folder: {images}, gt_folder: {masks}, file_list_txt: {lists['held_out']}}}",
            *(f"scratch.base_lr={base_lr}", f"scratch.vision_lr={vision_lr}"),
            *(f"trainer.max_steps={arguments.steps}", f"trainer.val_check_interval={max(1, arguments.steps // 3)}"),
            *("scratch.num_epochs=1000", "trainer.check_val_every_n_epoch=1", "visualization.enabled=false"),
        ],
    )
    scores = validation_scores(folder)
    return scores[0], max(scores), scores[-1], time.monotonic() - began


def validation_scores(folder: Path) -> list[float]:
    """Mean J&F of the held-out videos, in the order of the steps."""
    found = sorted((folder / "evaluation" / "validation").glob("step_*.json"))
    return [json.loads(path.read_text())["values"]["j_and_f"] for path in found]


def train(recipe: str, settings: list[str]) -> None:
    command = [sys.executable, "training/train.py", "-c", recipe, "trainer.accelerator=cpu", *settings]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)


def table(rows: list[tuple[str, int, float, float, float, float]]) -> str:
    """Markdown: a row per recipe and seed, and a row of means."""
    lines = ["| recipe | seed | J&F before | best | at the end | seconds |", "|---|---|---|---|---|---|"]
    for recipe in RECIPES:
        own = [row for row in rows if row[0] == recipe]
        lines += [f"| {recipe} | {row[1]} | {row[2]:.3f} | {row[3]:.3f} | {row[4]:.3f} | {row[5]:.0f} |" for row in own]
        means = [statistics.mean(row[column] for row in own) for column in (2, 3, 4, 5)]
        lines.append(f"| {recipe} | mean | {means[0]:.3f} | {means[1]:.3f} | {means[2]:.3f} | {means[3]:.0f} |")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    data = Path(os.environ.get("SAM2_TEST_DATA", REPOSITORY.parent / "shared" / "data")) / "vos"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data, help="folder with JPEGImages/ and Annotations/")
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps of each run")
    parser.add_argument("--shape-steps", type=int, default=600, help="steps of the training on shapes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr-scale", type=float, default=20.0)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "sam2_logs" / "small_data")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
