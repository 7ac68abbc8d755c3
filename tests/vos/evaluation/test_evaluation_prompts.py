"""Prompts: what their names mean, and where clicks and boxes go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sam2.modeling.sam2_utils import mask_to_box, sample_one_point_from_error_center
from sam2_training.core.errors import ConfigError, DataError
from sam2_training.vos.evaluation.prompt_spec import PromptSpec
from sam2_training.vos.evaluation.prompts import Click, Prompt, corrective_click, prompt_from_ground_truth, tight_box


@pytest.mark.parametrize("text", ["mask", "box", "click:1", "click:3", "interactive:8"])
def test_a_prompts_name_goes_there_and_back(text: str) -> None:
    assert str(PromptSpec.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "masks", "mask:1", "box:", "click", "click:", "click:0", "click:-1", "click:1.5", "interactive:x"]
)
def test_anything_else_is_refused_and_told_what_is_accepted(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        PromptSpec.parse(text)
    assert repr(text) in str(raised.value)
    for accepted in ("mask", "box", "click:N", "interactive:N"):
        assert accepted in str(raised.value)


def blobs(seed: int) -> np.ndarray:
    """A ragged mask [40, 60] that touches the edges."""
    rng = np.random.default_rng(seed)
    noise = rng.random((10, 15)).repeat(4, 0).repeat(4, 1)
    return np.asarray((noise > 0.6) ^ (rng.random((40, 60)) > 0.97))


@pytest.mark.parametrize("seed", range(12))
def test_a_click_goes_where_sam2s_own_evaluation_puts_it(seed: int) -> None:
    truth, predicted = blobs(seed), blobs(100 + seed)
    click = corrective_click(truth, predicted)
    points, labels = sample_one_point_from_error_center(
        torch.from_numpy(truth)[None, None], torch.from_numpy(predicted)[None, None]
    )
    assert click == Click(points[0, 0, 0].item(), points[0, 0, 1].item(), bool(labels[0, 0]))


def test_the_first_click_is_the_middle_of_the_mask() -> None:
    truth = np.zeros((50, 70), np.bool_)
    truth[10:31, 20:41] = True
    prompt = prompt_from_ground_truth(PromptSpec("click", 3), 7, 2, truth)
    assert (prompt.object_id, prompt.frame_index) == (7, 2)
    assert prompt.clicks == (Click(30.0, 20.0, True),)


def test_too_much_is_answered_by_a_negative_click_and_nothing_wrong_by_none() -> None:
    truth, predicted = np.zeros((40, 40), np.bool_), np.zeros((40, 40), np.bool_)
    truth[5:15, 5:15] = True
    predicted[5:15, 5:15] = True
    assert corrective_click(truth, predicted) is None
    predicted[20:31, 20:31] = True
    assert corrective_click(truth, predicted) == Click(25.0, 25.0, False)


@pytest.mark.parametrize("seed", range(4))
def test_a_box_holds_the_mask_tightly(seed: int) -> None:
    truth = blobs(seed)
    truth[:3] = truth[:, :5] = False
    assert tight_box(truth) == tuple(mask_to_box(torch.from_numpy(truth)[None, None])[0, 0].tolist())
    assert prompt_from_ground_truth(PromptSpec("box"), 1, 0, truth).box == tight_box(truth)


def test_an_empty_truth_cannot_be_a_prompt() -> None:
    with pytest.raises(DataError, match="object 4 cannot be prompted on frame 9: its ground-truth mask there is empty"):
        prompt_from_ground_truth(PromptSpec("mask"), 4, 9, np.zeros((8, 8), np.bool_))


def test_a_prompt_is_a_mask_or_a_box_and_clicks() -> None:
    with pytest.raises(ValueError, match="object 1"):
        Prompt(1, 0)
    with pytest.raises(ValueError, match="object 1"):
        Prompt(1, 0, mask=np.ones((4, 4), np.bool_), box=(0, 0, 1, 1))
