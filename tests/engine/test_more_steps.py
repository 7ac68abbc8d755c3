"""R11: more steps for a run that had finished go on with it; everything else that changes results is still refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sam2_training.core.errors import ConfigError

from tests.engine.in_process import config, train
from tests.engine.test_true_ends import StoppedAt

TRAIN = {"limit_val_batches": 0}


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        ({"max_steps": 4}, {"max_steps": 7}, 7),
        ({"max_steps": None, "max_epochs": 1}, {"max_steps": None, "max_epochs": 2}, 24),
        ({"max_steps": 4}, {"max_steps": None, "max_epochs": 10, "limit_train_batches": 1.0}, 120),
    ],
    ids=["max_steps", "max_epochs", "no limit"],
)
def test_r11_more_steps_for_a_finished_run_need_no_allowance_and_the_schedule_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: dict[str, Any], after: dict[str, Any], steps: int
) -> None:
    assert train(config(tmp_path, TRAIN | before, every_n_steps=None)) == 0
    assert train(config(tmp_path, TRAIN | after, every_n_steps=None)) == 0
    said = capsys.readouterr().out
    assert "goes on, although the run had finished" in said
    assert "the cosine schedule of the learning rate now spans all steps" in said
    assert f"Finished after step {steps}." in said
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == steps + 1


@pytest.mark.parametrize("after", [{"max_steps": 3}, {"max_steps": 7, "gradient_clip_val": 0.5}], ids=str)
def test_r11_fewer_steps_and_other_changes_of_a_finished_run_are_refused(tmp_path: Path, after: dict[str, Any]) -> None:
    assert train(config(tmp_path, TRAIN | {"max_steps": 4})) == 0
    with pytest.raises(ConfigError, match="was made with another configuration"):
        train(config(tmp_path, TRAIN | after))


def test_r11_more_steps_for_a_run_that_has_not_finished_are_refused(tmp_path: Path) -> None:
    assert train(config(tmp_path, TRAIN), StoppedAt) == 75
    with pytest.raises(ConfigError, match=r"trainer.max_steps: 6 -> 9"):
        train(config(tmp_path, TRAIN | {"max_steps": 9}))
