"""Pixels that dataset.ignore_ids names take no part in losses, clicks and scores; without any, nothing changes."""

from __future__ import annotations

import pickle
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sam2_training.engine.task import SampleKey, StepContext
from sam2_training.vos.clips.config import AffineConfig, TransformsConfig
from sam2_training.vos.evaluation.scoring import ClipScorer
from sam2_training.vos.evaluation.tracker import FrameMasks
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.mask_terms import mask_terms
from sam2_training.vos.model.prompts import sample_click
from sam2_training.vos.model.step import ClipStep
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.sam2.points import LABEL_NEGATIVE, LABEL_PADDING

from tests.vos.opened import build_dataset, open_clips

VOID = 255


def random_case(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [3, 2, 20, 24] and masks [3, 20, 24] whose right half is empty."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(3, 20, 24, generator=generator) > 0.6
    masks[..., 12:] = False
    return torch.randn(3, 2, 20, 24, generator=generator, dtype=torch.float64), masks


def test_losses_are_means_over_the_pixels_that_take_part() -> None:
    logits, masks = random_case()
    ignored = torch.zeros_like(masks)
    ignored[..., 12:] = True
    whole, half = logits.clone().requires_grad_(), logits[..., :12].clone().requires_grad_()
    areas = masks.flatten(1).sum(1)
    left_out = mask_terms(whole, masks, areas, LossConfig(), ignored)
    alone = mask_terms(half, masks[..., :12], areas, LossConfig())
    for name in ("cross_entropy", "dice", "soft_iou", "actual_iou", "weighted"):
        torch.testing.assert_close(getattr(left_out, name), getattr(alone, name))
    assert left_out.best.equal(alone.best)
    left_out.weighted.sum().backward()
    alone.weighted.sum().backward()
    assert whole.grad is not None
    assert half.grad is not None
    torch.testing.assert_close(whole.grad[..., :12], half.grad)
    assert not whole.grad[..., 12:].any()


def test_each_object_ignores_its_own_pixels_and_a_fully_ignored_one_gives_no_loss() -> None:
    logits, masks = random_case(1)
    masks[2] = False
    ignored = torch.zeros_like(masks)
    ignored[1, :, 20:], ignored[2] = True, True
    areas = masks.flatten(1).sum(1)
    found, plain = (mask_terms(logits, masks, areas, LossConfig(), left_out) for left_out in (ignored, None))
    assert found.cross_entropy[0] == plain.cross_entropy[0]
    assert found.cross_entropy[1] != plain.cross_entropy[1]
    assert found.cross_entropy[2] == found.dice[2] == found.soft_iou[2] == 0


def test_without_ignored_pixels_losses_are_bit_equal() -> None:
    logits, masks = random_case(2)
    areas = masks.flatten(1).sum(1)
    one = mask_terms(logits.float(), masks, areas, LossConfig(), torch.zeros_like(masks))
    other = mask_terms(logits.float(), masks, areas, LossConfig())
    assert one.weighted.equal(other.weighted)


def test_no_click_falls_on_an_ignored_pixel() -> None:
    truth = torch.zeros(3, 8, 8, dtype=torch.bool)
    truth[:, 2:4, 2:4] = True
    predicted = truth.clone()
    predicted[0, 6:] = True  # wrong, and to be ignored: nothing else is wrong
    ignored = torch.zeros_like(truth)
    ignored[0, 5:], ignored[1, :7] = True, True
    ignored &= ~truth
    ignored[2] = ~truth[2]  # no background is left
    labeled = torch.ones(3, dtype=torch.bool)
    for position in torch.linspace(0, 0.99, 20):
        points = sample_click(truth, predicted, labeled, position.repeat(3), ignored)
        assert points.labels[:, 0].tolist() == [LABEL_NEGATIVE, LABEL_NEGATIVE, LABEL_PADDING]
        for n in (0, 1):
            x, y = points.coords[n, 0].long().tolist()
            assert not ignored[n, y, x]


def rimmed(folders: Any, ids: tuple[int, ...] = (1,)) -> None:
    """A video of 4 frames: an object with a rim of 255 two pixels wide."""
    for t in range(4):
        folders.image("v", f"{t}.png")
        mask = np.zeros((24, 32), np.uint8)
        mask[4:16, 6 + t : 20 + t] = VOID
        mask[6:14, 8 + t : 18 + t] = ids[0]
        folders.mask("v", f"{t}.png", mask)


def test_a_clip_carries_what_is_ignored_through_the_augmentation(folders: Any) -> None:
    rimmed(folders)
    config = folders.train_config(num_frames=3, resolution=64, ignore_ids=(VOID,))
    batch = build_dataset(config, None).batch([SampleKey(0, 0, 0), SampleKey(0, 1, 0)])
    assert batch.ignored_planes is not None
    for t in range(3):
        ignored, masks = batch.ignored(t), batch.masks(t)
        assert ignored is not None
        assert not (ignored & masks).any()
        scale = 64 * 64 / (24 * 32)
        assert ignored[0].sum().item() == pytest.approx((12 * 14 - 8 * 10) * scale, rel=0.1)
        assert masks[0].sum().item() == pytest.approx(8 * 10 * scale, rel=0.1)
    part = batch.part([1])
    assert part.ignored(0).equal(batch.ignored(0)[1:])
    turned = TransformsConfig(1.0, AffineConfig(degrees=180, shear=0, scale=(0.5, 0.5)))
    small = build_dataset(replace(config, transforms=turned), None).batch([SampleKey(0, 0, 0)])
    assert not (small.ignored(0) & small.masks(0)).any()
    # Both shrink alike, and what comes in from outside the frame is not ignored.
    assert small.ignored(0).sum() / small.masks(0).sum() == pytest.approx(1.1, rel=0.2)


def test_a_clip_without_ignored_pixels_carries_no_plane_for_them(folders: Any) -> None:
    folders.video("v", [[1], [1]])
    for settings in ({}, {"ignore_ids": (VOID,)}):
        batch = build_dataset(folders.train_config(**settings), None).batch([SampleKey(0, 0, 0)])
        assert batch.ignored_planes is None
        assert batch.ignored(0) is None


def test_scores_leave_ignored_pixels_out(folders: Any) -> None:
    rimmed(folders)
    predicted = np.zeros((4, 1, 24, 32), bool)
    for t in range(4):
        predicted[t, 0, 4:16, 6 + t : 20 + t] = True  # object and rim
    scores = {}
    for name, settings in (("ignored", {"ignore_ids": (VOID,)}), ("background", {"object_ids": (1,)})):
        clip = open_clips(folders.config(**settings), 0, None)[0]
        with closing(ClipScorer(clip, "sav")) as scorer:
            for t in range(4):
                scorer.add(FrameMasks(t, (1,), predicted[t], np.zeros(1, np.float32)))
            scores[name] = scorer.scores()[0]
    assert (scores["ignored"].j, scores["ignored"].f) == (1.0, 1.0)
    assert scores["background"].j == pytest.approx(80 / 168)


def test_a_step_of_the_network_leaves_ignored_pixels_out(folders: Any, network: TrainableSAM2) -> None:
    """A batch as a loader's worker sends it; the untrained network says "absent", so only object pixels have a loss."""
    rimmed(folders)
    losses = {}
    for name, settings in (("ignored", {"ignore_ids": (VOID,)}), ("background", {"object_ids": (1,)})):
        config = folders.train_config(num_frames=2, resolution=64, **settings)
        batch = pickle.loads(pickle.dumps(build_dataset(config, None).batch([SampleKey(0, 0, 0)])))
        found = ClipStep(network, LossConfig())(batch.to("cpu"), 1.0, StepContext(0, 0))
        losses[name] = float(found["loss_mask"])
    pixels, ignored = 24 * 32, 12 * 14 - 8 * 10
    assert losses["ignored"] / losses["background"] == pytest.approx(pixels / (pixels - ignored), rel=0.01)
