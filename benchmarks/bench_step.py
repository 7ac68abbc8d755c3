"""CPU time of one training step, stock SAM 2 training code beside ours: forward, backward and optimizer.

sam2.1_hiera_t with random weights, 4 frames, 3 objects, float32, and as many clicks as the published recipe ever makes:
two conditioning frames, each with a first click and 7 corrections. The same frames and masks for both, one thread,
process CPU time, median of the repeats; the two take turns. Dropout and drop path as published (0.1), except that ours
has no dropout on attention weights (model.attention_dropout=0.0, as in the recipes), which lets torch fuse attention.

Run: python benchmarks/bench_step.py [--repeats 10] [--resolution 512] [--json [FILE]]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from stock import stock_root

REPOSITORY = Path(__file__).resolve().parents[1]
STOCK_ROOT = stock_root()
TARGET_SECONDS = 18.0

COMMON = """
import json, resource, sys, time
import numpy as np
import torch

resolution = int(sys.argv[1])
torch.set_num_threads(1)
torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)
T, O = 4, 3
frames = torch.randint(0, 256, (1, T, resolution, resolution, 3), dtype=torch.uint8, generator=generator)
masks = torch.zeros(T, O, resolution, resolution, dtype=torch.bool)
for t in range(T):
    for n in range(O):
        top, left = (1 + n + t) * resolution // 10, (2 + 2 * n + t) * resolution // 12
        masks[t, n, top : top + resolution // 4, left : left + resolution // 5] = True

def serve(step, model):
    # One step for each line that comes in: the two processes take turns.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    for _ in sys.stdin:
        start = time.process_time()
        step().backward()
        forward_backward = time.process_time() - start
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "optimizer": seconds - forward_backward, "peak": peak}), flush=True)
"""

STOCK = (
    COMMON
    + """
from pathlib import Path
import sam2
from hydra.utils import instantiate
from omegaconf import OmegaConf
from training.utils.data_utils import BatchedVideoDatapoint, BatchedVideoMetaData

configs = Path(sam2.__path__[0]) / "configs"
recipe = OmegaConf.load(configs / "sam2.1_training" / "sam2.1_hiera_b+_MOSE_finetune.yaml")
recipe.scratch.resolution = resolution
arguments = recipe.trainer.model
arguments.image_encoder = OmegaConf.load(configs / "sam2.1" / "sam2.1_hiera_t.yaml").model.image_encoder
arguments.image_encoder.trunk.drop_path_rate = 0.1
for attention in ("self_attention", "cross_attention"):
    arguments.memory_attention.layer[attention].feat_sizes = [resolution // 16] * 2
arguments.prob_to_use_pt_input_for_train = 1.0
arguments.prob_to_use_box_input_for_train = 0.0
arguments.rand_init_cond_frames_for_train = False
arguments.rand_frames_to_correct_for_train = False
model = instantiate(arguments).train()
loss = instantiate(recipe.trainer.loss.all)
mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
batch = BatchedVideoDatapoint(
    img_batch=(frames.permute(1, 0, 4, 2, 3).float() / 255 - mean) / std,
    obj_to_frame_idx=torch.tensor([[[t, 0]] * O for t in range(T)], dtype=torch.int),
    masks=masks,
    metadata=BatchedVideoMetaData(
        unique_objects_identifier=torch.zeros(T, O, 3), frame_orig_size=torch.zeros(T, O, 2), batch_size=[T]
    ),
    dict_key="all",
    batch_size=[T],
)
serve(lambda: loss(model(batch), batch.masks)["core_loss"], model)
"""
)

OURS = (
    COMMON
    + """
from sam2_training.engine.task import StepContext
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.prompts_config import PromptsConfig
from sam2_training.vos.batch import BatchInfo, VideoBatch
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.step import ClipStep

prompts = PromptsConfig(
    prob_to_use_pt_input=1.0, prob_to_use_box_input=0.0, rand_init_cond_frames=False, rand_frames_to_correct=False
)
config = ModelConfig("sam2.1_hiera_t", image_size=resolution, attention_dropout=0.0, drop_path_rate=0.1)
step = ClipStep(build_network(config, prompts), LossConfig()).train()
planes = sum(masks[:, n].to(torch.uint8) << n for n in range(O))[None, :, None]
batch = VideoBatch(
    frames=frames, mask_planes=planes, labeled=torch.ones(T, O, dtype=torch.bool),
    object_clip=torch.zeros(O, dtype=torch.long), object_bit=torch.arange(O), object_ids=torch.arange(O),
    info=BatchInfo(sources=("generated",), loss_weight=O), batch_size=[],
)
serve(lambda: step(batch, float(O), StepContext(0, 0))["total"], step)
"""
)


class Side:
    """A process that makes one training step whenever it is asked."""

    def __init__(self, script: str, path: Path, resolution: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", script, str(resolution)]
        self.process = subprocess.Popen(
            command, env=environment, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def step(self) -> dict[str, float]:
        """{"seconds", "optimizer"}: CPU seconds; "peak": MiB resident at most so far."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the measured process ended with code {self.process.wait()}")
        measured: dict[str, float] = json.loads(line)
        return measured

    def close(self) -> None:
        self.process.communicate()


def measure(repeats: int, resolution: int, stock_root: Path) -> list[dict[str, Any]]:
    """Rows {"name", "stock", "ours", "unit", "target"}; stock is None if it is not installed."""
    sides = {"ours": Side(OURS, REPOSITORY / "training", resolution)}
    if (stock_root / "training").is_dir():
        sides = {"stock": Side(STOCK, stock_root, resolution), **sides}
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, side in sides.items():
            steps[name].append(side.step())
    for side in sides.values():
        side.close()
    rows = []
    for quantity, unit in (("seconds", "s CPU"), ("peak", "MiB resident")):
        medians = {name: statistics.median(step[quantity] for step in measured[1:]) for name, measured in steps.items()}
        target = TARGET_SECONDS if quantity == "seconds" and resolution == 512 else None
        label = f"step of hiera_t at {resolution}, 4 frames, 3 objects, maximal clicks"
        rows.append({"name": label, "stock": None, **medians, "unit": unit, "target": target})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10, help="steps per median")
    parser.add_argument("--resolution", type=int, default=512, help="side of the input, pixels; a multiple of 32")
    parser.add_argument("--json", nargs="?", const="-", help="write the rows to this file, or print them as last line")
    parser.add_argument("--stock-root", type=Path, default=STOCK_ROOT, help="folder that holds stock's training/")
    arguments = parser.parse_args()
    rows = measure(max(1, arguments.repeats), arguments.resolution, arguments.stock_root)
    for row in rows:
        stock = "absent" if row["stock"] is None else f"{row['stock']:.2f}"
        print(f"{row['name']}: stock {stock}, ours {row['ours']:.2f} {row['unit']}")
    if arguments.json == "-":
        print(json.dumps(rows))
    elif arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
