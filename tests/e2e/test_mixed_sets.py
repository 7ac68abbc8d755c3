"""A run on two datasets, killed and started again, ends with the same bits; with two processes too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Run


@pytest.mark.slow
def test_r02_a_run_on_several_datasets_that_is_killed_ends_with_the_same_bits(
    new_run: Callable[..., Run], real_data: Path
) -> None:
    short = real_data / "vos_short"
    entry = f"img_folder: {short / 'JPEGImages'}, gt_folder: {short / 'Annotations'}, num_frames: 1, batch_size: 2"
    words = [f"dataset.sets=[{{{entry}, weight: 0.4}}]", "trainer.max_steps=6", "scratch.num_train_workers=1"]
    whole, killed = new_run("whole", *words), new_run("killed", *words)
    ended = whole.go()
    assert ended.code == 0, ended.output
    assert "dataset 2 of 2: weight 0.4, 1 frame(s) per clip, 2 clip(s) per device at once" in ended.output
    process = killed.start()
    killed.wait_for_step(process, 3)
    killed.kill(process)
    ended = killed.go()
    assert ended.code == 0, ended.output
    assert killed.state_hash() == whole.state_hash()
    assert killed.loss_curve() == whole.loss_curve()
    report = (whole.folder / "report.html").read_text()
    assert "training set 1" in report
    assert "training set 2" in report
