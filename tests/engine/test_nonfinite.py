"""R15: a run that meets a loss that is not finite stops, or leaves out as many steps as it may, on all ranks alike."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sam2_training.core.errors import NonFiniteError
from sam2_training.engine.processes import STATUS, read_status

from tests.engine.in_process import config, train
from tests.engine.second_task import NumbersDataset, RegressionTask
from tests.two_ranks import seen_by_two_ranks

SKIP = {"limit_val_batches": 0, "on_nonfinite": "skip"}


def with_nan(bad: set[int], killed_at: int | None = None) -> type[RegressionTask]:
    """A task with NaN in the samples of some positions of an epoch; killed_at: fails at that position, unexpectedly."""

    class Task(RegressionTask):
        def dataset(self) -> NumbersDataset:
            class Dataset(NumbersDataset):
                def batch(self, keys: list[Any]) -> Any:
                    batch = super().batch(keys)
                    positions = {key.position for key in keys}
                    if killed_at in positions:
                        raise RuntimeError("killed")
                    if positions & bad:
                        batch.x[:] = float("nan")
                    return batch

            return Dataset()

    return Task


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def left_out_of(folder: Path) -> list[str]:
    return [row["left_out_steps"] for row in rows_of(folder)]


def test_r15_a_loss_that_is_not_finite_ends_the_run_with_3_and_names_the_other_way(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"at step 2; (.|\n)*trainer.on_nonfinite=skip"):
        train(config(tmp_path, {"limit_val_batches": 0}), with_nan({2}))
    assert read_status(tmp_path / STATUS) is not None
    assert (tmp_path / "nonfinite_step_00000002.json").is_file()


def test_r15_skip_leaves_steps_out_counts_them_and_writes_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(config(tmp_path, SKIP), with_nan({2, 6})) == 0
    assert left_out_of(tmp_path) == ["0", "1", "1", "2", "2", "2"]
    assert [row["total"] == "nan" for row in rows_of(tmp_path)] == [False, True, False, True, False, False]
    listing = json.loads((tmp_path / "nonfinite_step_00000004.json").read_text())
    assert listing["step"] == 4
    assert len(listing["sources_by_rank"][0]) == 2
    status = read_status(tmp_path / STATUS)
    assert status is not None
    assert status[0] == 0
    assert "step 6; 2 optimizer steps left out" in status[1]
    said = capsys.readouterr().out
    assert "not finite at step 4: left out, 2 of 10 (trainer.nonfinite_budget)" in said
    assert "2 optimizer steps left out" in said
    weights = torch.load(tmp_path / "checkpoints" / "checkpoint.pt", weights_only=True)["model"]
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_r15_one_step_more_than_the_budget_ends_the_run_with_3(tmp_path: Path) -> None:
    asked = config(tmp_path, {**SKIP, "nonfinite_budget": 1})
    with pytest.raises(NonFiniteError, match=r"at step 4; .* 2 steps were left out, trainer.nonfinite_budget=1"):
        train(asked, with_nan({2, 6}))
    assert left_out_of(tmp_path) == ["0", "1", "1"]
    assert train(config(tmp_path, {**SKIP, "nonfinite_budget": 2}), with_nan({2, 6})) == 0, "a raised budget goes on"


def test_r15_a_run_that_was_killed_counts_the_same(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(config(whole, SKIP), with_nan({2, 6})) == 0
    with pytest.raises(RuntimeError, match="killed"):
        train(config(killed, SKIP), with_nan({2, 6}, killed_at=8))
    assert train(config(killed, SKIP), with_nan({2, 6})) == 0
    assert left_out_of(killed) == left_out_of(whole)
    states = [torch.load(folder / "checkpoints" / "checkpoint.pt", weights_only=True) for folder in (whole, killed)]
    assert states[0]["guard"] == states[1]["guard"] == {"left_out": 2}
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name])


TWO_RANKS = """
import hashlib, json, os
from pathlib import Path
from tests.engine.in_process import config, train
from tests.engine.test_nonfinite import SKIP, left_out_of, with_nan
import torch
rank = os.environ["RANK"]
folder = Path(os.environ["FOLDER"])
code = train(config(folder, SKIP), with_nan({2, 14} if rank == "1" else set()))
state = torch.load(folder / "checkpoints" / "checkpoint.pt", weights_only=True)
finite = all(bool(torch.isfinite(value).all()) for value in state["model"].values())
lists = [json.loads(path.read_text()) for path in sorted(folder.glob("nonfinite_step_*.json"))]
seen = {"code": code, "left_out": left_out_of(folder), "guard": state["guard"], "finite": finite, "lists": lists}
Path(os.environ["RESULT"] + rank).write_text(json.dumps(seen))
"""


def test_r15_nan_on_one_rank_only_leaves_the_step_out_on_all(tmp_path: Path) -> None:
    seen = seen_by_two_ranks(TWO_RANKS, tmp_path, FOLDER=str(tmp_path / "run"))
    assert seen[0] == seen[1]
    assert (seen[0]["code"], seen[0]["guard"], seen[0]["finite"]) == (0, {"left_out": 2}, True)
    assert seen[0]["left_out"] == ["1", "1", "1", "2", "2", "2"]
    assert [len(listing["sources_by_rank"]) for listing in seen[0]["lists"]] == [2, 2]


def test_r15_a_budget_without_skip_is_refused() -> None:
    problems = list(config(Path("x"), {"nonfinite_budget": 3}).trainer.problems("trainer"))
    assert problems == ["trainer.nonfinite_budget=3 needs trainer.on_nonfinite=skip"]
