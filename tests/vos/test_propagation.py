"""Propagation of a first mask, and the score of what comes out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sam2_training.vos.config import LossConfig
from sam2_training.vos.model.step import ClipStep
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.propagation import mean_iou, propagate

from tests.vos.moving_clips import SIZE, make_batch


def truth_of(batch) -> torch.Tensor:  # type: ignore[no-untyped-def]
    return torch.stack([batch.masks(t) for t in range(batch.num_frames)])


def test_the_truth_scores_1_and_nothing_scores_0() -> None:
    batch = make_batch(3)
    assert mean_iou([truth_of(batch)], [batch]) == 1.0
    assert mean_iou([torch.zeros_like(truth_of(batch))], [batch]) == 0.0


def test_an_iou_is_intersection_over_union_and_frame_0_does_not_count() -> None:
    batch = make_batch(2, (1,))
    predicted = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.bool)
    predicted[0] = True
    rows, columns = batch.masks(1)[0].nonzero().T
    predicted[1, 0, rows.min() : rows.min() + 10, columns.min() : columns.max() + 1] = True  # 10 of its 20 rows
    predicted[1, 0, 63, :17] = True  # 17 pixels of the 340 elsewhere
    assert mean_iou([predicted], [batch]) == pytest.approx(170 / (340 + 17))


def test_an_absent_object_counts_1_if_nothing_is_predicted_else_0() -> None:
    batch = make_batch(3, (1,), absent=[(1, 0), (2, 0)])
    predicted = torch.zeros(3, 1, SIZE, SIZE, dtype=torch.bool)
    assert mean_iou([predicted], [batch]) == 1.0
    predicted[2, 0, 0, 0] = True
    assert mean_iou([predicted], [batch]) == 0.5


def test_the_mean_is_over_all_objects_and_frames_of_all_clips() -> None:
    """Two objects on two tracked frames right, one object on one frame wrong: 4 of 5."""
    right, wrong = make_batch(3, (2,)), make_batch(2, (1,))
    assert mean_iou([truth_of(right), ~truth_of(wrong)], [right, wrong]) == pytest.approx(4 / 5)


def test_propagation_starts_from_the_true_mask_and_is_repeatable(network: TrainableSAM2) -> None:
    batch = make_batch(3)
    first = propagate(network.train(), batch)
    assert not any(module.training for module in network.modules())
    assert (first.shape, first.dtype) == ((3, 2, SIZE, SIZE), torch.bool)
    assert torch.equal(first[0], batch.masks(0))
    state = torch.get_rng_state()
    assert torch.equal(propagate(network, batch), first)
    assert torch.equal(torch.get_rng_state(), state), "scoring must not shift the random numbers of training"


def test_later_masks_are_not_read(network: TrainableSAM2) -> None:
    batch, other = make_batch(3), make_batch(3)
    other.mask_planes[:, 1:] = 0
    assert torch.equal(propagate(network, batch), propagate(network, other))


def test_training_goes_on_unchanged_after_propagation(network: TrainableSAM2) -> None:
    """Caches of position encodings that evaluation leaves behind must neither fail nor alter training."""
    batch = make_batch(2)
    network.prompts = replace(network.prompts, prob_to_use_pt_input=0.0)

    def gradient() -> torch.Tensor:
        network.zero_grad()
        torch.manual_seed(1)
        step = ClipStep(network, LossConfig()).train()
        step(batch, 2.0, np.random.default_rng(0))["total"].backward()
        assert network.memory_attention.layers[0].linear1.weight.grad is not None
        return network.memory_attention.layers[0].linear1.weight.grad.clone()

    propagate(network, batch)
    after = gradient()
    assert torch.equal(gradient(), after)
    assert after.any()
