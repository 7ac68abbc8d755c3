"""Memory and time of a COCO-video document of 2 million annotations, beside one of 10: parsed, indexed and loaded from.

Memory is PSS, the sum over the main process and two loader workers, and the largest of samples from the start to the
last batch. The frames are links to a few small files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "training"))

from pycocotools import mask as coco_mask  # noqa: E402
from sam2_training.engine.loader import StepLoader  # noqa: E402
from sam2_training.engine.plan import Order  # noqa: E402
from sam2_training.tasks import load_config  # noqa: E402
from sam2_training.vos.clips.dataset import ClipDataset, training_index  # noqa: E402
from sam2_training.vos.config import VosConfig  # noqa: E402

NUM_VIDEOS, FRAMES, TRACKS = 20_000, 20, 5
HEIGHT, WIDTH = 96, 128
STEPS = 200
SAMPLE_SECONDS = 0.25
TARGET_MIB = 1024


def entries(num_videos: int, frames: int, tracks: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """(list, entry) of every image and annotation; the annotations of a video follow in no order of time."""
    rng = random.Random(0)
    shapes = [segmentation(np.random.default_rng(n)) for n in range(200)]
    for video in range(num_videos):
        for t in range(frames):
            file_name = f"clips/video_{video:06d}/{t:05d}.jpg"
            image = {"id": video * frames + t, "file_name": file_name, "video_id": video, "order_in_video": t}
            yield "images", image | {"height": HEIGHT, "width": WIDTH}
    number = 0
    for video in range(num_videos):
        places = [(t, track) for t in range(frames) for track in range(1, tracks + 1)]
        rng.shuffle(places)
        for t, track in places:
            number += 1
            found = {"id": number, "image_id": video * frames + t, "category_id": track, "track_id": track}
            yield "annotations", found | {"iscrowd": 0, "segmentation": rng.choice(shapes)}


def segmentation(rng: np.random.Generator) -> dict[str, Any]:
    """The compressed RLE of an ellipse."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    center = (int(rng.integers(20, WIDTH - 20)), int(rng.integers(20, HEIGHT - 20)))
    cv2.ellipse(mask, center, (int(rng.integers(6, 18)), int(rng.integers(6, 18))), 30, 0, 360, 1, -1)
    return {"size": [HEIGHT, WIDTH], "counts": coco_mask.encode(np.asfortranarray(mask))["counts"].decode()}


def write_dataset(root: Path, num_videos: int, frames: int, tracks: int) -> None:
    """The document, and a link to one folder of frames for each video."""
    (root / "clips").mkdir(parents=True)
    (root / "frames").mkdir()
    for t in range(frames):
        pixels = np.random.default_rng(t).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        cv2.imwrite(str(root / "frames" / f"{t:05d}.jpg"), pixels)
    for video in range(num_videos):
        (root / "clips" / f"video_{video:06d}").symlink_to(root / "frames")
    categories = [{"id": track, "name": f"kind {track}"} for track in range(1, tracks + 1)]
    with (root / "annotations.json").open("w") as file:
        file.write(f'{{"categories": {json.dumps(categories)}')
        open_list = ""
        for key, entry in entries(num_videos, frames, tracks):
            file.write(", " if key == open_list else f'{"]" if open_list else ""}, "{key}": [')
            open_list = key
            file.write(json.dumps(entry))
        file.write("]}")


def load(root: Path) -> None:
    """One start: the index, then STEPS batches through two workers; prints the seconds until the first batch."""
    started = time.perf_counter()
    overrides = ["scratch.resolution=64", "scratch.num_frames=4", "dataset.val_fraction=0"]
    overrides += [f"dataset.data_path={root / 'annotations.json'}", "dataset.img_folder=null", "dataset.gt_folder=null"]
    config = load_config("sam2.1_training/custom_finetune", overrides, VosConfig).config
    dataset = ClipDataset(config, training_index(config, root / "run")[0])
    indexed = time.perf_counter() - started
    order = Order(config.seed, len(dataset), global_batch=1, world_size=1)
    with contextlib.closing(StepLoader(dataset, order, rank=0, batch_size=1, num_workers=2)) as loader:
        for _ in loader.from_step(0, STEPS):
            time.sleep(0.02)
    print(json.dumps(indexed))


def measured(root: Path) -> tuple[float, float]:
    """(largest sum of the processes' PSS in MiB, seconds until the index was there) of a start."""
    child = subprocess.Popen([sys.executable, __file__, "--load", str(root)], stdout=subprocess.PIPE, text=True)
    process, largest = psutil.Process(child.pid), 0
    while child.poll() is None:
        total = 0
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # ended meanwhile
                total += one.memory_full_info().pss
        largest = max(largest, total)
        time.sleep(SAMPLE_SECONDS)
    assert child.returncode == 0
    assert child.stdout is not None
    return largest / 2**20, float(json.loads(child.stdout.read().splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=NUM_VIDEOS)
    parser.add_argument("--load", type=Path, help="internal: load from this dataset once")
    parser.add_argument("--json", type=Path, help="write the row here")
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.load)
        return
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"small": (2, 5, 1), "large": (arguments.videos, FRAMES, TRACKS)}
        for name, size in sizes.items():
            root = Path(folder) / name
            write_dataset(root, *size)
            for start in ("first", "second"):
                found[f"{name} {start}"] = measured(root)
                print(f"{name} {start}: {found[f'{name} {start}']}", file=sys.stderr)
        document = (Path(folder) / "large" / "annotations.json").stat().st_size / 2**20
    added = {start: found[f"large {start}"][0] - found[f"small {start}"][0] for start in ("first", "second")}
    row = {
        "name": f"memory that {arguments.videos * FRAMES * TRACKS:,} annotations add to 10, all processes",
        "unit": "MiB PSS",
        "ours": max(added.values()),
        "target": TARGET_MIB,
        "note": f"first start {added['first']:.0f} MiB more and {found['large first'][1]:.0f} s to index, second "
        f"{added['second']:.0f} MiB and {found['large second'][1]:.1f} s; with 10 annotations "
        f"{found['small first'][0]:.0f} MiB; document of {document:.0f} MiB",
    }
    print(json.dumps(row, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps([row]))


if __name__ == "__main__":
    main()
