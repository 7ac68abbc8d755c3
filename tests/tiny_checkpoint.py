"""A checkpoint of the smallest architecture for tests of commands, and how these are started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.weights import clean_state_dict

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

SETTINGS = (
    *("-c", "custom_finetune", "model.name=architecture/tiny.yaml"),
    *("scratch.resolution=64", "dataset.val_fraction=0"),
)
CPU = "trainer.accelerator=cpu"


def save_tiny(path: Path, seed: int = 0) -> Path:
    """Saves random weights under which objects are present."""
    torch.manual_seed(seed)
    network = build_network(ModelConfig(name="architecture/tiny.yaml", image_size=64))
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
    torch.save({"model": clean_state_dict(network)}, path)
    return path


def run_script(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, started from another folder, as a user would."""
    command = [sys.executable, str(REPOSITORY / "training" / name), *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
