"""Settings of validations: all that cannot work is said, with the key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sam2_training.core.errors import ConfigError
from sam2_training.core.schema import as_dict
from sam2_training.engine.config import LoadedConfig, mode_of
from sam2_training.tasks import load_config
from sam2_training.vos.clips.config import TransformsConfig
from sam2_training.vos.config import VosConfig

FOLDERS = ("dataset.img_folder=images", "dataset.gt_folder=masks")


def loaded(*overrides: str) -> LoadedConfig[VosConfig]:
    return load_config("sam2.1_training/custom_finetune", [*FOLDERS, *overrides], VosConfig)


def load(*overrides: str) -> VosConfig:
    return loaded(*overrides).config


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["val_dataset={gt_folder: a}"], "val_dataset.img_folder is not set"),
        (
            ["val_dataset={img_folder: a, gt_folder: b, frame_interva: [2, 2]}"],
            "did you mean val_dataset.frame_interval",
        ),
        (
            ["evaluation.retention_dataset={img_folder: a, gt_folder: b}", "dataset.val_fraction=0"],
            "measured with the validation set only",
        ),
        (["dataset.val_fraction=1.0"], "must lie between 0 and 1, 1 excluded"),
        (["early_stopping.monitor=val_loss", "dataset.val_fraction=0"], "but nothing is validated"),
        (["early_stopping.monitor=val_jf", "dataset.val_fraction=0.1"], "val_jf is not measured"),
        (["checkpointing.monitor=[val_j,val_j]"], "names a metric twice"),
        (["evaluation.prompt=click"], "must be mask, box, click:N or interactive:N"),
        (
            ["trainer.limit_train_batches=0", "dataset.val_fraction=0"],
            "trains nothing, and nothing is validated either",
        ),
        (["trainer.val_check_interval=1.5"], "must be a fraction from 0.0 to 1.0, or a whole number"),
        (["trainer.val_check_interval=0"], "to validate never, set trainer.limit_val_batches=0"),
        (["visualization.stride=0"], "visualization.stride=0 must be at least 1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_work_is_said(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(*overrides)
    assert words in str(caught.value)


def test_a_whole_number_counts_and_a_fraction_divides() -> None:
    counted = load("trainer.val_check_interval=100", "trainer.limit_val_batches=5")
    assert (counted.trainer.val_check_interval, counted.trainer.limit_val_batches) == (100, 5)
    assert isinstance(counted.trainer.val_check_interval, int)
    assert isinstance(load("trainer.val_check_interval=1.0").trainer.val_check_interval, float)


@pytest.mark.parametrize("text", ["memory+decoder", "[memory+decoder]", "'[\"memory+decoder\"]'"])
def test_what_learns_may_be_one_text_in_place_of_a_list(text: str) -> None:
    assert load(f"model.trainable_modules={text.strip(chr(39))}").model.trainable_modules == ("memory+decoder",)
    assert load("optimizer.no_weight_decay=*bias*").optimizer.no_weight_decay == ("*bias*",)


def test_a_tenth_of_the_videos_is_held_out_unless_others_are_named() -> None:
    """The recipe that users start with reports J&F before and after without being asked."""
    config = load()
    assert (config.dataset.val_fraction, config.val_dataset) == (0.1, None)
    named = load("val_dataset.img_folder=a", "val_dataset.gt_folder=b").val_dataset
    assert named is not None
    assert (named.img_folder, named.val_fraction) == ("a", 0.0)


def test_less_of_a_loss_and_more_of_anything_else_is_better() -> None:
    assert [mode_of(name, None) for name in ("val_loss", "val_loss_dice", "val_j_and_f")] == ["min", "min", "max"]
    assert mode_of("val_loss", "max") == "max"


def test_how_a_run_is_measured_may_change_when_it_is_resumed() -> None:
    before = as_dict(load("dataset.val_fraction=0.1"))
    after = loaded(
        "dataset.val_fraction=0.1",
        "early_stopping.patience=3",
        "trainer.val_check_interval=7",
        "evaluation.prompt=box",
    )
    matter, harmless = after.differences_from(before)
    assert matter == []
    assert len(harmless) == 3
    assert loaded("dataset.val_fraction=0.2").differences_from(before)[0]


@pytest.mark.parametrize("section", ["val_dataset", "evaluation.retention_dataset"])
@pytest.mark.parametrize(
    ("key", "value", "default"),
    [("multiplier", 2, 1), ("reverse_time_prob", 0.5, 0.0), ("short_videos", "skip", "error")],
)
def test_what_changes_nothing_where_videos_are_measured_is_refused(
    section: str, key: str, value: object, default: object
) -> None:
    folders = "img_folder: a, gt_folder: b"
    with pytest.raises(ConfigError, match=rf"{section}\.{key}={value} has no effect here: .*; remove it"):
        load(f"{section}={{{folders}, {key}: {value}}}")
    load(f"{section}={{{folders}, {key}: {default}}}")  # what config_resolved.yaml of a run holds
    load(f"dataset.{key}={value}")


def test_a_key_of_a_section_alone_leaves_the_other_defaults_of_the_section(tmp_path: Path) -> None:
    """Each jitter has defaults of its own, which are not those of its class."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "dataset: {img_folder: a, gt_folder: b}\n"
        "transforms: {clip_jitter: {brightness: 0.2}, frame_jitter: {hue: 0.3}, affine: {shear: 5}}\n"
    )
    found, documented = load_config(str(recipe), [], VosConfig).config.transforms, TransformsConfig()
    assert found.clip_jitter == replace(documented.clip_jitter, brightness=0.2)
    assert found.frame_jitter == replace(documented.frame_jitter, hue=0.3)
    assert found.affine == replace(documented.affine, shear=5.0)
    assert documented.frame_jitter.brightness == 0.1
