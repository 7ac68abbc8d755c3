"""CPU time and memory of the loss, stock SAM 2 training code beside ours: 3 objects x 3 masks, forward and backward.

The same seeded logits and masks for both, and both losses are printed. One thread, process CPU time, median of the
repeats. "Kept" is what lies in memory between forward and backward because of the loss, beyond its input. The first
rows give both the logits at full size. In training ours gets them at a quarter of the side and enlarges them itself,
while stock keeps the enlarged ones: the last rows measure that, stock's enlargement included.

Run: python benchmarks/bench_loss.py [--repeats 20] [--resolution 1024] [--json [FILE]]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from stock import stock_root

REPOSITORY = Path(__file__).resolve().parents[1]
STOCK_ROOT = stock_root()
TARGETS = {"seconds": 0.15, "kept": 110.0}

COMMON = """
import ctypes, json, sys, time
import torch
import torch.nn.functional as F

resolution, repeats = json.loads(sys.argv[1])
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
small = 4 * torch.randn(3, 3, resolution // 4, resolution // 4, generator=generator)
full = F.interpolate(small, size=(resolution, resolution), mode="bilinear", align_corners=False)
truth = F.interpolate(small[:, :1] + small[:, 1:2], size=(resolution, resolution), mode="nearest")[:, 0] > 0
ious = torch.rand(3, 3, generator=generator)
scores = torch.randn(3, 1, generator=generator)

class Kept:
    # Counts the distinct storages that autograd saves, other than the inputs'.
    def __init__(self, inputs):
        self.known = {tensor.untyped_storage().data_ptr() for tensor in inputs}
        self.sizes = {}
    def pack(self, tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.known:
            self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor
    def mib(self):
        return sum(self.sizes.values()) / 2**20

def measure(loss_of, logits):
    times = []
    for n in range(repeats + 2):
        leaves = [x.clone().requires_grad_() for x in (logits, ious, scores)]
        start = time.process_time()
        loss = loss_of(*leaves)
        loss.backward()
        times.append(time.process_time() - start)
    leaves = [x.clone().requires_grad_() for x in (logits, ious, scores)]
    kept = Kept([*leaves, truth])
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        loss = loss_of(*leaves)
    return {"seconds": sorted(times[2:])[repeats // 2], "kept": kept.mib(), "loss": loss.item()}
"""

STOCK = (
    COMMON
    + """
from training.loss_fns import MultiStepMultiMasksAndIous

module = MultiStepMultiMasksAndIous(
    {"loss_mask": 20, "loss_dice": 1, "loss_iou": 1, "loss_class": 1},
    supervise_all_iou=True, iou_use_l1_loss=True, pred_obj_scores=True,
)

def of_full(logits, ious, scores):
    outputs = {
        "multistep_pred_multimasks_high_res": [logits],
        "multistep_pred_ious": [ious],
        "multistep_object_score_logits": [scores],
    }
    return module([outputs], truth[None])["core_loss"]

def of_small(logits, ious, scores):
    enlarged = F.interpolate(logits, size=(resolution, resolution), mode="bilinear", align_corners=False)
    return of_full(enlarged, ious, scores)

print(json.dumps({"full": measure(of_full, full), "small": measure(of_small, small)}))
"""
)

OURS = (
    COMMON
    + """
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.batch import BatchInfo, FrameOutput, PredictionStep, VideoBatch
from sam2_training.vos.losses import clip_loss

planes = sum(truth[n].to(torch.uint8) << n for n in range(3))[None, None, None]
batch = VideoBatch(
    frames=torch.zeros(1, 1, 1, 1, 3, dtype=torch.uint8), mask_planes=planes,
    labeled=torch.ones(1, 3, dtype=torch.bool), object_clip=torch.zeros(3, dtype=torch.long),
    object_bit=torch.arange(3), object_ids=torch.arange(3),
    info=BatchInfo(sources=("",), loss_weight=3), batch_size=[],
)

def loss_of(logits, ious, scores):
    outputs = [FrameOutput(0, [PredictionStep(logits, ious, scores)], logits[:, :1])]
    return clip_loss(outputs, batch, LossConfig(), 3.0)["total"]

print(json.dumps({"full": measure(loss_of, full), "small": measure(loss_of, small)}))
"""
)


def run(script: str, path: Path, resolution: int, repeats: int) -> dict[str, Any]:
    """What a script prints, in a process that imports `training` from path only."""
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, json.dumps([resolution, repeats])]
    ended = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"the measured process failed:\n{ended.stderr}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def measure(repeats: int, resolution: int, stock_root: Path) -> list[dict[str, Any]]:
    """A row {"name", "stock", "ours", "unit", "target"} per quantity; stock is None if it is not installed."""
    stock = run(STOCK, stock_root, resolution, repeats) if (stock_root / "training").is_dir() else None
    ours = run(OURS, REPOSITORY / "training", resolution, repeats)
    rows = []
    for size, words in (("full", "full-size logits"), ("small", "logits as the decoder gives them")):
        for quantity, unit in (("seconds", "s CPU"), ("kept", "MiB kept")):
            rows.append(
                {
                    "name": f"loss of 3 objects x 3 masks at {resolution}, forward + backward, {words}",
                    "stock": stock[size][quantity] if stock else None,
                    "ours": ours[size][quantity],
                    "unit": unit,
                    "target": TARGETS[quantity] if resolution == 1024 else None,
                    "note": f"loss {ours[size]['loss']:.6f}"
                    + (f", stock's {stock[size]['loss']:.6f}" if stock else ""),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="losses per median, at least 10")
    parser.add_argument("--resolution", type=int, default=1024, help="side of the masks, pixels; a multiple of 4")
    parser.add_argument("--json", nargs="?", const="-", help="write the rows to this file, or print them as last line")
    parser.add_argument("--stock-root", type=Path, default=STOCK_ROOT, help="folder that holds stock's training/")
    arguments = parser.parse_args()
    rows = measure(max(10, arguments.repeats), arguments.resolution, arguments.stock_root)
    for row in rows:
        stock = "absent" if row["stock"] is None else f"{row['stock']:.3f}"
        print(f"{row['name']}: stock {stock}, ours {row['ours']:.3f} {row['unit']} ({row['note']})")
    if arguments.json == "-":
        print(json.dumps(rows))
    elif arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
