"""The loss of a clip: of its masks, the predicted IoU, the object's presence, and the change between frames."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_training.vos.batch import FrameOutput, PredictionStep, TrackedClips, VideoBatch
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.mask_terms import MaskTerms, mask_terms, num_pixels_of
from sam2_training.vos.metrics.names import loss_names


def tracked_loss(tracked: Iterable[TrackedClips], config: LossConfig, normalizer: float) -> dict[str, Tensor]:
    """The losses of `clip_loss`, summed over the parts of a batch."""
    parts = [clip_loss(part.outputs, part.batch, config, normalizer) for part in tracked]
    return {name: torch.stack([losses[name] for losses in parts]).sum() for name in parts[0]}


def clip_loss(
    outputs: list[FrameOutput], batch: VideoBatch, config: LossConfig, normalizer: float
) -> dict[str, Tensor]:
    """Each term of the loss (its value, unweighted; `loss_names`) and their weighted sum "total"; scalars.

    Only "total" is to be differentiated. Sums over frames, prediction steps and objects,
    divided by `normalizer` (number of objects: mean over ranks). Mask, Dice and IoU terms count where the
    object is present, the class term where it is labeled. A network without presence scores has no class term, and its
    mask, Dice and IoU terms count wherever the object is labeled. An object that is unlabeled in a frame counts nowhere
    there. Pixels that are to be ignored for an object take no part: its cross entropy is the mean over the others, and
    the sums of Dice and IoU run over them. type=sam2 equals the loss of SAM 2's published training where none is
    ignored; type=bce_dice adds `temporal_loss`.
    """
    zero = torch.zeros((), device=batch.labeled.device)
    sums = dict.fromkeys((*loss_names(config.type), "total"), zero)
    step_loss = _step_loss if config.type == "sam2" else _bce_dice_step_loss
    for output in outputs:
        if batch.info.clips and not any(clip.labeled_frames[output.frame_index] for clip in batch.info.clips):
            continue
        ground_truth = batch.masks(output.frame_index)
        labeled = batch.labeled[output.frame_index]
        areas = ground_truth.flatten(1).sum(1)
        ignored = batch.ignored(output.frame_index)
        for step in output.steps:
            for name, value in step_loss(step, ground_truth, areas, labeled, config, ignored).items():
                sums[name] = sums[name] + value
    if config.type == "bce_dice":
        temporal = temporal_loss(outputs, batch)
        sums["loss_temporal"] = temporal.detach()
        sums["total"] = sums["total"] + config.temporal_weight * temporal
    return {name: value / normalizer for name, value in sums.items()}


def _step_loss(
    step: PredictionStep,
    ground_truth: Tensor,
    areas: Tensor,
    labeled: Tensor,
    config: LossConfig,
    ignored: Tensor | None,
) -> dict[str, Tensor]:
    """Sums over objects of one prediction step, for type=sam2.

    ground_truth, ignored: bool [O, H, W]; areas: pixels of the ground truth, [O]; labeled: [O].
    """
    logits = _candidates(step)
    terms = mask_terms(logits, ground_truth, areas, config, ignored)
    shapes = (config.focal_alpha_obj_score, config.focal_gamma_obj_score)
    present, presence_sum = _presence(step, areas, labeled, terms, *shapes)
    iou = (iou_error(step.ious, terms, config) * present).sum()
    mask_and_dice = (terms.weighted * present).sum()
    return {
        "loss_mask": (terms.cross_entropy * present).sum(),
        "loss_dice": (terms.dice * present).sum(),
        "loss_iou": iou.detach(),
        "loss_class": presence_sum.detach(),
        "total": mask_and_dice + config.loss_iou * iou + config.loss_class * presence_sum,
    }


def _bce_dice_step_loss(
    step: PredictionStep,
    ground_truth: Tensor,
    areas: Tensor,
    labeled: Tensor,
    config: LossConfig,
    ignored: Tensor | None,
) -> dict[str, Tensor]:
    """Sums over objects of one prediction step, for type=bce_dice; arguments as of `_step_loss`.

    The presence score is trained along with the pixels: where the network says "absent", its masks are constant, and
    nothing else could teach it otherwise.
    """
    terms = mask_terms(_candidates(step), ground_truth, areas, config, ignored)
    present, presence_sum = _presence(step, areas, labeled, terms, alpha=-1.0, gamma=0.0)
    return {
        "loss_bce": (terms.cross_entropy * present).sum(),
        "loss_dice": (terms.dice * present).sum(),
        "loss_soft_iou": (terms.soft_iou * present).sum(),
        "loss_class": presence_sum.detach(),
        "total": (terms.weighted * present).sum() + config.bce_weight * presence_sum,
    }


def temporal_loss(outputs: list[FrameOutput], batch: VideoBatch) -> Tensor:
    """Sum over neighboring frames of the clip and over objects labeled in both: how wrongly the mask changes.

    For an object and two frames: the mean over pixels of |(p_t - p_(t-1)) - (y_t - y_(t-1))|, with p the probabilities
    of the frames' results and y the ground truth; pixels ignored in either frame are left out. 0 for a mask that moves
    as the ground truth does, in contrast to a penalty on any change.
    """
    total = torch.zeros((), device=batch.labeled.device)
    probability = [output.final_masks[:, 0].sigmoid() for output in outputs]
    for before, after in pairwise(range(batch.num_frames)):
        in_both = batch.labeled[before] & batch.labeled[after]
        change = probability[after] - probability[before]
        true_change = batch.masks(after).to(change.dtype) - batch.masks(before).to(change.dtype)
        error = (change - true_change).abs()
        left_out = _either(batch.ignored(before), batch.ignored(after))
        if left_out is not None:
            error = error.masked_fill(left_out, 0)
        mean = error.flatten(1).sum(1, keepdim=True) / num_pixels_of(batch.masks(after), left_out)
        total = total + (mean * in_both[:, None]).sum()
    return total


def _either(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Where one of two masks is set; None stands for an empty one."""
    return one if other is None else other if one is None else one | other


def _candidates(step: PredictionStep) -> Tensor:
    """Logits of the candidate masks, at full size where the network made them so."""
    return step.low_res_masks if step.high_res_masks is None else step.high_res_masks


def _presence(
    step: PredictionStep, areas: Tensor, labeled: Tensor, terms: MaskTerms, alpha: float, gamma: float
) -> tuple[Tensor, Tensor]:
    """(1 for each object whose mask counts and 0 for the others, [O]; the focal loss of the presence, summed)."""
    dtype = terms.dice.dtype
    labeled_float = labeled.to(dtype)
    if step.object_score_logits is None:
        # As in stock: such a network says "absent" with an empty mask, so absent objects teach it masks.
        return labeled_float, torch.zeros((), device=labeled.device)
    visible = (areas > 0).to(dtype)
    presence = focal_loss(step.object_score_logits.to(dtype), visible[:, None], alpha, gamma)
    return visible * labeled_float, (presence.mean(1) * labeled_float).sum()


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
