"""dataset.gt_stride: every n-th labeled frame counts as labeled; the others are tracked through without loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sam2_training.core.errors import DataError
from sam2_training.core.ranks import Ranks
from sam2_training.data.source import UNLABELED, Video
from sam2_training.engine.task import SampleKey, StepContext
from sam2_training.vos.clips.dataset import temporal_remark
from sam2_training.vos.clips.sampler import RandomUniformSampler
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.model.step import ClipStep
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.validation import open_validation

from tests.vos.opened import build_dataset


def labels(text: str) -> Video:
    """One object's frames: v visible, . absent, ? unlabeled."""
    areas = np.array([[{"v": 5, ".": 0, "?": UNLABELED}[mark]] for mark in text], np.int32)
    return Video("v", tuple(f"{t}.png" for t in range(len(areas))), (1,), areas)


def starts(sampler: RandomUniformSampler, video: Video) -> dict[int, tuple[bool, ...]]:
    """{first frame: which frames count as labeled} of many clips."""
    rng = np.random.default_rng(0)
    plans = [sampler.sample(video, rng) for _ in range(200)]
    return {plan.frame_indices[0]: plan.labels_used for plan in plans}


@pytest.mark.parametrize(
    ("frames", "stride", "expected"),
    [
        ("vvvvvvv", 1, dict.fromkeys(range(6), (True, True))),
        ("vvvvvvv", 2, {0: (True, False), 2: (True, False), 4: (True, False)}),
        ("vvvvvvv", 3, {0: (True, False), 3: (True, False)}),
        ("?v?v?v??", 2, {1: (True, False), 5: (True, False)}),  # counted in labeled frames, not in frames
        ("v.vv", 2, {0: (True, False), 2: (True, False)}),  # absent is labeled
        ("v?v", 1, {0: (True, False)}),  # a clip of two frames cannot start at the last one
    ],
)
def test_clips_start_on_labels_that_are_kept(frames: str, stride: int, expected: dict[int, tuple[bool, ...]]) -> None:
    assert starts(RandomUniformSampler(2, 1, gt_stride=stride), labels(frames)) == expected


def test_annotated_clips_are_made_of_the_labels_that_are_kept() -> None:
    sampler = RandomUniformSampler(2, 1, frame_selection="annotated", gt_stride=2)
    rng = np.random.default_rng(0)
    assert {sampler.sample(labels("vv?vvv"), rng).frame_indices for _ in range(50)} == {(0, 3), (3, 5)}
    assert sampler.problem(labels("vv").areas) == "short"


def test_a_video_whose_kept_labels_show_nothing_is_empty(folders: Any) -> None:
    assert RandomUniformSampler(2, 1, gt_stride=2).problem(labels(".v.v").areas) == "empty"
    assert RandomUniformSampler(2, 1, gt_stride=1).problem(labels(".v.v").areas) is None
    folders.video("a", [[], [1], [], [1]])
    with pytest.raises(DataError, match=r"no clip of 2 frames can start.*\n.*lower dataset\.gt_stride"):
        build_dataset(folders.train_config(num_frames=2, gt_stride=2), None)


def test_masks_of_thinned_frames_are_neither_shown_nor_labeled(folders: Any) -> None:
    folders.video("a", [[1, 2]] * 5)
    batch = build_dataset(folders.train_config(num_frames=5, gt_stride=2), None).batch([SampleKey(0, 0, 0)])
    assert batch.labeled[:, 0].tolist() == [True, False, True, False, True]
    shown = [bool(batch.masks(t).any()) for t in range(5)]
    assert shown == batch.labeled[:, 0].tolist()
    (facts,) = batch.clip_facts()
    assert facts.labeled_frames == (True, False, True, False, True)


@pytest.mark.parametrize("loss", [LossConfig(), LossConfig(type="bce_dice")])
def test_frames_between_are_tracked_through_without_loss(
    folders: Any, network: TrainableSAM2, loss: LossConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thinned labels give the loss of files that were never there; the pixels of all frames count as before."""
    for name, kept in (("all", range(5)), ("some", (0, 2, 4))):
        folders.video(name, [([1, 2], [2, 1])[t % 2] if t in kept else None for t in range(5)])  # they swap places
    tracked: list[int] = []
    decode_first = network.decode_first

    def spy(t: int, *rest: Any) -> Any:
        tracked.append(t)
        return decode_first(t, *rest)

    monkeypatch.setattr(network, "decode_first", spy)

    def losses(number: int, **settings: Any) -> dict[str, float]:
        config = folders.train_config(num_frames=5, resolution=64, **settings)
        batch = build_dataset(config, None).batch([SampleKey(0, 0, number)])
        with torch.no_grad():
            found = ClipStep(network.eval(), loss)(batch, 1.0, StepContext(1, 0))
        return {key: float(value) for key, value in found.items()}

    whole, thinned, files_missing = losses(0), losses(0, gt_stride=2), losses(1)
    assert sorted(tracked) == sorted([*range(5)] * 3)
    assert thinned == files_missing
    assert thinned["loss_class"] < whole["loss_class"]
    if loss.type == "bce_dice":
        assert (whole["loss_temporal"] > 0, thinned["loss_temporal"]) == (True, 0.0)


def test_a_temporal_loss_without_labeled_neighbors_is_said(folders: Any) -> None:
    def said(loss_type: str = "bce_dice", **settings: Any) -> bool:
        config = replace(folders.train_config(**{"num_frames": 3, **settings}), loss=LossConfig(type=loss_type))
        return any("loss.temporal_weight=0.1 has nothing to act on" in line for line in temporal_remark(config))

    assert said(gt_stride=2)
    assert said(num_frames=1)
    assert said(gt_stride=4, frame_interval=(1, 3))
    assert not said()
    assert not said(gt_stride=3, frame_interval=(1, 3))
    assert not said(gt_stride=2, frame_selection="annotated")
    assert not said(gt_stride=2, loss_type="sam2")


def test_measurements_keep_all_labels(folders: Any, tmp_path: Path) -> None:
    for name in "abcdef":
        folders.video(name, [[1]] * 4)
    config = folders.train_config(num_frames=4, gt_stride=3)
    task_set = build_dataset(config, None)
    held_out = task_set.index.part([0, 1], "held out")
    validation = open_validation(config, Ranks(), tmp_path, held_out)
    assert validation is not None
    assert all(bool(batch().labeled.all()) for batch in validation.sets["validation"].batches)
    assert any("gt_stride" in line for line in task_set.describe())
    other = replace(config, val_dataset=replace(config.dataset, gt_stride=3))
    assert [line for line in other.val_dataset.problems("val_dataset") if "gt_stride" in line]
