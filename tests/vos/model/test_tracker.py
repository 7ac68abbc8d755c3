"""Unrolling over a clip: shapes, independence of what is not known, and reproducible randomness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sam2_training.engine.task import StepContext
from sam2_training.vos.batch import FrameOutput, VideoBatch
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.losses import clip_loss
from sam2_training.vos.model.prompts import PromptPlan, mask_plan
from sam2_training.vos.model.prompts_config import PromptsConfig
from sam2_training.vos.model.step import ClipStep
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.sam2.adapter import MemoryBank
from torch import Tensor

from tests.vos.moving_clips import SIZE, make_batch

TWO_POINT_FRAMES = PromptPlan(3, True, (0, 2), frozenset({2}), frozenset({0, 2}), {0: (False, True), 2: (False, False)})


def run(model: TrainableSAM2, batch: VideoBatch, plan: PromptPlan) -> list[FrameOutput]:
    (clip,) = batch.clip_facts()
    return model.track(batch, plan.restricted(clip.promptable, clip.labeled_frames))


def without_randomness(model: TrainableSAM2) -> TrainableSAM2:
    """The network in eval mode: no dropout, though gradients flow."""
    return model.eval()


def gradients(model: TrainableSAM2, batch: VideoBatch, plan: PromptPlan) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(5)
    clip_loss(run(model, batch, plan), batch, LossConfig(), 1.0)["total"].backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("num_frames", [1, 2, 4])
@pytest.mark.parametrize("objects_per_clip", [(2,), (1, 2)])
@pytest.mark.parametrize("use_points", [True, False])
def test_every_frame_has_outputs_of_the_right_shape(
    network: TrainableSAM2, num_frames: int, objects_per_clip: tuple[int, ...], use_points: bool
) -> None:
    network.prompts = PromptsConfig(float(use_points), num_correction_pt_per_frame=2)
    batch, n = make_batch(num_frames, objects_per_clip), sum(objects_per_clip)
    with torch.no_grad():
        (tracked,) = network.train()(batch, np.random.default_rng(1))
    outputs = tracked.outputs
    assert [output.frame_index for output in outputs] == list(range(num_frames))
    assert len(outputs[0].steps) == (3 if use_points else 1)
    for output in outputs:
        assert output.final_masks.shape == (n, 1, SIZE, SIZE)
        assert output.final_masks.isfinite().all()
        for step in output.steps:
            candidates = step.low_res_masks.shape[1]
            assert candidates in (1, 3)
            assert step.low_res_masks.shape == (n, candidates, SIZE // 4, SIZE // 4)
            assert step.ious.shape == (n, candidates)
            assert step.object_score_logits.shape == (n, 1)


def test_mask_prompts_return_the_mask_itself(network: TrainableSAM2) -> None:
    batch = make_batch(1)
    with torch.no_grad():
        output = network.eval().track(batch, mask_plan(1))[0]
    assert torch.equal(output.final_masks[:, 0] > 0, batch.masks(0))


def test_tracking_a_given_mask_is_repeatable_and_reads_no_later_mask(network: TrainableSAM2) -> None:
    batch, other = make_batch(3), make_batch(3)
    other.mask_planes[:, 1:] = 0
    state = torch.get_rng_state()
    with torch.no_grad():
        first, again, blind = (network.eval().track(one, mask_plan(3)) for one in (batch, batch, other))
    for frames in zip(first, again, blind, strict=True):
        assert torch.equal(frames[0].final_masks, frames[1].final_masks)
        assert torch.equal(frames[0].final_masks, frames[2].final_masks)
    assert torch.equal(torch.get_rng_state(), state), "scoring must not shift the random numbers of training"


def test_a_clip_gives_the_same_alone_and_beside_another(network: TrainableSAM2) -> None:
    """Nothing flows between clips. Mask prompts: they do not consume random numbers."""
    both = make_batch(3, (2, 1))
    alone = both.part([1])
    with torch.no_grad():
        together = without_randomness(network).track(both, mask_plan(3))
        single = network.track(alone, mask_plan(3))
    for one, other in zip(together, single, strict=True):
        assert torch.allclose(one.final_masks[2:], other.final_masks, atol=1e-4)


@pytest.mark.parametrize("use_points", [True, False])
def test_an_object_absent_on_a_second_conditioning_frame_prompts_nothing_there(
    network: TrainableSAM2, use_points: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = TWO_POINT_FRAMES if use_points else PromptPlan(3, False, (0, 2))
    given: dict[int, bool] = {}
    decode_first = network.decode_first

    def spy(t: int, is_conditioning: bool, features, n, points, masks, *rest):  # type: ignore[no-untyped-def]
        given[t] = points is not None or masks is not None
        return decode_first(t, is_conditioning, features, n, points, masks, *rest)

    monkeypatch.setattr(network, "decode_first", spy)
    losses = clip_loss(run(network.train(), *(batch := make_batch(3, absent=[(2, 1)]), plan)), batch, LossConfig(), 1.0)
    losses["total"].backward()
    assert given == {0: True, 1: False, 2: False}
    assert losses["total"].isfinite()
    run(network, make_batch(3), plan)
    assert given == {0: True, 1: False, 2: True}


@pytest.mark.parametrize("prob_to_use_points", [1.0, 0.0])
def test_a_clip_is_prompted_the_same_whatever_it_shares_a_batch_with(
    network: TrainableSAM2, prob_to_use_points: float
) -> None:
    """Second prompted frames fall where objects of the first clip are absent or unlabeled; clicks come from seeds."""
    batch = make_batch(3, (2, 1, 1), absent=[(1, 0), (2, 0)], unlabeled=[(1, 1), (2, 1), (1, 0), (2, 3)])
    network.prompts = PromptsConfig(prob_to_use_points, num_correction_pt_per_frame=2, rand_init_cond_frames=False)
    step = ClipStep(network.eval(), LossConfig())

    def losses(number: int, *cut: list[int]) -> Tensor:
        found = [step(batch.part(clips), 1.0, StepContext(5, number)) for clips in cut]
        return torch.stack([sum(part[name].detach() for part in found) for name in found[0]])  # type: ignore[arg-type]

    for number in range(4):
        apart = losses(number, [0], [1], [2])
        for cut in ([[0, 1, 2]], [[0], [1, 2]], [[0, 2], [1]]):
            torch.testing.assert_close(losses(number, *cut), apart, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("use_points", [True, False])
def test_what_an_unlabeled_frame_holds_changes_nothing(network: TrainableSAM2, use_points: bool) -> None:
    plan = TWO_POINT_FRAMES if use_points else PromptPlan(3, False, (0, 2))
    unlabeled = [(2, 0), (2, 1), (1, 0)]
    batch, other = make_batch(3, unlabeled=unlabeled), make_batch(3, unlabeled=unlabeled)
    other.mask_planes[:, 2] = torch.randint(0, 4, other.mask_planes[:, 2].shape, dtype=torch.uint8)
    other.mask_planes[:, 1] ^= torch.randint(0, 2, other.mask_planes[:, 1].shape, dtype=torch.uint8)  # object 0 only
    without_randomness(network)
    expected, found = gradients(network, batch, plan), gradients(network, other, plan)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    labeled = gradients(network, make_batch(3), plan)
    assert not all(torch.equal(expected[name], labeled[name]) for name in expected), "labels must matter"


def test_equal_seeds_give_equal_steps(network: TrainableSAM2) -> None:
    network.prompts = PromptsConfig(1.0, num_correction_pt_per_frame=2)
    step, batch = ClipStep(network, LossConfig()).eval(), make_batch(2)
    (clip,) = batch.clip_facts()

    def losses(seed: int) -> list[float]:
        batch.info = replace(batch.info, clips=(replace(clip, seed=seed),))
        return [float(value.detach()) for value in step(batch, 2.0, StepContext(3, 0)).values()]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_a_clip_with_nothing_to_learn_can_still_be_differentiated(network: TrainableSAM2) -> None:
    batch = make_batch(1, unlabeled=[(0, 0), (0, 1)])
    losses = ClipStep(network, LossConfig()).train()(batch, 1.0, StepContext(0, 0))
    losses["total"].backward()
    assert losses["total"].item() == 0
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())


def test_corrections_follow_the_plan_and_are_learnt_from(network: TrainableSAM2) -> None:
    outputs = run(network.train(), make_batch(3), TWO_POINT_FRAMES)
    assert [len(output.steps) for output in outputs] == [3, 1, 3]
    sum(step.low_res_masks.sum() for step in outputs[2].steps[2:]).backward()
    assert network.sam_mask_decoder.output_hypernetworks_mlps[0].layers[0].weight.grad is not None


def test_a_box_is_given_instead_of_a_click_and_frames_are_corrected_without_one(
    network: TrainableSAM2, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    prompt_encoder = network.sam_prompt_encoder.forward

    def spy(points, boxes, masks):  # type: ignore[no-untyped-def]
        seen.append(tuple(points[1][0].tolist()))
        return prompt_encoder(points=points, boxes=boxes, masks=masks)

    monkeypatch.setattr(network.sam_prompt_encoder, "forward", spy)
    plan = PromptPlan(2, True, (0,), frozenset({0}), frozenset({0, 1}), {0: (True,), 1: (True, True)})
    run(network.eval(), make_batch(2), plan)
    assert seen == [(2, 3), (2, 3, 1), (-1,), (1,), (1, 1)]


@pytest.mark.parametrize(
    ("prompts", "conditioning", "tracked"),
    [
        (PromptsConfig(), {0, 2}, {1}),
        (PromptsConfig(add_all_frames_to_correct_as_cond=False), {0}, {1, 2}),
    ],
)
def test_a_corrected_frame_becomes_a_conditioning_frame_unless_switched_off(
    network: TrainableSAM2,
    prompts: PromptsConfig,
    conditioning: set[int],
    tracked: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memories: list[MemoryBank] = []
    decode_first = network.decode_first

    def spy(t: int, is_conditioning: bool, features, n, points, masks, memory, *rest):  # type: ignore[no-untyped-def]
        memories.append(memory)
        return decode_first(t, is_conditioning, features, n, points, masks, memory, *rest)

    monkeypatch.setattr(network, "decode_first", spy)
    network.prompts = prompts
    plan = PromptPlan(4, True, (0,), frozenset(), frozenset({0, 2}), {0: (False,), 2: (False,)})
    with torch.no_grad():
        run(network.eval(), make_batch(4), plan)
    assert (set(memories[-1].conditioning), set(memories[-1].tracked)) == (conditioning, tracked)
