"""loss.type=bce_dice: each term against a value computed by hand, what it leaves out, and which keys belong to it."""

from __future__ import annotations

from dataclasses import fields, replace
from math import log

import pytest
import torch
import torch.nn.functional as F
from sam2_training.engine.task import StepContext
from sam2_training.vos.batch import BatchInfo, FrameOutput, PredictionStep, VideoBatch
from sam2_training.vos.columns import column_kinds
from sam2_training.vos.loss_config import BCE_DICE_KEYS, BCE_DICE_WEIGHTS, LossConfig
from sam2_training.vos.losses import clip_loss, temporal_loss
from sam2_training.vos.mask_terms import mask_terms
from sam2_training.vos.metrics.names import BCE_DICE_LOSS_NAMES, LOSS_NAMES
from sam2_training.vos.model.prompts_config import PromptsConfig
from sam2_training.vos.model.step import ClipStep
from sam2_training.vos.model.tracker import TrainableSAM2
from torch import Tensor

from tests.vos.moving_clips import make_batch

CONFIG = LossConfig(type="bce_dice")
MASKS = torch.tensor([[[1, 0], [0, 0]], [[0, 1], [0, 0]]], dtype=torch.uint8)
"""One object in two frames of 2 x 2 pixels: it moves one pixel to the right."""


def small_clip(labeled: tuple[bool, bool] = (True, True), ignored: Tensor | None = None) -> VideoBatch:
    return VideoBatch(
        frames=torch.zeros(1, 2, 2, 2, 3, dtype=torch.uint8),
        mask_planes=MASKS[None, :, None],
        labeled=torch.tensor(labeled)[:, None],
        object_clip=torch.zeros(1, dtype=torch.int64),
        object_bit=torch.zeros(1, dtype=torch.int64),
        object_ids=torch.ones(1, dtype=torch.int64),
        info=BatchInfo(sources=("by hand",), loss_weight=1),
        ignored_planes=None if ignored is None else ignored.to(torch.uint8)[None, :, None],
        batch_size=[],
    )


def predicted(*frames: Tensor) -> list[FrameOutput]:
    """Logits [2, 2] of each frame as outputs with one candidate and a presence logit of 0."""
    outputs = []
    for t, logits in enumerate(frames):
        full = logits.double()[None, None]
        zeros = torch.zeros(1, 1, dtype=torch.float64)
        outputs.append(FrameOutput(t, [PredictionStep(full, zeros, zeros, full)], full))
    return outputs


UNDECIDED = torch.zeros(2, 2)
"""Probability 1/2 everywhere."""
LEANING = torch.tensor([[-log(3), log(3)], [-log(3), -log(3)]])
"""Probability 3/4 where the object is in the second frame, 1/4 elsewhere."""
CERTAIN = [MASKS[t].float() * 2000 - 1000 for t in range(2)]


def test_every_term_has_the_value_computed_by_hand() -> None:
    found = clip_loss(predicted(UNDECIDED, LEANING), small_clip(), replace(CONFIG, smooth=1.0), 1.0)
    # Frame 0: sum p = 2, sum p t = 1/2. Frame 1: sum p = 3/2, sum p t = 3/4.
    cross_entropy = log(2) + log(4 / 3)
    dice = (1 - (1 + 1) / (2 + 1 + 1)) + (1 - (1.5 + 1) / (1.5 + 1 + 1))
    soft_iou = (1 - (0.5 + 1) / (2.5 + 1)) + (1 - (0.75 + 1) / (1.75 + 1))
    # p changes by -1/4, 1/4, -1/4, -1/4, the truth by -1, 1, 0, 0.
    temporal = (0.75 + 0.75 + 0.25 + 0.25) / 4
    presence = 2 * log(2)
    assert found["loss_bce"].item() == pytest.approx(cross_entropy)
    assert found["loss_dice"].item() == pytest.approx(dice)
    assert found["loss_soft_iou"].item() == pytest.approx(soft_iou)
    assert found["loss_class"].item() == pytest.approx(presence)
    assert found["loss_temporal"].item() == pytest.approx(temporal)
    total = cross_entropy + dice + 0.5 * soft_iou + 0.1 * temporal + presence
    assert found["total"].item() == pytest.approx(total)
    assert set(found) == {*BCE_DICE_LOSS_NAMES, "total"}


def test_a_perfect_prediction_of_a_moving_object_costs_nothing() -> None:
    outputs = predicted(*CERTAIN)
    found = clip_loss(outputs, small_clip(), CONFIG, 1.0)
    assert [found[name].item() for name in ("loss_bce", "loss_dice", "loss_soft_iou", "loss_temporal")] == [0, 0, 0, 0]
    still = predicted(CERTAIN[0], CERTAIN[0])
    assert temporal_loss(still, small_clip()).item() == 2 / 4, "an object that moves must not be predicted at rest"


@pytest.mark.parametrize("labeled", [(True, False), (False, True), (False, False)])
def test_temporal_needs_labels_in_both_frames(labeled: tuple[bool, bool]) -> None:
    assert temporal_loss(predicted(UNDECIDED, LEANING), small_clip(labeled)).item() == 0


def test_temporal_leaves_out_what_is_ignored_in_either_frame() -> None:
    ignored = torch.zeros(2, 2, 2, dtype=torch.bool)
    ignored[0, 1, 0] = ignored[1, 1, 1] = True
    found = temporal_loss(predicted(UNDECIDED, LEANING), small_clip(ignored=ignored))
    assert found.item() == pytest.approx((0.75 + 0.75) / 2)
    one_frame = clip_loss(
        predicted(UNDECIDED, UNDECIDED), small_clip(ignored=ignored), replace(CONFIG, smooth=1.0), 1.0
    )
    assert one_frame["loss_dice"].item() == pytest.approx(2 * (1 - (1 + 1) / (1.5 + 1 + 1)))
    assert one_frame["loss_soft_iou"].item() == pytest.approx(2 * (1 - (0.5 + 1) / (2 + 1)))


def test_temporal_is_learnt_from_in_both_frames() -> None:
    logits = [UNDECIDED.clone().requires_grad_(), LEANING.clone().requires_grad_()]
    temporal_loss(predicted(*logits), small_clip()).backward()
    for sign, leaf in zip((1, -1), logits, strict=True):
        p = leaf.detach().sigmoid()
        slope = torch.tensor([[1.0, -1.0], [-1.0, -1.0]])  # p falls too little at first, and wrongly elsewhere
        expected = sign * -slope * p * (1 - p) / 4
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, expected)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 0.5), (0.0, 1.0, 0.0), (0.3, 0.0, 2.0)])
@pytest.mark.parametrize("size", [(6, 8), (12, 16)])
def test_the_handwritten_gradient_passes_gradcheck(weights: tuple[float, ...], size: tuple[int, int]) -> None:
    truth = torch.zeros(2, *size, dtype=torch.bool)
    truth[0, 1:5, 2:6] = True
    logits = torch.randn(2, 2, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    config = replace(CONFIG, smooth=0.5, **dict(zip(BCE_DICE_WEIGHTS, weights, strict=False)))
    areas = truth.flatten(1).sum(1)
    assert torch.autograd.gradcheck(lambda x: mask_terms(x, truth, areas, config).weighted, (logits,))


def test_values_equal_torchs_own() -> None:
    logits = torch.randn(1, 1, 5, 7, dtype=torch.float64)
    truth = torch.rand(1, 5, 7) > 0.5
    terms = mask_terms(logits, truth, truth.flatten(1).sum(1), CONFIG)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], truth.double())
    assert terms.cross_entropy.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("value", [-1024.0, 1024.0, 0.0])
def test_extreme_logits_have_finite_gradients(value: float) -> None:
    """Also of an object that is absent and predicted nowhere, where fractions have only the smoothing below."""
    truth = torch.zeros(2, 8, 8, dtype=torch.bool)
    truth[0, 2:4] = True
    logits = torch.full((2, 3, 8, 8), value, requires_grad=True)
    terms = mask_terms(logits, truth, truth.flatten(1).sum(1), replace(CONFIG, smooth=1e-12))
    terms.weighted.sum().backward()
    assert terms.weighted.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("key", BCE_DICE_KEYS)
def test_every_key_of_the_type_has_an_effect(key: str) -> None:
    outputs, clip = predicted(UNDECIDED, LEANING), small_clip()
    changed = replace(CONFIG, **{key: getattr(CONFIG, key) + 0.25})
    assert clip_loss(outputs, clip, changed, 1.0)["total"] != clip_loss(outputs, clip, CONFIG, 1.0)["total"]


def test_keys_of_the_other_type_are_refused_by_name() -> None:
    for field in fields(LossConfig):
        if field.name == "type":
            continue
        value = not field.default if isinstance(field.default, bool) else field.default + 0.5
        refusing, taking = ("sam2", "bce_dice") if field.name in BCE_DICE_KEYS else ("bce_dice", "sam2")
        (problem,) = LossConfig(**{"type": refusing, field.name: value}).problems("loss")
        assert problem.startswith(f"loss.{field.name}={value} has no effect with loss.type={refusing}: "), problem
        assert list(LossConfig(**{"type": taking, field.name: value}).problems("loss")) == []
    nothing = dict.fromkeys(BCE_DICE_WEIGHTS, 0.0)
    assert len(list(LossConfig(type="bce_dice", **nothing).problems("loss"))) == 1


def test_columns_are_those_of_the_type() -> None:
    assert set(LOSS_NAMES) <= set(column_kinds("sam2"))
    assert "loss_temporal" not in column_kinds("sam2")
    names = {f"{prefix}{name}" for prefix in ("", "val_", "retention_") for name in BCE_DICE_LOSS_NAMES}
    assert names <= set(column_kinds("bce_dice"))


@pytest.mark.parametrize("prob_to_use_points", [1.0, 0.0])
def test_a_step_is_the_same_however_its_batch_is_cut(network: TrainableSAM2, prob_to_use_points: float) -> None:
    batch = make_batch(3, (2, 1, 1), absent=[(1, 0), (2, 0)], unlabeled=[(1, 1), (2, 3)])
    network.prompts = PromptsConfig(prob_to_use_points, num_correction_pt_per_frame=2, rand_init_cond_frames=False)
    step = ClipStep(network.eval(), CONFIG)

    def losses(*cut: list[int]) -> dict[str, float]:
        found = [step(batch.part(clips), 4.0, StepContext(5, 1)) for clips in cut]
        return {name: sum(float(part[name].detach()) for part in found) for name in found[0]}

    apart = losses([0], [1], [2])
    assert apart["loss_temporal"] > 0
    for cut in ([[0, 1, 2]], [[0], [1, 2]], [[0, 2], [1]]):
        assert losses(*cut) == pytest.approx(apart, rel=1e-4, abs=1e-5)
