"""The loss of a clip: focal and Dice on masks, error of the predicted IoU, presence of the object.

The best of a prediction's candidate masks is chosen without a graph, and only that one is differentiated. On a CPU,
masks are upsampled one object at a time and processed in chunks that fit a core's cache; the backward pass keeps one
small gradient map per object and no full-size map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_training.vos.batch import FrameOutput, PredictionStep, TrackedClips, VideoBatch
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.metrics.names import LOSS_NAMES

CHUNK_VALUES = 1 << 16
"""Values worked on at a time on a CPU: 256 KiB a float32 map, so that the few maps of a step stay in a core's cache."""


@dataclass(frozen=True)
class MaskTerms:
    """Mask terms of N objects with M candidates each, before division by the number of objects."""

    weighted: Tensor
    """loss_mask * focal + loss_dice * dice of the best candidate, [N]: the only part with a gradient."""
    focal: Tensor
    """Focal loss of the best candidate, mean over pixels, [N]."""
    dice: Tensor
    """Dice loss of the best candidate, [N]."""
    actual_iou: Tensor
    """IoU of each candidate with the ground truth, [N, M]."""
    best: Tensor
    """Index of the best candidate, int64 [N]."""


def tracked_loss(tracked: Iterable[TrackedClips], config: LossConfig, normalizer: float) -> dict[str, Tensor]:
    """The losses of `clip_loss`, summed over the parts of a batch."""
    parts = [clip_loss(part.outputs, part.batch, config, normalizer) for part in tracked]
    return {name: torch.stack([losses[name] for losses in parts]).sum() for name in parts[0]}


def clip_loss(
    outputs: list[FrameOutput], batch: VideoBatch, config: LossConfig, normalizer: float
) -> dict[str, Tensor]:
    """loss_mask, loss_dice, loss_iou, loss_class (values, unweighted) and their weighted sum "total"; scalars.

    Only "total" is to be differentiated. Sums over frames, prediction steps and objects,
    divided by `normalizer` (number of objects: mean over ranks). Mask, Dice and IoU terms count where the
    object is present, the class term where it is labeled. A network without presence scores has no class term, and its
    mask, Dice and IoU terms count wherever the object is labeled. An object that is unlabeled in a frame counts nowhere
    there. Pixels that are to be ignored for an object take no part: its focal loss is the mean over the others, and
    the sums of Dice and IoU run over them. Equal to the loss of SAM 2's published training where none is ignored.
    """
    zero = torch.zeros((), device=batch.labeled.device)
    sums = dict.fromkeys((*LOSS_NAMES, "total"), zero)
    for output in outputs:
        if batch.info.clips and not any(clip.labeled_frames[output.frame_index] for clip in batch.info.clips):
            continue
        ground_truth = batch.masks(output.frame_index)
        labeled = batch.labeled[output.frame_index]
        areas = ground_truth.flatten(1).sum(1)
        ignored = batch.ignored(output.frame_index)
        for step in output.steps:
            for name, value in _step_loss(step, ground_truth, areas, labeled, config, ignored).items():
                sums[name] = sums[name] + value
    return {name: value / normalizer for name, value in sums.items()}


def _step_loss(
    step: PredictionStep,
    ground_truth: Tensor,
    areas: Tensor,
    labeled: Tensor,
    config: LossConfig,
    ignored: Tensor | None,
) -> dict[str, Tensor]:
    """Sums over objects of one prediction step.

    ground_truth, ignored: bool [O, H, W]; areas: pixels of the ground truth, [O]; labeled: [O].
    """
    logits = step.low_res_masks if step.high_res_masks is None else step.high_res_masks
    terms = mask_terms(logits, ground_truth, areas, config, ignored)
    labeled_float = labeled.to(terms.focal.dtype)
    if step.object_score_logits is None:
        # As in stock: such a network says "absent" with an empty mask, so absent objects teach it masks.
        present, presence_sum = labeled_float, torch.zeros((), device=labeled.device)
    else:
        visible = (areas > 0).to(terms.focal.dtype)
        present = visible * labeled_float
        scores = step.object_score_logits.to(terms.focal.dtype)
        presence = focal_loss(scores, visible[:, None], config.focal_alpha_obj_score, config.focal_gamma_obj_score)
        presence_sum = (presence.mean(1) * labeled_float).sum()
    iou = (iou_error(step.ious, terms, config) * present).sum()
    mask_and_dice = (terms.weighted * present).sum()
    return {
        "loss_mask": (terms.focal * present).sum(),
        "loss_dice": (terms.dice * present).sum(),
        "loss_iou": iou.detach(),
        "loss_class": presence_sum.detach(),
        "total": mask_and_dice + config.loss_iou * iou + config.loss_class * presence_sum,
    }


def iou_error(predicted_iou: Tensor, terms: MaskTerms, config: LossConfig) -> Tensor:
    """Error of the predicted IoU, [N]: mean over the candidates, or the best one's. predicted_iou: [N, M]."""
    difference = predicted_iou.to(terms.actual_iou.dtype) - terms.actual_iou
    error = difference.abs() if config.iou_use_l1_loss else difference.square()
    return error.mean(1) if config.supervise_all_iou else error.gather(1, terms.best[:, None])[:, 0]


def focal_loss(logits: Tensor, target: Tensor, alpha: float, gamma: float) -> Tensor:
    """Focal loss of each element, [...]; target: in {0, 1}, [...]. alpha weighs positives (negative: no weighting).

    Lin et al., "Focal Loss for Dense Object Detection", 2017, eq. 5. gamma = 0 is binary cross entropy.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    wrong = probability * (1 - target) + (1 - probability) * target
    loss = cross_entropy * wrong**gamma if gamma else cross_entropy
    return loss * (alpha * target + (1 - alpha) * (1 - target)) if alpha >= 0 else loss


def mask_terms(
    logits: Tensor, ground_truth: Tensor, areas: Tensor, config: LossConfig, ignored: Tensor | None = None
) -> MaskTerms:
    """Focal and Dice loss of each object's best candidate, and every candidate's IoU.

    logits: [N, M, h, w], at full size or smaller; smaller ones are enlarged bilinearly to the ground truth's size, as
    SAM 2 does with its masks. ground_truth: bool [N, H, W]; areas: its pixels, [N]. The best candidate has the smallest
    weighted sum of focal and Dice loss. Dice: 1 - (2 sum(p t) + 1) / (sum p + sum t + 1) with p = sigmoid(logits).
    ignored: bool [N, H, W], pixels outside the ground truth that all means and sums leave out.
    """
    return MaskTerms(*_BestCandidate.apply(logits, ground_truth, areas, config, ignored))


class _BestCandidate(torch.autograd.Function):
    """`mask_terms`. The gradient is computed along with the value, so that only a map as small as `logits` is kept."""

    @staticmethod
    def forward(
        context: Any,
        logits: Tensor,
        ground_truth: Tensor,
        areas: Tensor,
        config: LossConfig,
        ignored: Tensor | None,
    ) -> tuple[Tensor, ...]:
        sums = _sums_of_all(logits, ground_truth, config, ignored)
        focal, dice, iou = _terms(sums, areas, _num_pixels(ground_truth, ignored))
        best = (config.loss_mask * focal + config.loss_dice * dice).argmin(1)
        rows = torch.arange(len(logits), device=logits.device)
        focal, dice = focal[rows, best], dice[rows, best]
        if context.needs_input_grad[0]:
            gradient = _gradient_of_best(logits[rows, best], ground_truth, areas, sums[rows, best], config, ignored)
            context.save_for_backward(gradient, best)
            context.shape = logits.shape
        context.mark_non_differentiable(focal, dice, iou, best)
        return config.loss_mask * focal + config.loss_dice * dice, focal, dice, iou, best

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradient, best = context.saved_tensors
        everywhere = gradient.new_zeros(context.shape)
        rows = torch.arange(len(best), device=best.device)
        everywhere[rows, best] = gradient * upstream[:, None, None]
        return everywhere, None, None, None, None


def _num_pixels(ground_truth: Tensor, ignored: Tensor | None) -> int | Tensor:
    """Pixels of a mask that take part; [N, 1] where that differs from object to object, at least 1."""
    num_pixels = ground_truth[0].numel()
    return num_pixels if ignored is None else (num_pixels - ignored.flatten(1).sum(1, keepdim=True)).clamp(min=1)


def _sums_of_all(logits: Tensor, ground_truth: Tensor, config: LossConfig, ignored: Tensor | None) -> Tensor:
    """`_pixel_sums` of every candidate over its whole mask, [N, M, 5]."""
    sums = logits.new_zeros(*logits.shape[:2], 5)
    for objects in _object_groups(logits):
        full = _enlarge(logits[objects], ground_truth).flatten(2)
        flat_ground_truth = ground_truth[objects].flatten(1)[:, None]
        flat_ignored = None if ignored is None else ignored[objects].flatten(1)[:, None]
        for pixels in _pixel_groups(full):
            left_out = None if flat_ignored is None else flat_ignored[..., pixels]
            sums[objects] += _pixel_sums(full[..., pixels], flat_ground_truth[..., pixels], config, left_out)
    return sums


def _gradient_of_best(
    best: Tensor, ground_truth: Tensor, areas: Tensor, sums: Tensor, config: LossConfig, ignored: Tensor | None
) -> Tensor:
    """Gradient of each object's weighted loss with respect to its best candidate, both [N, h, w]. sums: [N, 5]."""
    gradient = torch.empty_like(best)
    overlap, predicted = _soft_areas(sums, areas)
    denominator = predicted + areas + 1
    # Derivative of the Dice loss with respect to p: everywhere, and in addition inside the ground truth.
    outside = config.loss_dice * (2 * overlap + 1) / denominator**2
    inside = -2 * config.loss_dice / denominator
    num_pixels = _num_pixels(ground_truth, ignored)
    for objects in _object_groups(best):
        with torch.enable_grad():
            small = best[objects, None].detach().requires_grad_()
            full = _enlarge(small, ground_truth)
        logits, flat_ground_truth = full.detach().flatten(2), ground_truth[objects].flatten(1)[:, None]
        full_gradient = torch.empty_like(logits)
        slopes = (outside[objects, None, None], inside[objects, None, None])
        counted = num_pixels if isinstance(num_pixels, int) else num_pixels[objects, None]
        for pixels in _pixel_groups(logits):
            full_gradient[..., pixels] = _pixel_gradient(
                logits[..., pixels], flat_ground_truth[..., pixels], config.loss_mask / counted, slopes, config
            )
        if ignored is not None:
            full_gradient.masked_fill_(ignored[objects].flatten(1)[:, None], 0)
        full_gradient = full_gradient.view_as(full)
        reduced = full_gradient if full is small else torch.autograd.grad(full, small, full_gradient)[0]
        gradient[objects] = reduced[:, 0]
    return gradient


def _pixel_sums(logits: Tensor, ground_truth: Tensor, config: LossConfig, ignored: Tensor | None = None) -> Tensor:
    """[n, M, 5]: sums of focal loss, of the wrong probability, of that inside the ground truth, hits, predicted pixels.

    logits: [n, M, P]; ground_truth, ignored: bool [n, 1, P]. The wrong probability is 1 - p_t: what the pixel
    gives to the wrong side.
    """
    target = ground_truth.to(logits.dtype)
    margin = logits * (2 * target - 1)  # positive where the prediction is right
    wrong = torch.sigmoid(-margin)
    focal = F.logsigmoid(margin).neg_()
    if config.focal_gamma:
        focal *= _power(wrong, config.focal_gamma)
    if config.focal_alpha >= 0:
        focal *= _side_weight(target, config.focal_alpha)
    positive = logits > 0
    if ignored is not None:  # none of them is in the ground truth
        focal, wrong = focal.masked_fill(ignored, 0), wrong.masked_fill(ignored, 0)
        positive = positive & ~ignored
    columns = [focal.sum(-1), wrong.sum(-1), (wrong * target).sum(-1)]
    columns += [(positive & ground_truth).sum(-1).to(logits.dtype), positive.sum(-1).to(logits.dtype)]
    return torch.stack(columns, -1)


def _pixel_gradient(
    logits: Tensor, ground_truth: Tensor, focal_scale: float | Tensor, slopes: tuple[Tensor, Tensor], config: LossConfig
) -> Tensor:
    """Gradient of the weighted loss with respect to full-size logits, [n, 1, P]; slopes: of Dice, [n, 1, 1] each."""
    target = ground_truth.to(logits.dtype)
    side = 2 * target - 1
    margin = logits * side
    wrong = torch.sigmoid(-margin)
    right = 1 - wrong
    # d/dmargin of wrong^gamma * -log(right) is -wrong^gamma * (gamma * right * -log(right) + wrong).
    gradient = wrong
    if config.focal_gamma:
        gradient = F.logsigmoid(margin).mul_(right).mul_(-config.focal_gamma).add_(wrong)
        gradient *= _power(wrong, config.focal_gamma)
    if config.focal_alpha >= 0:
        gradient = gradient * _side_weight(target, config.focal_alpha)
    gradient = gradient * side * -focal_scale
    outside, inside = slopes
    return gradient.addcmul_(wrong * right, target * inside + outside)


def _terms(sums: Tensor, areas: Tensor, num_pixels: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(focal, dice, iou), each [N, M], from the sums over pixels."""
    ground_truth_area = areas[:, None].to(sums.dtype)
    overlap, predicted = _soft_areas(sums, ground_truth_area)
    dice = 1 - (2 * overlap + 1) / (predicted + ground_truth_area + 1)
    hits, positives = sums[..., 3], sums[..., 4]
    iou = hits / (positives + ground_truth_area - hits).clamp(min=1)
    return sums[..., 0] / num_pixels, dice, iou


def _soft_areas(sums: Tensor, ground_truth_area: Tensor) -> tuple[Tensor, Tensor]:
    """(sum of p inside the ground truth, sum of p everywhere) from the sums of the wrong probability."""
    wrong_inside = sums[..., 2]
    overlap = ground_truth_area - wrong_inside
    return overlap, overlap + (sums[..., 1] - wrong_inside)


def _power(base: Tensor, exponent: float) -> Tensor:
    return base * base if exponent == 2 else base**exponent


def _side_weight(target: Tensor, alpha: float) -> Tensor:
    """alpha on positives, 1 - alpha on negatives."""
    return target * (2 * alpha - 1) + (1 - alpha)


def _enlarge(logits: Tensor, ground_truth: Tensor) -> Tensor:
    """`logits` [n, M, h, w] at the ground truth's size; the same tensor if it has that size already."""
    if logits.shape[-2:] == ground_truth.shape[-2:]:
        return logits
    return F.interpolate(logits, size=ground_truth.shape[-2:], mode="bilinear", align_corners=False)


def _object_groups(logits: Tensor) -> Iterator[slice]:
    """Objects to work on together: one at a time on a CPU (memory), all at once elsewhere (fewer kernels)."""
    if logits.device.type != "cpu":
        yield slice(0, len(logits))
        return
    for n in range(len(logits)):
        yield slice(n, n + 1)


def _pixel_groups(flat: Tensor) -> Iterator[slice]:
    """Pixels of [n, M, P] to work on together: what fits the cache on a CPU, all at once elsewhere."""
    num_pixels = flat.shape[-1]
    length = num_pixels if flat.device.type != "cpu" else max(1, CHUNK_VALUES // (flat.shape[0] * flat.shape[1]))
    for start in range(0, num_pixels, length):
        yield slice(start, min(start + length, num_pixels))
