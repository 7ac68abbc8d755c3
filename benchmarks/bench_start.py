"""From starting the process to the first loss: hiera_t at 256 px on generated clips, on the CPU."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
REPEATS = 5
TARGET_SECONDS = 3.5
FIRST_LOSS = re.compile(r"\bloss\S*\s+\d")
OVERRIDES = (
    "model.name=sam2.1_hiera_t",
    "model.checkpoint=null",
    "dataset.dataset_type=synthetic",
    "dataset.val_fraction=0",
    "dataset.synthetic.size=256",
    "dataset.synthetic.num_videos=8",
    "scratch.resolution=256",
    "scratch.num_train_workers=0",
    "trainer.accelerator=cpu",
    "trainer.max_steps=1",
    "trainer.log_every_n_steps=1",
)


def seconds_to_first_loss() -> tuple[float, float]:
    """Wall-clock and CPU seconds until the first line with a loss; on a busy machine only the second says much."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "training/train.py", "-c", "sam2.1_training/custom_finetune", *OVERRIDES]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, f"launcher.experiment_log_dir={folder}/run"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seen, found = [], None
        for line in process.stdout or ():
            seen.append(line)
            if found is None and FIRST_LOSS.search(line):
                cpu = psutil.Process(process.pid).cpu_times()
                found = time.perf_counter() - started, cpu.user + cpu.system
        if process.wait() != 0 or found is None:
            sys.exit(f"no loss was logged (exit code {process.returncode}):\n{''.join(seen)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the row here")
    arguments = parser.parse_args()
    seconds_to_first_loss()  # files come into the page cache
    measured, cpu = zip(*(seconds_to_first_loss() for _ in range(REPEATS)), strict=True)
    row = {
        "name": "start to first loss, hiera_t, 256 px",
        "unit": "s",
        "ours": statistics.median(measured),
        "target": TARGET_SECONDS,
        "note": f"wall clock, {min(measured):.2f} to {max(measured):.2f} s in {REPEATS} runs; "
        f"CPU time {statistics.median(cpu):.2f} s",
    }
    print(json.dumps(row, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps([row]))


if __name__ == "__main__":
    main()
