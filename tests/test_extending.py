"""docs/extending.md, followed to the letter: its files are written, its changes applied, and a run is trained."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

PAGE = (REPOSITORY / "docs" / "extending.md").read_text()
BLOCK = re.compile(r"^```(\w+) file=(\S+)\n(.*?)^```$", flags=re.M | re.S)
TINY = (
    *("-c", "sam2.1_training/demo", "trainer.accelerator=cpu", "trainer.max_steps=2", "trainer.log_every_n_steps=1"),
    *("scratch.train_batch_size=1", "dataset.synthetic.num_videos=4", "trainer.limit_val_batches=1"),
)

pytestmark = pytest.mark.slow


class Copy:
    """A copy of the code in which a recipe of the page is followed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run_folder = folder, folder / "run"
        for name in ("training", "sam2_configs"):
            shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))

    def follow(self, heading: str) -> None:
        section = re.split(r"^## ", PAGE, flags=re.M)
        text = next(part for part in section if part.startswith(f"{heading}\n"))
        blocks = BLOCK.findall(text)
        assert len(blocks) == text.count("```") // 2, "a block without a file"
        for language, name, content in blocks:
            path = self.folder / name
            if language == "diff":
                apply(path, content)
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_text(content)

    def train(self, *arguments: str) -> list[dict[str, str]]:
        """The rows of metrics.csv."""
        command = [sys.executable, "training/train.py", *arguments, f"launcher.experiment_log_dir={self.run_folder}"]
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=self.folder, env=clean, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        with (self.run_folder / "metrics.csv").open() as file:
            return list(csv.DictReader(file))


def apply(path: Path, change: str) -> None:
    """Replaces the lines of a change that do not begin with + by those that do not begin with -."""
    lines = change.splitlines()
    before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    text = path.read_text()
    assert text.count(before) == 1, f"{path} does not hold exactly once:\n{before}"
    path.write_text(text.replace(before, after))


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_data_format(copy: Copy) -> None:
    copy.follow("A data format")
    videos = copy.folder / "videos"
    videos.mkdir()
    for name in "ab":
        masks = np.zeros((4, 48, 64), np.uint8)
        masks[:, 8:24, 8:24], masks[:, 30:44, 30:60] = 1, 2
        frames = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), np.uint8)
        np.savez(videos / f"{name}.npz", frames=frames, masks=masks)
    data = ["dataset.dataset_type=npz", f"dataset.img_folder={videos}"]
    validation = [word.replace("dataset.", "val_dataset.", 1) for word in data]
    assert len(copy.train(*TINY, *data, *validation)) == 2
    assert list((copy.run_folder / "evaluation" / "validation").glob("step_*.json"))


def test_a_loss(copy: Copy) -> None:
    copy.follow("A loss")
    row = copy.train(*TINY, "loss.loss_area=1")[0]
    weights = {"loss_mask": 20, "loss_dice": 10, "loss_iou": 1, "loss_class": 1, "loss_area": 1}
    assert float(row["loss_area"]) > 0
    assert float(row["total"]) == pytest.approx(sum(weight * float(row[name]) for name, weight in weights.items()))


def test_a_task(copy: Copy) -> None:
    copy.follow("A task")
    rows = copy.train("-c", "sums.yaml", "trainer.accelerator=cpu", "trainer.max_epochs=12")
    assert len(rows) == 96
    assert float(rows[-1]["total"]) < float(rows[0]["total"])


def test_a_logger(copy: Copy) -> None:
    copy.follow("A logger")
    rows = copy.train(*TINY)
    logged = [json.loads(line) for line in (copy.run_folder / "metrics.jsonl").read_text().splitlines()]
    totals = [line["losses/total"] for line in logged if "losses/total" in line]
    assert totals == pytest.approx([float(row["total"]) for row in rows])
