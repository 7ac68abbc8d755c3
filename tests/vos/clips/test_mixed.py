"""dataset.sets: several datasets in one run, each with its clips, augmentation, weight and batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sam2_training.core.errors import ConfigError
from sam2_training.engine.grouped_order import GroupedOrder, global_batches
from sam2_training.tasks import load_config
from sam2_training.vos.clips.mixed import MixedClips, open_clips
from sam2_training.vos.config import VosConfig

from tests.small_datasets import Folders


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Folders]:
    """Two videos of four frames, and three pictures."""
    found = {}
    for name in ("videos", "pictures"):
        (tmp_path / name).mkdir()
        found[name] = Folders(tmp_path / name)
    for video in ("a", "b"):
        found["videos"].video(video, [[1, 2]] * 4)
    for picture in ("p", "q", "r"):
        found["pictures"].video(picture, [[1]])
    return found


def config_of(places: dict[str, Folders], *overrides: str, entry: str = "num_frames: 1, batch_size: 3") -> VosConfig:
    videos, pictures = places["videos"], places["pictures"]
    return load_config(
        "custom_finetune",
        [
            *(f"dataset.img_folder={videos.images}", f"dataset.gt_folder={videos.masks}", "scratch.num_frames=3"),
            f"dataset.sets=[{{img_folder: {pictures.images}, gt_folder: {pictures.masks}, {entry}}}]",
            *("scratch.resolution=64", "dataset.val_fraction=0", "scratch.train_batch_size=2", *overrides),
        ],
        VosConfig,
    ).config


def opened(config: VosConfig) -> MixedClips:
    clips, _ = open_clips(config, None)
    assert isinstance(clips, MixedClips)
    return clips


def batches_of_an_epoch(config: VosConfig) -> list[tuple[int, tuple[int, ...]]]:
    """(group, shape of the frames) of each step."""
    clips = opened(config)
    groups = clips.groups()
    order = GroupedOrder(config.seed, groups, global_batches(groups, config.loader.batch_size, 1), 1)
    return [
        (order.group_of(step), tuple(clips.batch(order.keys(step, 0)).frames.shape))
        for step in range(order.steps_per_epoch)
    ]


def test_each_step_is_of_one_dataset_with_its_frames_and_batch_size(places: dict[str, Folders]) -> None:
    found = batches_of_an_epoch(config_of(places))
    assert sorted(found) == [(0, (2, 3, 64, 64, 3)), (1, (3, 1, 64, 64, 3))]
    found = batches_of_an_epoch(config_of(places, entry="num_frames: 1, batch_size: 1, weight: 2"))
    assert sorted(found) == [(0, (2, 3, 64, 64, 3))] + [(1, (1, 1, 64, 64, 3))] * 6


def test_each_dataset_has_its_own_augmentation_and_objects(places: dict[str, Folders]) -> None:
    entry = (
        "transforms: {horizontal_flip_prob: 0, affine: {degrees: 0, shear: 0}, grayscale_prob: 1}, max_num_objects: 1"
    )
    clips = opened(config_of(places, entry=entry + ", num_frames: 1"))
    assert [part.config.transforms.grayscale_prob for part in clips.parts] == [0.05, 1]
    assert [part.sampler.max_num_objects for part in clips.parts] == [3, 1]
    gray = clips.parts[1].batch(GroupedOrder(0, (clips.groups()[1],), (1,), 1).keys(0, 0)).frames
    assert (gray.max(-1).values.int() - gray.min(-1).values.int()).max() <= 2


def test_what_is_trained_on_is_told_and_fingerprinted(places: dict[str, Folders], tmp_path: Path) -> None:
    clips = opened(config_of(places))
    lines = clips.describe()
    assert lines[0] == "dataset 1 of 2: weight 1, 3 frame(s) per clip, 2 clip(s) per device at once"
    assert "dataset 2 of 2: weight 1, 1 frame(s) per clip, 3 clip(s) per device at once" in lines
    others = [
        config_of(places, entry="num_frames: 1, batch_size: 3, weight: 0.5"),
        config_of(places, entry="num_frames: 1, batch_size: 2"),
        config_of(places, entry="num_frames: 1, batch_size: 3, max_num_objects: 1"),
        config_of(places, "dataset.reverse_time_prob=0.5"),
    ]
    prints = [opened(config).fingerprint() for config in others]
    assert len({clips.fingerprint(), *prints}) == 5
    places["pictures"].mask("p", "00000.png", np.full((24, 32), 1, np.uint8))
    assert opened(config_of(places)).fingerprint() != clips.fingerprint()


def test_sets_alone_are_enough(places: dict[str, Folders]) -> None:
    config = config_of(places, "dataset.img_folder=null", "dataset.gt_folder=null")
    assert len(opened(config).parts) == 1


@pytest.mark.parametrize(
    ("overrides", "entry", "message"),
    [
        ([], "multiplier: 3", r"dataset\.sets\[0\]\.multiplier=3 has no effect here: set dataset\.sets\[0\]\.weight=3"),
        ([], "weight: 0", r"dataset\.sets\[0\]\.weight=0"),
        ([], "wait: 2", r"unknown key dataset\.sets\[0\]\.wait"),
        ([], "val_fraction: 0.5", r"dataset\.sets\[0\]\.val_fraction=0\.5: only dataset\.val_fraction holds"),
        (
            ["dataset.img_folder=null", "dataset.val_fraction=0.5"],
            "weight: 1",
            r"dataset\.val_fraction=0\.5 holds out videos of dataset\.img_folder, of which there are none",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    overrides: list[str], entry: str, message: str, places: dict[str, Folders]
) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(places, *overrides, entry=entry)
