"""Simulated prompts: agreed on by all ranks, within the configured bounds, and only on what is there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sam2_training.vos.model.prompts import (
    PromptPlan,
    mask_plan,
    plan_prompts,
    sample_box,
    sample_click,
)
from sam2_training.vos.model.prompts_config import PromptsConfig
from sam2_training.vos.sam2.points import LABEL_PADDING, Points

PUBLISHED = PromptsConfig()
POINTS = PromptsConfig(prob_to_use_pt_input=1.0)
MASKS = PromptsConfig(prob_to_use_pt_input=0.0)


def plans(config: PromptsConfig, num_frames: int, count: int = 400) -> Iterator[PromptPlan]:
    for seed in range(count):
        yield plan_prompts(config, num_frames, np.random.default_rng(seed))


def draw(masks: list[torch.Tensor], predicted: list[torch.Tensor] | None = None) -> Points:
    truth = torch.stack(masks)
    position = torch.rand(len(masks), dtype=torch.float64)
    given = None if predicted is None else torch.stack(predicted)
    return sample_click(truth, given, torch.ones(len(masks)).bool(), position)


def some_mask(rows: slice, columns: slice, size: tuple[int, int] = (12, 15)) -> torch.Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def test_ranks_with_equal_generators_plan_the_same() -> None:
    torch.manual_seed(1)
    first = list(plans(PUBLISHED, 8, 50))
    torch.manual_seed(2)
    np.random.default_rng().random()
    assert list(plans(PUBLISHED, 8, 50)) == first
    assert len({str(plan) for plan in first}) > 20


@pytest.mark.parametrize("num_frames", [1, 2, 4, 8])
@pytest.mark.parametrize("config", [PUBLISHED, POINTS, MASKS, PromptsConfig(1.0, 1.0, 3, True, 5, True, 2, 0.5)])
def test_every_plan_keeps_the_bounds(config: PromptsConfig, num_frames: int) -> None:
    for plan in plans(config, num_frames, 150):
        conditioning = plan.conditioning_frames
        assert conditioning[0] == 0
        assert len(set(conditioning)) == len(conditioning) <= config.num_init_cond_frames
        assert sorted(plan.processing_order) == list(range(num_frames))
        tracked = plan.processing_order[len(conditioning) :]
        assert list(tracked) == sorted(tracked)
        assert plan.box_frames <= set(conditioning)
        assert len(plan.corrected_frames) <= config.num_frames_to_correct
        if plan.use_points:
            assert set(conditioning) <= plan.corrected_frames <= set(range(num_frames))
            sources = plan.clicks_from_ground_truth or {}
            assert sources.keys() == plan.corrected_frames
            assert {len(clicks) for clicks in sources.values()} == {config.num_correction_pt_per_frame}
        else:
            assert not plan.corrected_frames
            assert not plan.box_frames


def test_choices_are_as_frequent_as_configured() -> None:
    """3,000 plans: a frequency of a half has a standard error of 0.01, so 0.04 is four of them."""
    drawn = list(plans(PUBLISHED, 8, 3000))
    points = [plan for plan in drawn if plan.use_points]
    assert len(points) / len(drawn) == pytest.approx(0.5, abs=0.04)
    boxes = [t in plan.box_frames for plan in points for t in plan.conditioning_frames]
    assert np.mean(boxes) == pytest.approx(0.5, abs=0.04)
    assert np.mean([len(plan.conditioning_frames) == 2 for plan in drawn]) == pytest.approx(0.5, abs=0.04)
    seconds = [plan.conditioning_frames[1] for plan in drawn if len(plan.conditioning_frames) == 2]
    counts = np.bincount(seconds, minlength=8)
    assert counts[0] == 0
    assert counts[1:] / len(seconds) == pytest.approx(np.full(7, 1 / 7), abs=0.04)
    from_truth = [
        source for plan in points for clicks in (plan.clicks_from_ground_truth or {}).values() for source in clicks
    ]
    assert np.mean(from_truth) == pytest.approx(0.1, abs=0.02)


def test_one_frame_clips_use_points_unless_their_probability_is_zero() -> None:
    assert all(plan.use_points for plan in plans(PromptsConfig(prob_to_use_pt_input=0.01), 1, 50))
    assert not any(plan.use_points for plan in plans(MASKS, 1, 50))


def test_mask_prompts_leave_a_frame_to_learn_from() -> None:
    config = PromptsConfig(prob_to_use_pt_input=0.0, num_init_cond_frames=5, rand_init_cond_frames=False)
    assert {len(plan.conditioning_frames) for plan in plans(config, 4, 20)} == {3}


def test_fixed_counts_are_always_the_maximum() -> None:
    config = PromptsConfig(1.0, rand_init_cond_frames=False, rand_frames_to_correct=False, num_frames_to_correct=3)
    for plan in plans(config, 8, 30):
        assert len(plan.conditioning_frames) == 2
        assert len(plan.corrected_frames) == 3


def test_restricted_plans_prompt_nothing_that_is_not_there() -> None:
    plan = PromptPlan(4, True, (0, 3, 1), frozenset({3}), frozenset({0, 1, 3}))
    restricted = plan.restricted((False, True, True, False), (True, False, True, True))
    assert restricted.conditioning_frames == (0, 1), "frame 0 always keeps its prompt"
    assert restricted.corrected_frames == {0, 3}
    assert restricted.processing_order == (0, 1, 2, 3)
    assert plan.restricted((True,) * 4, (True,) * 4) == plan


def test_the_mask_plan_is_a_mask_on_frame_0_only() -> None:
    plan = mask_plan(3)
    assert (plan.use_points, plan.conditioning_frames, plan.corrected_frames) == (False, (0,), frozenset())


def test_clicks_lie_where_the_prediction_is_wrong_with_the_right_label() -> None:
    truth = some_mask(slice(2, 9), slice(3, 10))
    missed, surplus = truth.clone(), truth.clone()
    missed[4:6, 4:6] = False
    surplus[10, 12:14] = True
    for _ in range(60):
        click = draw([truth, truth, truth], [missed, surplus, missed & ~truth])
        assert click.coords.shape == (3, 1, 2)
        assert click.coords.dtype == torch.float32
        (column, row), (wrong_column, wrong_row), (any_column, any_row) = click.coords[:, 0].int().tolist()
        assert truth[row, column]
        assert not missed[row, column]
        assert surplus[wrong_row, wrong_column]
        assert not truth[wrong_row, wrong_column]
        assert truth[any_row, any_column]
        assert click.labels[:, 0].tolist() == [1, 0, 1]
        assert click.labels.dtype == torch.int32


def test_a_first_click_lies_in_the_object() -> None:
    truth = some_mask(slice(0, 1), slice(14, 15))
    click = draw([truth])
    assert click.coords.tolist() == [[[14.0, 0.0]]]
    assert click.labels.tolist() == [[1]]


def test_when_nothing_is_wrong_the_click_is_negative_on_the_background() -> None:
    truth = some_mask(slice(0, 12), slice(0, 13))
    for _ in range(20):
        click = draw([truth], [truth])
        assert click.labels.tolist() == [[0]]
        assert click.coords[0, 0, 0] >= 13
    everything = torch.ones(12, 15, dtype=torch.bool)
    assert draw([everything], [everything]).labels.tolist() == [[LABEL_PADDING]]


def test_absent_and_unlabeled_objects_get_padding_unless_wrongly_predicted() -> None:
    nothing, something = torch.zeros(12, 15, dtype=torch.bool), some_mask(slice(2, 4), slice(2, 4))
    assert draw([nothing]).labels.tolist() == [[LABEL_PADDING]]
    assert draw([nothing], [nothing]).labels.tolist() == [[LABEL_PADDING]]
    assert draw([nothing], [something]).labels.tolist() == [[0]]
    unlabeled = sample_click(torch.stack([something] * 2), None, torch.tensor([True, False]), torch.rand(2))
    assert unlabeled.labels.tolist() == [[1], [LABEL_PADDING]]


def test_every_wrong_pixel_is_as_likely_as_the_others() -> None:
    """Chi-square over 12 pixels in ragged rows, 6,000 clicks: 11 degrees of freedom, 31 has a probability of 0.001."""
    mask = torch.zeros(6, 7, dtype=torch.bool)
    for row, columns in {0: [0], 2: [1, 3, 6], 3: [0, 1, 2, 3, 4, 5, 6], 5: [6]}.items():
        mask[row, columns] = True
    torch.manual_seed(0)
    clicks = draw([mask] * 6000).coords[:, 0].long()
    counts = torch.bincount(clicks[:, 1] * 7 + clicks[:, 0], minlength=42).view(6, 7)
    assert counts[~mask].sum() == 0
    expected = 6000 / 12
    assert ((counts[mask] - expected) ** 2 / expected).sum() < 31


def test_boxes_without_noise_are_tight() -> None:
    truth = torch.stack([some_mask(slice(2, 9), slice(3, 11)), some_mask(slice(0, 12), slice(14, 15))])
    box = sample_box(truth, torch.ones(2).bool(), 0.0, 20, torch.rand(2, 4))
    assert box.coords.tolist() == [[[3, 2], [10, 8]], [[14, 0], [14, 11]]]
    assert box.labels.tolist() == [[2, 3], [2, 3]]
    assert box.labels.dtype == torch.int32


@pytest.mark.parametrize(("noise", "bound", "largest"), [(0.1, 20, 6.0), (0.5, 4, 4.0)])
def test_box_noise_is_bounded_and_stays_inside_the_image(noise: float, bound: float, largest: float) -> None:
    """The box is 60 pixels wide and high, between its first and last pixel, and touches two of the image's sides."""
    truth = some_mask(slice(0, 61), slice(39, 100), (100, 100))[None].expand(500, -1, -1)
    coords = sample_box(truth, torch.ones(500).bool(), noise, bound, torch.rand(500, 4)).coords
    shifts = coords - torch.tensor([[39.0, 0.0], [99.0, 60.0]])
    assert shifts.abs().max() <= largest + 1e-4
    assert shifts.abs().max() > 0.9 * largest
    assert coords.min() >= 0
    assert coords.max() <= 99
    assert shifts[:, 0, 0].mean().abs() < 0.2 * largest, "noise must have no preferred direction"


def test_absent_and_unlabeled_objects_get_no_box() -> None:
    truth = torch.stack([torch.zeros(12, 15).bool(), *[some_mask(slice(2, 9), slice(3, 11))] * 2])
    labels = sample_box(truth, torch.tensor([True, False, True]), 0.1, 20, torch.rand(3, 4)).labels
    assert labels.tolist() == [[-1, -1], [-1, -1], [2, 3]]


def test_more_points_come_after_the_first() -> None:
    one = draw([some_mask(slice(0, 1), slice(0, 1))])
    box = sample_box(some_mask(slice(2, 9), slice(3, 11))[None], torch.ones(1).bool(), 0.0, 0, torch.rand(1, 4))
    both = box.with_more(one)
    assert both.labels.tolist() == [[2, 3, 1]]
    assert both.coords.shape == (1, 3, 2)
