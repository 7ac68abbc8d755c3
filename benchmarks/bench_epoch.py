"""How long the first batch of a new epoch keeps the training waiting: real clips, 512 px, two loader workers."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "training"))

from sam2_training.engine.loader import StepLoader  # noqa: E402
from sam2_training.engine.plan import Order  # noqa: E402
from sam2_training.tasks import load_config  # noqa: E402
from sam2_training.vos.clips.dataset import ClipDataset, training_index  # noqa: E402
from sam2_training.vos.config import VosConfig  # noqa: E402

EPOCHS = 12
STEP_SECONDS = 0.1
"""A training step for the loader to load ahead in: shorter than any step at this size."""
TARGET_SECONDS = 0.3


def overrides() -> list[str]:
    """The real test videos where they are at hand, else generated ones."""
    data = Path(os.environ.get("SAM2_TEST_DATA", REPOSITORY.parent / "shared" / "data")) / "vos"
    common = ["scratch.resolution=512", "scratch.num_frames=4", "scratch.max_num_objects=3", "dataset.multiplier=2"]
    common.append("dataset.val_fraction=0")
    if data.is_dir():
        return [*common, f"dataset.img_folder={data / 'JPEGImages'}", f"dataset.gt_folder={data / 'Annotations'}"]
    return [*common, "dataset.dataset_type=synthetic", "dataset.synthetic.size=480", "dataset.synthetic.num_videos=7"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the row here")
    arguments = parser.parse_args()
    config = load_config("sam2.1_training/custom_finetune", overrides(), VosConfig).config
    dataset = ClipDataset(config, training_index(config, None)[0])
    order = Order(config.seed, len(dataset), global_batch=1, world_size=1)
    waits: dict[bool, list[float]] = {True: [], False: []}
    with contextlib.closing(StepLoader(dataset, order, rank=0, batch_size=1, num_workers=2)) as loader:
        batches = loader.from_step(0, EPOCHS * order.steps_per_epoch)
        for step in range(EPOCHS * order.steps_per_epoch):
            started = time.perf_counter()
            next(batches)
            if step:  # the very first batch also starts the workers; the start-up benchmark has that
                waits[order.epoch_of(step)[1] == 0].append(time.perf_counter() - started)
            time.sleep(STEP_SECONDS)
    row = {
        "name": "first batch of a new epoch, 512 px, 4 frames, 2 workers",
        "unit": "s",
        "ours": statistics.median(waits[True]),
        "target": TARGET_SECONDS,
        "note": f"wall clock; longest of {len(waits[True])}: {max(waits[True]):.3f} s; "
        f"other batches: {statistics.median(waits[False]):.3f} s",
    }
    print(json.dumps(row, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps([row]))


if __name__ == "__main__":
    main()
