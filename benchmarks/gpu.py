"""On a machine with a GPU: runs tests/gpu, times a training step beside stock's, trains on real clips; one table.

The network is sam2.1_hiera_b+ with random weights at 1024 px, 8 frames, 3 objects, bf16 autocast, prompts drawn as
published from the same seeds; wall-clock time around a synchronized device, median of the repeats; peak memory is what
torch allocated. Writes the table between the GPU marks of benchmarks/README.md, with the GPU named.

Run: python benchmarks/gpu.py [--repeats 20] [--data DIR with JPEGImages/ and Annotations/]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from run import Row, machine, table
from stock import stock_root

REPOSITORY = Path(__file__).resolve().parents[1]
REPORT = REPOSITORY / "benchmarks" / "README.md"
BEGIN, END = "<!-- gpu results: begin -->", "<!-- gpu results: end -->"

COMMON = """
import json, statistics, sys, time
import numpy as np
import torch

repeats = int(sys.argv[1])
T, O, R = 8, 3, 1024
torch.manual_seed(0)
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
frames = torch.randint(0, 256, (1, T, R, R, 3), dtype=torch.uint8)
masks = torch.zeros(T, O, R, R, dtype=torch.bool)
for t in range(T):
    for n in range(O):
        masks[t, n, (1 + n + t) * R // 16 :, (2 + 2 * n + t) * R // 20 :][: R // 4, : R // 5] = True

def measure(step, model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    seconds = []
    for number in range(repeats + 3):
        torch.manual_seed(number)
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            loss = step(number)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps({"seconds": statistics.median(seconds[3:]), "peak": peak}))
"""

STOCK = (
    COMMON
    + """
from pathlib import Path
import sam2
from hydra.utils import instantiate
from omegaconf import OmegaConf
from training.utils.data_utils import BatchedVideoDatapoint, BatchedVideoMetaData

recipe = OmegaConf.load(
    Path(sam2.__path__[0]) / "configs" / "sam2.1_training" / "sam2.1_hiera_b+_MOSE_finetune.yaml"
)
recipe.scratch.resolution = R
model = instantiate(recipe.trainer.model).train().cuda()
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

def step(number):
    model.rng = np.random.default_rng(number)
    on_device = batch.to("cuda", non_blocking=True)
    return loss(model(on_device), on_device.masks)["core_loss"]

measure(step, model)
"""
)

OURS = (
    COMMON
    + """
from sam2_training.engine.task import StepContext
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.batch import BatchInfo, VideoBatch
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.step import ClipStep

dropout = None if sys.argv[2] == "published" else 0.0
compiled = sys.argv[2] == "compiled"
config = ModelConfig("sam2.1_hiera_b+", image_size=R, attention_dropout=dropout, compile=compiled)
module = ClipStep(build_network(config), LossConfig()).train().cuda()
planes = sum(masks[:, n].to(torch.uint8) << n for n in range(O))[None, :, None]
batch = VideoBatch(
    frames=frames, mask_planes=planes, labeled=torch.ones(T, O, dtype=torch.bool),
    object_clip=torch.zeros(O, dtype=torch.long), object_bit=torch.arange(O), object_ids=torch.arange(O),
    info=BatchInfo(("generated",), (), O, (True,) * T, (True,) * T), batch_size=[],
)
measure(lambda n: module(batch.to("cuda", non_blocking=True), float(O), StepContext(0, n))["total"], module)
"""
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="steps per median")
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "vos")
    parser.add_argument("--stock-root", type=Path, default=stock_root())
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: nothing was measured", file=sys.stderr)
        return 1
    tests = subprocess.run([sys.executable, "-m", "pytest", "tests/gpu", "-m", "gpu"], cwd=REPOSITORY, check=False)
    rows = step_rows(arguments.repeats, arguments.stock_root) + real_rows(arguments.data)
    columns = ["benchmark", "stock", "ours", "ratio", "target", "reached", "note"]
    text = table([columns, *(row.cells() for row in rows)])
    print(text)
    before, rest = REPORT.read_text().split(BEGIN)
    REPORT.write_text(
        f"{before}{BEGIN}\n{machine()} GPU: {torch.cuda.get_device_name()}.\n\n{text}\n{END}{rest.split(END)[1]}"
    )
    return tests.returncode


def step_rows(repeats: int, stock_root: Path) -> list[Row]:
    """Seconds and peak memory of one step, ours in three settings beside stock."""
    stock = measured(STOCK, stock_root, repeats, "") if (stock_root / "training").is_dir() else {}
    rows = []
    for setting in ("published", "fused", "compiled"):
        ours = measured(OURS, REPOSITORY / "training", repeats, setting)
        for quantity, unit in (("seconds", "s"), ("peak", "MiB")):
            name = f"step of b+ at 1024, 8 frames, 3 objects, bf16, {setting}: {quantity}"
            rows.append(Row(name, unit, ours[quantity], stock.get(quantity)))
    return rows


def measured(script: str, path: Path, repeats: int, setting: str) -> dict[str, float]:
    """{"seconds", "peak"} that a script prints, run in a process that finds only one package `training`."""
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), *others])}
    command = [sys.executable, "-c", script, str(repeats), setting]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the {setting or 'stock'} step failed:\n{done.stderr[-2000:]}")
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def real_rows(data: Path) -> list[Row]:
    """Seconds a step and peak memory of train.py itself on the real clips."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dense.txt").write_text("dogs-jump\n")
        command = [
            *(sys.executable, "training/train.py", "-c", "sam2.1_training/custom_finetune"),
            *("model.checkpoint=null", "scratch.num_frames=8", "dataset.multiplier=40", "trainer.max_steps=40"),
            *(f"dataset.img_folder={data / 'JPEGImages'}", f"dataset.gt_folder={data / 'Annotations'}"),
            *(f"dataset.file_list_txt={folder}/dense.txt", f"launcher.experiment_log_dir={folder}/run"),
            *("scratch.num_train_workers=8", "checkpoint.every_n_minutes=null", "dataset.val_fraction=0"),
        ]
        subprocess.run(command, cwd=REPOSITORY, check=True)
        import pandas as pd

        metrics = pd.read_csv(Path(folder) / "run" / "metrics.csv").iloc[10:]
    name = "train.py on dogs-jump, b+ at 1024, 8 frames, 3 objects, bf16"
    return [
        Row(f"{name}: seconds a step", "s", float(metrics["step_seconds"].median())),
        Row(f"{name}: peak", "MiB", float(metrics["memory_mib"].max())),
        Row(f"{name}: waiting for data", "s", float(metrics["data_wait_seconds"].median())),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
