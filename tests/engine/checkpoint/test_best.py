"""The best weights of a run: which are kept, intact, and what a resume knows of them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from sam2_training.core.ranks import Ranks
from sam2_training.engine.checkpoint import files
from sam2_training.engine.checkpoint.best import BestWeights
from sam2_training.engine.config import CheckpointConfig
from sam2_training.engine.weights import RunWeights
from torch import nn

MONITOR = ("val_j_and_f",)


def network(step: int) -> RunWeights[nn.Module]:
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.fill_(step)
    return RunWeights(module, lambda model: {"model": model.state_dict()})


def after(folder: Path, config: CheckpointConfig, *values: tuple[int, dict[str, float]]) -> BestWeights:
    best = BestWeights(folder, config, Ranks())
    for step, found in values:
        best.update(step, found, network(step))
    return best


def step_in(path: Path) -> int:
    content = files.read_checkpoint(path, str(path))
    assert files.sha256_of(path) in files.recorded_hashes(path)
    assert float(content["model"]["weight"][0, 0]) == content["step"]
    return int(content["step"])


def test_the_best_of_each_metric_is_kept_the_earliest_of_equals(tmp_path: Path) -> None:
    config = CheckpointConfig(monitor=("val_j_and_f", "val_loss"))
    found = [(1, 0.5, 3.0), (2, 0.7, 2.0), (3, 0.7, 2.5), (4, 0.6, 1.0)]
    best = after(tmp_path, config, *((s, {"val_j_and_f": j, "val_loss": loss}) for s, j, loss in found))
    assert step_in(tmp_path / "best_val_j_and_f.pt") == best.best_step("val_j_and_f") == 2
    assert step_in(tmp_path / "best_val_loss.pt") == best.best_step("val_loss") == 4
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["best_val_j_and_f.pt", "best_val_loss.pt"]


def test_the_best_k_are_kept_by_step_and_the_others_removed(tmp_path: Path) -> None:
    config = CheckpointConfig(monitor=MONITOR, save_top_k=2)
    after(tmp_path, config, *((s, {"val_j_and_f": j}) for s, j in [(1, 0.5), (2, 0.7), (3, 0.6), (4, 0.1)]))
    names = sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".pt")
    assert names == [
        "best_val_j_and_f.pt",
        "best_val_j_and_f_step_00000002.pt",
        "best_val_j_and_f_step_00000003.pt",
    ]
    assert step_in(tmp_path / "best_val_j_and_f.pt") == 2
    assert len(list(tmp_path.glob("*.sha256"))) == 3


@pytest.mark.parametrize(("save_top_k", "num_files"), [(0, 0), (-1, 4)])
def test_none_or_all_can_be_kept(tmp_path: Path, save_top_k: int, num_files: int) -> None:
    values = [(1, 0.5), (2, 0.7), (3, 0.6)]
    best = after(
        tmp_path,
        CheckpointConfig(monitor=MONITOR, save_top_k=save_top_k),
        *((s, {"val_j_and_f": j}) for s, j in values),
    )
    assert len(list(tmp_path.glob("*.pt"))) == num_files
    assert best.best_step("val_j_and_f") == 2


def test_a_number_that_is_missing_or_nan_is_never_best(tmp_path: Path) -> None:
    best = after(tmp_path, CheckpointConfig(monitor=MONITOR), (1, {}), (2, {"val_j_and_f": float("nan")}))
    assert best.best_step("val_j_and_f") is None
    assert list(tmp_path.iterdir()) == []


def test_a_resume_goes_on_with_the_same_ranking(tmp_path: Path) -> None:
    config = CheckpointConfig(monitor=MONITOR)
    first = after(tmp_path, config, (1, {"val_j_and_f": 0.5}), (2, {"val_j_and_f": 0.7}))
    continued = BestWeights(tmp_path, config, Ranks())
    continued.load_state_dict(first.state_dict())
    assert continued.update(3, {"val_j_and_f": 0.6}, network(3)) == []
    assert step_in(tmp_path / "best_val_j_and_f.pt") == 2
    assert continued.update(4, {"val_j_and_f": 0.8}, network(4)) == ["val_j_and_f"]
    assert step_in(tmp_path / "best_val_j_and_f.pt") == 4


def test_a_full_disk_is_said_and_the_former_best_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    best = after(tmp_path, CheckpointConfig(monitor=MONITOR), (1, {"val_j_and_f": 0.5}))

    def full(path: Path, content: object) -> str:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_checkpoint", full)
    monkeypatch.setattr(logging.getLogger("sam2_training"), "propagate", True)
    best.update(2, {"val_j_and_f": 0.9}, network(2))
    assert "No space left on device" in caplog.text
    assert step_in(tmp_path / "best_val_j_and_f.pt") == 1
    assert not list(tmp_path.glob(".*"))
