"""Learning rate and weight decay of every parameter under the published recipe, against SAM 2's own training code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sam2
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2_training.engine.optimizer import build_optimizer
from sam2_training.engine.schedule import ShapedSchedule
from sam2_training.tasks import load_config

from benchmarks.stock import stock_root

STOCK = stock_root()
TOTAL_STEPS = 100
STEPS = (0, 37, 99)
"""First, one in between, last. Progress is step / total in both; stock itself stops its schedulers before 1."""
RELATIVE_ERROR = 1e-12


def stock_rates(folder: Path) -> dict[str, dict[str, list[float]]]:
    script = Path(__file__).with_name("stock_rates.py")
    command = [sys.executable, str(script), str(STOCK), *(str(step / TOTAL_STEPS) for step in STEPS)]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def published_network() -> torch.nn.Module:
    """b+ with random weights: only names and classes matter here."""
    architecture = OmegaConf.load(Path(sam2.__path__[0]) / "configs" / "sam2.1" / "sam2.1_hiera_b+.yaml")
    return instantiate(architecture.model, _recursive_=True)


@pytest.mark.slow
@pytest.mark.skipif(not (STOCK / "training").is_dir(), reason=f"no {STOCK}/training: `make setup` puts it there")
def test_every_parameters_lr_and_weight_decay_are_those_of_stock_training(tmp_path):
    recipe = ["dataset.img_folder=unused", "dataset.gt_folder=unused"]
    config = load_config("sam2.1_training/mose_finetune", recipe).config
    optimizer = build_optimizer(published_network(), config.optimizer, torch.device("cpu"))
    schedule = ShapedSchedule(config.scheduler, optimizer, TOTAL_STEPS, config.optimizer.lr)
    expected = stock_rates(tmp_path)
    for step in STEPS:
        schedule.apply(step)
        ours = {
            name: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for name in group["names"]
        }
        stock = expected[str(step / TOTAL_STEPS)]
        assert ours.keys() == stock.keys()
        for name, (lr, weight_decay) in stock.items():
            assert ours[name][0] == pytest.approx(lr, rel=RELATIVE_ERROR, abs=0), (step, name)
            assert ours[name][1] == weight_decay, (step, name)
    assert len({round(lr, 15) for lr, _ in stock.values()}) > 25  # 24 layers, the rest of the encoder, the others
