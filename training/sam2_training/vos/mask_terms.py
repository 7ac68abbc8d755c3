"""Terms of the loss that are summed over pixels: cross entropy (focal or plain), Dice, soft IoU; and each actual IoU.

The best of a prediction's candidate masks is chosen without a graph, and only that one is differentiated. On a CPU,
masks are upsampled one object at a time and processed in chunks that fit a core's cache; the backward pass keeps one
small gradient map per object and no full-size map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_training.vos.loss_config import LossConfig

CHUNK_VALUES = 1 << 16
"""Values worked on at a time on a CPU: 256 KiB a float32 map, so that the few maps of a step stay in a core's cache."""


@dataclass(frozen=True)
class PixelLoss:
    """Weights and shapes of the losses that are summed over pixels."""

    cross_entropy: float
    """Weight of the cross entropy."""
    dice: float
    """Weight of the Dice loss."""
    soft_iou: float
    """Weight of the soft IoU loss."""
    alpha: float
    """Weight of foreground pixels in the cross entropy; negative: no weighting."""
    gamma: float
    """Focusing exponent of the cross entropy (focal loss); 0: plain."""
    smooth: float
    """Added to both parts of the fractions of Dice and soft IoU."""

    @classmethod
    def of(cls, config: LossConfig) -> PixelLoss:
        """What a configuration asks for."""
        if config.type == "bce_dice":
            return cls(config.bce_weight, config.dice_weight, config.iou_weight, -1.0, 0.0, config.smooth)
        return cls(config.loss_mask, config.loss_dice, 0.0, config.focal_alpha, config.focal_gamma, 1.0)

    def total(self, cross_entropy: Tensor, dice: Tensor, soft_iou: Tensor) -> Tensor:
        """The weighted sum of the losses."""
        return self.cross_entropy * cross_entropy + self.dice * dice + self.soft_iou * soft_iou


@dataclass(frozen=True)
class MaskTerms:
    """Mask terms of N objects with M candidates each, before division by the number of objects."""

    weighted: Tensor
    """The weighted sum of the best candidate's losses, [N]: the only part with a gradient."""
    cross_entropy: Tensor
    """Cross entropy of the best candidate, focal or plain, mean over pixels, [N]."""
    dice: Tensor
    """Dice loss of the best candidate, [N]."""
    soft_iou: Tensor
    """Soft IoU loss of the best candidate, [N]."""
    actual_iou: Tensor
    """IoU of each candidate with the ground truth, [N, M]."""
    best: Tensor
    """Index of the best candidate, int64 [N]."""


def mask_terms(
    logits: Tensor, ground_truth: Tensor, areas: Tensor, config: LossConfig, ignored: Tensor | None = None
) -> MaskTerms:
    """Losses of each object's best candidate, and every candidate's IoU.

    logits: [N, M, h, w], at full size or smaller; smaller ones are enlarged bilinearly to the ground truth's size, as
    SAM 2 does with its masks. ground_truth: bool [N, H, W]; areas: its pixels, [N]. The best candidate has the smallest
    weighted sum of losses. With p = sigmoid(logits), t the ground truth and s the smoothing, Dice is
    1 - (2 sum(p t) + s) / (sum p + sum t + s), and the soft IoU loss 1 - (sum(p t) + s) / (sum(p + t - p t) + s).
    ignored: bool [N, H, W], pixels outside the ground truth that all means and sums leave out.
    """
    return MaskTerms(*_BestCandidate.apply(logits, ground_truth, areas, PixelLoss.of(config), ignored))


class _BestCandidate(torch.autograd.Function):
    """`mask_terms`. The gradient is computed along with the value, so that only a map as small as `logits` is kept."""

    @staticmethod
    def forward(
        context: Any,
        logits: Tensor,
        ground_truth: Tensor,
        areas: Tensor,
        loss: PixelLoss,
        ignored: Tensor | None,
    ) -> tuple[Tensor, ...]:
        sums = _sums_of_all(logits, ground_truth, loss, ignored)
        *losses, iou = _terms(sums, areas, num_pixels_of(ground_truth, ignored), loss.smooth)
        best = loss.total(*losses).argmin(1)
        rows = torch.arange(len(logits), device=logits.device)
        cross_entropy, dice, soft_iou = (values[rows, best] for values in losses)
        if context.needs_input_grad[0]:
            gradient = _gradient_of_best(logits[rows, best], ground_truth, areas, sums[rows, best], loss, ignored)
            context.save_for_backward(gradient, best)
            context.shape = logits.shape
        context.mark_non_differentiable(cross_entropy, dice, soft_iou, iou, best)
        return loss.total(cross_entropy, dice, soft_iou), cross_entropy, dice, soft_iou, iou, best

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradient, best = context.saved_tensors
        everywhere = gradient.new_zeros(context.shape)
        rows = torch.arange(len(best), device=best.device)
        everywhere[rows, best] = gradient * upstream[:, None, None]
        return everywhere, None, None, None, None


def num_pixels_of(ground_truth: Tensor, ignored: Tensor | None) -> int | Tensor:
    """Pixels of a mask that take part; [N, 1] where that differs from object to object, at least 1."""
    num_pixels = ground_truth[0].numel()
    return num_pixels if ignored is None else (num_pixels - ignored.flatten(1).sum(1, keepdim=True)).clamp(min=1)


def _sums_of_all(logits: Tensor, ground_truth: Tensor, loss: PixelLoss, ignored: Tensor | None) -> Tensor:
    """`_pixel_sums` of every candidate over its whole mask, [N, M, 5]."""
    sums = logits.new_zeros(*logits.shape[:2], 5)
    for objects in _object_groups(logits):
        full = _enlarge(logits[objects], ground_truth).flatten(2)
        flat_ground_truth = ground_truth[objects].flatten(1)[:, None]
        flat_ignored = None if ignored is None else ignored[objects].flatten(1)[:, None]
        for pixels in _pixel_groups(full):
            left_out = None if flat_ignored is None else flat_ignored[..., pixels]
            sums[objects] += _pixel_sums(full[..., pixels], flat_ground_truth[..., pixels], loss, left_out)
    return sums


def _gradient_of_best(
    best: Tensor, ground_truth: Tensor, areas: Tensor, sums: Tensor, loss: PixelLoss, ignored: Tensor | None
) -> Tensor:
    """Gradient of each object's weighted loss with respect to its best candidate, both [N, h, w]. sums: [N, 5]."""
    gradient = torch.empty_like(best)
    overlap, predicted = _soft_areas(sums, areas)
    dice_denominator = predicted + areas + loss.smooth
    union = predicted + areas - overlap + loss.smooth
    iou_outside = loss.soft_iou * (overlap + loss.smooth) / union**2
    outside = loss.dice * (2 * overlap + loss.smooth) / dice_denominator**2 + iou_outside
    inside = -2 * loss.dice / dice_denominator - loss.soft_iou / union - iou_outside
    num_pixels = num_pixels_of(ground_truth, ignored)
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
                logits[..., pixels], flat_ground_truth[..., pixels], loss.cross_entropy / counted, slopes, loss
            )
        if ignored is not None:
            full_gradient.masked_fill_(ignored[objects].flatten(1)[:, None], 0)
        full_gradient = full_gradient.view_as(full)
        reduced = full_gradient if full is small else torch.autograd.grad(full, small, full_gradient)[0]
        gradient[objects] = reduced[:, 0]
    return gradient


def _pixel_sums(logits: Tensor, ground_truth: Tensor, loss: PixelLoss, ignored: Tensor | None = None) -> Tensor:
    """[n, M, 5]: sums of cross entropy, wrong probability, that inside the ground truth, hits and predicted pixels.

    logits: [n, M, P]; ground_truth, ignored: bool [n, 1, P]. The wrong probability is 1 - p_t: what the pixel
    gives to the wrong side.
    """
    target = ground_truth.to(logits.dtype)
    margin = logits * (2 * target - 1)  # positive where the prediction is right
    wrong = torch.sigmoid(-margin)
    focal = F.logsigmoid(margin).neg_()
    if loss.gamma:
        focal *= _power(wrong, loss.gamma)
    if loss.alpha >= 0:
        focal *= _side_weight(target, loss.alpha)
    positive = logits > 0
    if ignored is not None:  # none of them is in the ground truth
        focal, wrong = focal.masked_fill(ignored, 0), wrong.masked_fill(ignored, 0)
        positive = positive & ~ignored
    columns = [focal.sum(-1), wrong.sum(-1), (wrong * target).sum(-1)]
    columns += [(positive & ground_truth).sum(-1).to(logits.dtype), positive.sum(-1).to(logits.dtype)]
    return torch.stack(columns, -1)


def _pixel_gradient(
    logits: Tensor, ground_truth: Tensor, scale: float | Tensor, slopes: tuple[Tensor, Tensor], loss: PixelLoss
) -> Tensor:
    """Gradient of the weighted loss with respect to full-size logits, [n, 1, P].

    slopes: the derivatives of Dice and soft IoU with respect to p, [n, 1, 1] each: everywhere, and in addition inside
    the ground truth.
    """
    target = ground_truth.to(logits.dtype)
    side = 2 * target - 1
    margin = logits * side
    wrong = torch.sigmoid(-margin)
    right = 1 - wrong
    # d/dmargin of wrong^gamma * -log(right) is -wrong^gamma * (gamma * right * -log(right) + wrong).
    gradient = wrong
    if loss.gamma:
        gradient = F.logsigmoid(margin).mul_(right).mul_(-loss.gamma).add_(wrong)
        gradient *= _power(wrong, loss.gamma)
    if loss.alpha >= 0:
        gradient = gradient * _side_weight(target, loss.alpha)
    gradient = gradient * side * -scale
    outside, inside = slopes
    return gradient.addcmul_(wrong * right, target * inside + outside)


def _terms(sums: Tensor, areas: Tensor, num_pixels: int | Tensor, smooth: float) -> tuple[Tensor, ...]:
    """(cross entropy, Dice, soft IoU loss, IoU), each [N, M], from the sums over pixels."""
    ground_truth_area = areas[:, None].to(sums.dtype)
    overlap, predicted = _soft_areas(sums, ground_truth_area)
    dice = 1 - (2 * overlap + smooth) / (predicted + ground_truth_area + smooth)
    soft_iou = 1 - (overlap + smooth) / (predicted + ground_truth_area - overlap + smooth)
    hits, positives = sums[..., 3], sums[..., 4]
    iou = hits / (positives + ground_truth_area - hits).clamp(min=1)
    return sums[..., 0] / num_pixels, dice, soft_iou, iou


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
