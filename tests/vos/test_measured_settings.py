"""Every key of a measured set's clips changes what is measured, or is refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from sam2_training.core.ranks import Ranks
from sam2_training.data.config import DatasetConfig
from sam2_training.vos.clips.config import WITHOUT_EFFECT_IN_MEASURED_SETS, VosDatasetConfig
from sam2_training.vos.config import EvaluationConfig, VosConfig
from sam2_training.vos.validation import open_validation

from tests.small_datasets import Folders

EFFECTIVE: dict[str, Any] = {"frame_selection": "annotated", "frame_interval": (2, 2)}
"""{key: a value beside its default}."""


def clip_frames(folders: Folders, log_dir: Path, section: str, **changes: Any) -> list[str]:
    """The frames whose loss the set measures, a line a clip."""
    plain = VosDatasetConfig(img_folder=str(folders.images), gt_folder=str(folders.masks))
    config = replace(folders.train_config(num_frames=2), val_dataset=plain)
    measured = replace(plain, **changes)
    if section == "retention":
        config = replace(config, evaluation=EvaluationConfig(retention_dataset=measured))
    else:
        config = replace(config, val_dataset=measured)
    validation = open_validation(config, Ranks(), log_dir, None)
    assert validation is not None
    return [line for batch in validation.sets[section].batches for line in batch().info.sources]


@pytest.mark.parametrize("section", ["validation", "retention"])
def test_every_key_of_a_measured_sets_clips_has_an_effect_or_is_refused(
    section: str, folders: Folders, tmp_path: Path
) -> None:
    shared = {field.name for field in fields(DatasetConfig)}  # which files are read: the same for every set
    own = {field.name for field in fields(VosDatasetConfig)} - shared
    assert own == {*EFFECTIVE, *WITHOUT_EFFECT_IN_MEASURED_SETS}
    folders.video("a", [[1], None, [1], None, [1]])
    plain = clip_frames(folders, tmp_path / "plain", section)
    for key, value in EFFECTIVE.items():
        assert clip_frames(folders, tmp_path / key, section, **{key: value}) != plain, key


def test_a_set_that_nothing_measures_is_refused() -> None:
    retention = VosDatasetConfig(img_folder="a", gt_folder="b")
    config = VosConfig(evaluation=EvaluationConfig(retention_dataset=retention))
    assert any(line.startswith("evaluation.retention_dataset is set, but") for line in config.problems())
    assert not any("retention" in line for line in replace(config, val_dataset=retention).problems())
