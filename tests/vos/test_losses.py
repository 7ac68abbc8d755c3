"""The loss against its formulas written out plainly, its gradient, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sam2_training.vos import mask_terms as mask_terms_module
from sam2_training.vos.batch import BatchInfo, ClipFacts, FrameOutput, PredictionStep, VideoBatch
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.losses import clip_loss, focal_loss
from sam2_training.vos.mask_terms import mask_terms
from sam2_training.vos.metrics.names import LOSS_NAMES
from torch import Tensor

from tests.vos.moving_clips import make_batch

CONFIGS = [
    LossConfig(),
    LossConfig("sam2", 3.0, 2.0, 0.5, 4.0, 0.7, 1.5, supervise_all_iou=False, iou_use_l1_loss=False),
    LossConfig(focal_alpha=-1.0, focal_gamma=0.0, focal_alpha_obj_score=0.3, focal_gamma_obj_score=2.0),
]


def plain_focal(logits: Tensor, target: Tensor, alpha: float, gamma: float) -> Tensor:
    p = logits.sigmoid()
    p_t = p * target + (1 - p) * (1 - target)
    alpha_t = alpha * target + (1 - alpha) * (1 - target) if alpha >= 0 else 1.0
    return -alpha_t * (1 - p_t) ** gamma * p_t.log()


def plain_loss(step: PredictionStep, truth: Tensor, labeled: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """The published loss of one prediction step, object by object. truth: bool [O, H, W]."""
    sums = {name: torch.zeros((), dtype=step.ious.dtype) for name in (*LOSS_NAMES, "total")}
    full = F.interpolate(step.low_res_masks, size=truth.shape[-2:], mode="bilinear", align_corners=False)
    for o in range(len(truth)):
        if not labeled[o]:
            continue
        target = truth[o].to(full.dtype)
        present = target.max()[None]
        score = plain_focal(
            step.object_score_logits[o], present, config.focal_alpha_obj_score, config.focal_gamma_obj_score
        ).mean()
        terms = {"loss_class": score}
        if truth[o].any():
            focal, dice, error = [], [], []
            for m in range(full.shape[1]):
                p = full[o, m].sigmoid()
                focal.append(plain_focal(full[o, m], target, config.focal_alpha, config.focal_gamma).mean())
                dice.append(1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1))
                predicted = full[o, m] > 0
                iou = (predicted & truth[o]).sum().double() / (predicted | truth[o]).sum().clamp(min=1)
                difference = step.ious[o, m] - iou
                error.append(difference.abs() if config.iou_use_l1_loss else difference**2)
            weighted = [config.loss_mask * f + config.loss_dice * d for f, d in zip(focal, dice, strict=True)]
            best = int(torch.stack(weighted).argmin())
            iou_term = torch.stack(error).mean() if config.supervise_all_iou else error[best]
            terms |= {"loss_mask": focal[best], "loss_dice": dice[best], "loss_iou": iou_term}
        for name, term in terms.items():
            sums[name] = sums[name] + term
            sums["total"] = sums["total"] + getattr(config, name) * term
    return sums


def random_step(num_objects: int, num_candidates: int, side: int = 16, seed: int = 0) -> PredictionStep:
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    return PredictionStep(
        low_res_masks=numbers(num_objects, num_candidates, side, side),
        ious=numbers(num_objects, num_candidates),
        object_score_logits=numbers(num_objects, 1),
    )


def outputs_for(batch: VideoBatch, num_steps: int = 1, num_candidates: int = 3) -> list[FrameOutput]:
    outputs = []
    for t in range(batch.num_frames):
        steps = [random_step(batch.num_objects, num_candidates, seed=10 * t + s) for s in range(num_steps)]
        outputs.append(FrameOutput(t, steps, steps[-1].low_res_masks))
    return outputs


def leaves(outputs: list[FrameOutput]) -> list[Tensor]:
    return [
        tensor
        for output in outputs
        for step in output.steps
        for tensor in (step.low_res_masks, step.ious, step.object_score_logits)
    ]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("num_candidates", [1, 3])
@pytest.mark.parametrize("chunk", [None, 100])
def test_values_and_gradients_equal_the_plain_formulas(
    config: LossConfig, num_candidates: int, chunk: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if chunk:
        monkeypatch.setattr(mask_terms_module, "CHUNK_VALUES", chunk)
    batch = make_batch(3, absent=[(1, 0)], unlabeled=[(1, 1), (2, 0), (2, 1)])
    outputs = outputs_for(batch, 2, num_candidates)
    found = clip_loss(outputs, batch, config, 2.5)
    parts = [
        plain_loss(step, batch.masks(output.frame_index), batch.labeled[output.frame_index], config)
        for output in outputs
        for step in output.steps
    ]
    expected = {name: sum(part[name] for part in parts) / 2.5 for name in (*LOSS_NAMES, "total")}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(float(value.detach()), rel=1e-9), name
    gradients = torch.autograd.grad(found["total"], leaves(outputs), allow_unused=True)
    wanted = torch.autograd.grad(expected["total"], leaves(outputs), allow_unused=True)
    for one, other, leaf in zip(gradients, wanted, leaves(outputs), strict=True):
        zero = torch.zeros_like(leaf)
        one, other = (zero if gradient is None else gradient for gradient in (one, other))
        assert torch.allclose(one, other, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size", [(6, 8), (12, 16)])
def test_the_handwritten_gradient_passes_gradcheck(config: LossConfig, size: tuple[int, int]) -> None:
    truth = torch.zeros(2, *size, dtype=torch.bool)
    truth[0, 1:5, 2:6] = True
    logits = torch.randn(2, 2, 6, 8, dtype=torch.float64).requires_grad_()
    areas = truth.flatten(1).sum(1)
    assert torch.autograd.gradcheck(lambda x: mask_terms(x, truth, areas, config).weighted, (logits,))


def test_only_the_best_candidate_gets_a_mask_gradient() -> None:
    batch = make_batch(1, (1,))
    truth = batch.masks(0)
    good = F.interpolate(truth[:, None].float() * 8 - 4, size=(16, 16), mode="area")
    logits = torch.cat([-good, good, torch.zeros_like(good)], 1).requires_grad_()
    terms = mask_terms(logits, truth, truth.flatten(1).sum(1), LossConfig())
    assert terms.best.tolist() == [1]
    terms.weighted.sum().backward()
    assert logits.grad is not None
    assert logits.grad.flatten(2).abs().sum(2).bool().tolist() == [[False, True, False]]


def test_the_best_candidate_is_chosen_by_the_weighted_sum() -> None:
    """Candidate 0 has the smaller focal loss, candidate 1 the smaller Dice loss."""
    truth = torch.zeros(1, 16, 16, dtype=torch.bool)
    truth[0, :4, :4] = True
    unsure = torch.where(truth, -0.1, -3.0)
    bold = torch.where(truth, 6.0, -3.0)
    bold[0, 12:, 12:] = 6.0
    logits, areas = torch.stack([unsure, bold], 1), truth.flatten(1).sum(1)
    choice = {
        weights: int(mask_terms(logits, truth, areas, LossConfig(loss_mask=weights[0], loss_dice=weights[1])).best)
        for weights in ((1.0, 0.0), (0.0, 1.0), (20.0, 0.01), (0.01, 20.0))
    }
    assert choice == {(1.0, 0.0): 0, (0.0, 1.0): 1, (20.0, 0.01): 0, (0.01, 20.0): 1}


def test_unlabeled_objects_count_nowhere() -> None:
    batch = make_batch(2, unlabeled=[(1, 0)])
    outputs = outputs_for(batch)
    clip_loss(outputs, batch, LossConfig(), 1.0)["total"].backward()
    for leaf in leaves(outputs)[3:]:
        assert leaf.grad is not None
        assert not leaf.grad[0].any()
        assert leaf.grad[1].any()


def test_frames_known_to_be_unlabeled_are_left_out_with_equal_results() -> None:
    batch = make_batch(2, unlabeled=[(0, 0), (0, 1)])
    informed = make_batch(2, unlabeled=[(0, 0), (0, 1)])
    informed.info = BatchInfo(("a",), clips=(ClipFacts(0, 2, (False, True), (False, True)),))
    first, second = (clip_loss(outputs_for(one), one, LossConfig(), 1.0) for one in (batch, informed))
    assert {name: value.item() for name, value in first.items()} == {n: v.item() for n, v in second.items()}


def test_absent_objects_have_only_a_class_loss() -> None:
    batch = make_batch(1, (1,), absent=[(0, 0)])
    outputs = outputs_for(batch)
    found = clip_loss(outputs, batch, LossConfig(), 1.0)
    score = outputs[0].steps[0].object_score_logits
    assert found["loss_class"].item() == pytest.approx(float(F.softplus(score).detach()))
    assert [found[name].item() for name in ("loss_mask", "loss_dice", "loss_iou")] == [0, 0, 0]
    found["total"].backward()
    masks, ious, scores = (leaf.grad for leaf in leaves(outputs))
    assert masks is not None
    assert not masks.any()
    assert ious is not None
    assert not ious.any()
    assert scores is not None
    assert scores.all()


def test_the_normalizer_divides_everything() -> None:
    batch = make_batch(2)
    one, four = (clip_loss(outputs_for(batch), batch, LossConfig(), normalizer) for normalizer in (1.0, 4.0))
    assert all(one[name].item() == pytest.approx(4 * four[name].item()) for name in one)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_a_weight_of_zero_takes_a_term_out_of_the_total_only(name: str) -> None:
    batch = make_batch(1, (1,))
    zero = {other: 0.0 for other in LOSS_NAMES if other != name}
    found = clip_loss(outputs_for(batch, num_candidates=1), batch, replace(LossConfig(), **zero), 1.0)
    assert found["total"].item() == pytest.approx(getattr(LossConfig(), name) * found[name].item())
    assert all(found[other].item() > 0 for other in LOSS_NAMES)


@pytest.mark.parametrize("value", [-1024.0, 1024.0, 10.0, -10.0, 0.0])
@pytest.mark.parametrize("gamma", [2.0, 0.5, 0.0])
def test_extreme_logits_have_finite_losses_and_gradients(value: float, gamma: float) -> None:
    """-1024 is what the decoder writes where it believes the object absent, +-10 what a mask prompt returns."""
    batch = make_batch(1)
    outputs = outputs_for(batch)
    step = outputs[0].steps[0]
    step.low_res_masks = torch.full((2, 3, 16, 16), value, requires_grad=True)
    step.object_score_logits = torch.full((2, 1), value, requires_grad=True)
    found = clip_loss(outputs, batch, LossConfig(focal_gamma=gamma), 1.0)
    found["total"].backward()
    assert all(term.isfinite() for term in found.values())
    for leaf in (step.low_res_masks, step.object_score_logits):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


def test_full_size_candidates_are_used_where_the_network_made_them() -> None:
    batch = make_batch(1)
    outputs = outputs_for(batch)
    step = outputs[0].steps[0]
    enlarged = F.interpolate(step.low_res_masks, size=(64, 64), mode="bilinear", align_corners=False)
    expected = clip_loss(outputs, batch, LossConfig(), 1.0)["total"].item()
    step.high_res_masks, step.low_res_masks = enlarged, torch.zeros_like(step.low_res_masks)
    assert clip_loss(outputs, batch, LossConfig(), 1.0)["total"].item() == pytest.approx(expected, rel=1e-12)


def test_focal_loss_is_the_published_formula() -> None:
    logits, target = torch.randn(5, 7, dtype=torch.float64), (torch.rand(5, 7) > 0.5).double()
    for alpha, gamma in ((0.25, 2.0), (-1.0, 0.0), (0.9, 0.7)):
        expected = plain_focal(logits, target, alpha, gamma)
        assert torch.allclose(focal_loss(logits, target, alpha, gamma), expected, rtol=1e-9)
    assert torch.allclose(
        focal_loss(logits, target, -1, 0), F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    )
