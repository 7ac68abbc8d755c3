"""A checkpoint store with one small state in it: what the checkpoint tests save and load."""

from __future__ import annotations

from pathlib import Path

import torch
from sam2_training.core.ranks import Ranks
from sam2_training.engine.checkpoint.store import CheckpointStore


def store_in(folder: Path, keep_last: int = 2) -> CheckpointStore:
    return CheckpointStore(folder, keep_last, Ranks())


def save(store: CheckpointStore, step: int) -> Path:
    model = {"weight": torch.full((2000,), float(step)), "bias": torch.arange(7.0)}
    return store.save(step, model, {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "config": {"seed": 1}})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def newest_step(store: CheckpointStore) -> int:
    found = store.load_newest()
    assert found is not None
    path, content = found
    assert torch.equal(content["model"]["weight"], torch.full((2000,), float(content["step"])))
    assert (store.folder / "checkpoint.pt").samefile(path)
    return int(content["step"])
