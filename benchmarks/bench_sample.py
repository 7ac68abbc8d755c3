"""CPU time of one training sample, stock SAM 2 training code beside ours: decoding, augmentation and collation.

The same files for both: generated 854x480 clips of 8 frames with 3 objects, JPEG frames and palette PNG masks, of which
4 frames make a sample. One thread, process CPU time. Stock and ours take turns, ROUNDS times, and the median is that of
all rounds together: single rounds of one and the same code differed by up to 1.8x on a machine with other work on it.
Stock hands over normalized floats; ours hands over bytes, which are normalized on the device.

Run: python benchmarks/bench_sample.py [--repeats 20] [--json [FILE]]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from stock import stock_root

REPOSITORY = Path(__file__).resolve().parents[1]
STOCK_ROOT = stock_root()
ROUNDS = 3
TARGETS_MS = {512: 35.0, 1024: 70.0}
WIDTH, HEIGHT, NUM_VIDEOS, VIDEO_FRAMES, CLIP_FRAMES, NUM_OBJECTS = 854, 480, 4, 8, 4, 3

STOCK = """
import json, random, sys, time
import torch
from functools import partial
from training.dataset import transforms as tr
from training.dataset.vos_dataset import VOSDataset
from training.dataset.vos_raw_dataset import PNGRawDataset
from training.dataset.vos_sampler import RandomUniformSampler
from training.utils.data_utils import collate_fn

folder, resolution, repeats, num_frames, num_objects = json.loads(sys.argv[1])
torch.set_num_threads(1)
random.seed(0)
torch.manual_seed(0)
chain = tr.ComposeAPI([
    tr.RandomHorizontalFlip(consistent_transform=True),
    tr.RandomAffine(degrees=25, shear=20, image_interpolation="bilinear", consistent_transform=True),
    tr.RandomResizeAPI(sizes=resolution, square=True, consistent_transform=True),
    tr.ColorJitter(consistent_transform=True, brightness=0.1, contrast=0.03, saturation=0.03, hue=None),
    tr.RandomGrayscale(p=0.05, consistent_transform=True),
    tr.ColorJitter(consistent_transform=False, brightness=0.1, contrast=0.05, saturation=0.05, hue=None),
    tr.ToTensorAPI(),
    tr.NormalizeAPI(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
])
raw = PNGRawDataset(img_folder=folder + "/images", gt_folder=folder + "/masks")
dataset = VOSDataset([chain], True, raw, RandomUniformSampler(num_frames, num_objects), 1)
times = []
for n in range(repeats + 2):
    start = time.process_time()
    collate_fn([dataset[n % len(dataset)]], dict_key="all")
    times.append(1000 * (time.process_time() - start))
print(json.dumps(times[2:]))
"""

OURS = """
import json, sys, time
import cv2, torch
from sam2_training.vos.clips.config import TrainingSetConfig
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.config import ModelConfig
from sam2_training.engine.task import SampleKey
from sam2_training.vos.clips.dataset import ClipDataset, training_index

folder, resolution, repeats, num_frames, num_objects = json.loads(sys.argv[1])
torch.set_num_threads(1)
cv2.setNumThreads(1)
clips = {"num_frames": num_frames, "max_num_objects": num_objects}
data = TrainingSetConfig(img_folder=folder + "/images", gt_folder=folder + "/masks", **clips)
config = VosConfig(model=ModelConfig(image_size=resolution), dataset=data)
dataset = ClipDataset(config, training_index(config, None)[0])
times = []
for n in range(repeats + 2):
    start = time.process_time()
    dataset.collate([dataset[SampleKey(0, n, n % len(dataset))]])
    times.append(1000 * (time.process_time() - start))
print(json.dumps(times[2:]))
"""


def make_clips(folder: Path) -> None:
    """Writes NUM_VIDEOS generated clips in DAVIS layout; grain makes the JPEGs as large as those of real video."""
    import cv2
    import numpy as np
    from PIL import Image
    from sam2_training.data.config import SyntheticConfig
    from sam2_training.data.formats.synthetic import synthetic_video

    config = SyntheticConfig(num_frames=VIDEO_FRAMES, size=HEIGHT, num_objects=NUM_OBJECTS)
    rng = np.random.default_rng(0)
    for number in range(NUM_VIDEOS):
        frames, masks = synthetic_video(0, number, config)
        for kind in ("images", "masks"):
            (folder / kind / f"v{number}").mkdir(parents=True)
        for t in range(VIDEO_FRAMES):
            frame = cv2.resize(frames[t], (WIDTH, HEIGHT)).astype(np.int16)
            frame = np.clip(frame + rng.integers(-8, 9, (HEIGHT, WIDTH, 1)), 0, 255).astype(np.uint8)
            ids = sum((n + 1) * masks[t, n].astype(np.uint8) for n in range(NUM_OBJECTS))
            mask = Image.fromarray(cv2.resize(ids, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST))
            mask.putpalette(list(range(256)) * 3)
            mask.save(folder / "masks" / f"v{number}" / f"{t:05d}.png")
            Image.fromarray(frame).save(folder / "images" / f"v{number}" / f"{t:05d}.jpg", quality=88)


def times_ms(script: str, path: Path, folder: Path, resolution: int, repeats: int) -> list[float]:
    """CPU times of samples, milliseconds, measured in a process that imports `training` from path only."""
    arguments = json.dumps([str(folder), resolution, repeats, CLIP_FRAMES, NUM_OBJECTS])
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", script, arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise SystemExit(f"the measured process failed:\n{result.stderr}")
    times: list[float] = json.loads(result.stdout.splitlines()[-1])
    return times


def measure(repeats: int, stock_root: Path) -> list[dict[str, object]]:
    """A row for benchmarks/run.py per resolution; stock is None if it is not installed."""
    rows: list[dict[str, object]] = []
    has_stock = (stock_root / "training").is_dir()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(folder)
        for resolution, target in TARGETS_MS.items():
            stock: list[float] = []
            ours: list[float] = []
            for _ in range(ROUNDS):
                if has_stock:
                    stock += times_ms(STOCK, stock_root, folder, resolution, repeats)
                ours += times_ms(OURS, REPOSITORY / "training", folder, resolution, repeats)
            low, _, high = statistics.quantiles(ours, n=4)
            rows.append(
                {
                    "name": f"sample at {resolution}, 4 frames, 3 objects, 854x480 source",
                    "stock": statistics.median(stock) if stock else None,
                    "ours": statistics.median(ours),
                    "unit": "ms CPU",
                    "target": target,
                    "note": f"middle half {low:.0f} to {high:.0f}; machine's load {os.getloadavg()[0]:.1f}",
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="samples per round, at least 10")
    parser.add_argument("--json", nargs="?", const="-", help="write the rows to this file, or print them as last line")
    parser.add_argument("--stock-root", type=Path, default=STOCK_ROOT, help="folder that holds stock's training/")
    arguments = parser.parse_args()
    rows = measure(max(10, arguments.repeats), arguments.stock_root)
    print(f"{'':55} {'stock':>8} {'ours':>8} {'target':>8} {'ratio':>6}")
    for row in rows:
        stock = row["stock"]
        shown = f"{stock:8.1f}" if stock is not None else "  absent"
        ratio = f"{row['ours'] / stock:6.2f}" if stock is not None else ""
        print(f"{row['name']:55} {shown} {row['ours']:8.1f} {row['target']:8.1f} {ratio}  {row['unit']}; {row['note']}")
    if arguments.json == "-":
        print(json.dumps(rows))
    elif arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY / "training"))
    main()
