"""What a run asks of torch before its task is opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sam2_training.core.errors import DataError
from sam2_training.engine.config import LauncherConfig, LoadedConfig, RunConfig, TrainerConfig
from sam2_training.engine.run import run_rank


@pytest.fixture(autouse=True)
def same_mode_afterwards() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize(("settings", "wanted"), [({}, False), ({"deterministic": True}, True)])
def test_deterministic_kernels_are_asked_for_where_the_setting_says_so(
    tmp_path: Path, settings: dict[str, bool], wanted: bool
) -> None:
    found: list[bool] = []

    def open_task(*_: object) -> None:
        found.append(torch.are_deterministic_algorithms_enabled())
        raise DataError("nothing to train on")

    torch.use_deterministic_algorithms(not wanted)
    config = RunConfig(
        trainer=TrainerConfig(accelerator="cpu", **settings),
        launcher=LauncherConfig(experiment_log_dir=str(tmp_path)),
    )
    with pytest.raises(DataError, match="nothing to train on"):
        run_rank(LoadedConfig(config, "demo/demo", ""), open_task)  # type: ignore[arg-type]
    assert found == [wanted]
