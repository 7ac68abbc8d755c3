"""prompts.prompt_types: kinds of a first prompt, its clicks, and objects of one clip with different kinds."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from sam2_training.core.errors import ConfigError
from sam2_training.engine.task import StepContext
from sam2_training.tasks import load_config
from sam2_training.vos.batch import ClipFacts, VideoBatch
from sam2_training.vos.config import VosConfig
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.model.prompt_parts import draw_kinds, first_frame_plan, objects_by_plan
from sam2_training.vos.model.prompts import FirstClicks, sample_first_clicks
from sam2_training.vos.model.prompts_config import OF_BOTH, OF_PROMPT_TYPES, PromptsConfig
from sam2_training.vos.model.step import ClipStep
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.sam2.points import LABEL_NEGATIVE, LABEL_PADDING, LABEL_POSITIVE, Points
from torch import Tensor

from tests.vos.moving_clips import make_batch

ALL_KINDS = PromptsConfig(prompt_types=("point", "box", "mask"), draw_per="object", num_of_neg_points=1)


def facts(seed: int, num_objects: int = 3) -> ClipFacts:
    return ClipFacts(seed, num_objects, (True,) * 4, (True,) * 4)


def shares(config: PromptsConfig, count: int = 3000) -> dict[str, float]:
    drawn = Counter(draw_kinds(config, facts(seed))[0] for seed in range(count))
    return {kind: number / count for kind, number in drawn.items()}


def test_kinds_are_as_frequent_as_configured() -> None:
    """3,000 clips: a share of a half has a standard error of 0.01, so 0.04 is four of them."""
    types = PromptsConfig(prompt_types=("point", "box", "mask"))
    assert shares(types) == pytest.approx({"point": 1 / 3, "box": 1 / 3, "mask": 1 / 3}, abs=0.04)
    assert shares(replace(types, prompt_probs=(0.5, 0.0, 0.5))) == pytest.approx({"point": 0.5, "mask": 0.5}, abs=0.04)


def test_kinds_are_drawn_per_clip_or_per_object_from_the_clips_seed_alone() -> None:
    per_clip = replace(ALL_KINDS, draw_per="clip")
    assert all(len(set(draw_kinds(per_clip, facts(seed)))) == 1 for seed in range(50))
    several = [draw_kinds(ALL_KINDS, facts(seed)) for seed in range(50)]
    assert any(len(set(kinds)) == 3 for kinds in several)
    assert several == [draw_kinds(ALL_KINDS, facts(seed)) for seed in range(50)]
    rng = np.random.default_rng(1)
    parts = objects_by_plan(ALL_KINDS, [facts(1), facts(2)], 4, rng)
    assert sorted(o for _, objects in parts for o in objects) == list(range(6))
    assert rng.random() == np.random.default_rng(1).random(), "what all clips share is not drawn from"


def test_only_the_first_frame_is_prompted_and_nothing_is_corrected() -> None:
    for kind in ("point", "box", "mask"):
        plan = first_frame_plan(ALL_KINDS, kind, 4)
        assert plan.conditioning_frames == (0,)
        assert not plan.corrected_frames
        assert plan.use_points == (kind != "mask")
        assert plan.box_frames == ({0} if kind == "box" else set())


def clicks(
    truth: Tensor, counts: FirstClicks, seed: int = 0, labeled: bool = True, ignored: Tensor | None = None
) -> Points:
    position = torch.rand(counts.count, len(truth), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return sample_first_clicks(truth, torch.full((len(truth),), labeled), counts, position, ignored)


def two_masks() -> Tensor:
    """A square of 7 x 7 pixels with a tail, whose center is not that of its box; a corner of 3 x 3 pixels."""
    truth = torch.zeros(2, 20, 30, dtype=torch.bool)
    truth[0, 5:12, 4:11] = truth[0, 8, 11:28] = True
    truth[1, :3, :3] = True
    return truth


def test_the_center_is_the_pixel_farthest_from_the_border() -> None:
    found = clicks(two_masks(), FirstClicks(1, 0, center=True))
    assert found.coords.tolist() == [[[7.0, 8.0]], [[1.0, 1.0]]]
    assert found.labels.tolist() == [[LABEL_POSITIVE], [LABEL_POSITIVE]]


def test_positive_clicks_fall_into_the_mask_and_negative_ones_beside_it_everywhere() -> None:
    truth = two_masks()
    seen: set[tuple[int, int]] = set()
    for seed in range(60):
        found = clicks(truth, FirstClicks(2, 3, center=False), seed)
        assert found.labels.tolist() == [[LABEL_POSITIVE] * 2 + [LABEL_NEGATIVE] * 3] * 2
        for o in range(2):
            x, y = found.coords[o].long().unbind(-1)
            assert truth[o, y, x].tolist() == [True, True, False, False, False]
        seen.update(map(tuple, found.coords[1, :2].tolist()))
    assert len(seen) == 9, "every pixel of the mask is clicked on sooner or later"


def test_without_a_place_to_click_there_is_padding() -> None:
    truth = two_masks()
    truth[0] = False
    counts = FirstClicks(2, 1, center=True)
    assert clicks(truth, counts).labels.tolist() == [[LABEL_PADDING] * 3, [1, 1, 0]]
    assert clicks(truth, counts, labeled=False).labels.eq(LABEL_PADDING).all()
    truth[1] = True
    assert clicks(truth, counts).labels[1].tolist() == [1, 1, LABEL_PADDING]


def test_ignored_pixels_are_never_clicked_on() -> None:
    truth = two_masks()
    ignored = ~truth
    ignored[:, 19, 29] = False
    for seed in range(20):
        found = clicks(truth, FirstClicks(1, 2, center=False), seed, ignored=ignored)
        assert found.coords[:, 1:].tolist() == [[[29.0, 19.0]] * 2] * 2


def spied_prompts(network: TrainableSAM2, batch: VideoBatch, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for each first-frame prompt of a step, such as `points [1, 0]`."""
    seen: list[str] = []
    decode_first = network.decode_first

    def spy(t: int, is_conditioning: bool, features: Any, n: int, points: Points | None, masks: Any, *rest: Any) -> Any:
        if points is not None:
            seen.append(f"points {points.labels[0].tolist()}")
        if masks is not None:
            seen.append("mask")
        return decode_first(t, is_conditioning, features, n, points, masks, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(network, "decode_first", spy)
        with torch.no_grad():
            network.eval()(batch, np.random.default_rng(0))
    return seen


def test_each_kind_reaches_the_network_as_itself(network: TrainableSAM2, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"point": "points [1, 1, 0]", "box": "points [2, 3]", "mask": "mask"}
    for kind, seen in expected.items():
        numbers = {"num_of_pos_points": 2, "num_of_neg_points": 1} if kind == "point" else {}
        network.prompts = PromptsConfig(prompt_types=(kind,), **numbers)
        assert spied_prompts(network, make_batch(2), monkeypatch) == [seen]


def mixed_batch() -> VideoBatch:
    """Three clips, one of them with objects of all three kinds."""
    batch = make_batch(3, (3, 1, 2), absent=[(1, 0)], unlabeled=[(2, 1)])
    clips = batch.clip_facts()
    seed = next(s for s in range(100) if set(draw_kinds(ALL_KINDS, facts(s))) == {"point", "box", "mask"})
    batch.info = replace(batch.info, clips=(replace(clips[0], seed=seed), *clips[1:]))
    return batch


def test_objects_of_one_clip_with_different_kinds_get_what_they_would_get_alone(network: TrainableSAM2) -> None:
    batch = mixed_batch()
    network.prompts = ALL_KINDS
    with torch.no_grad():
        parts = network.eval()(batch, np.random.default_rng(0))
    plans = objects_by_plan(ALL_KINDS, batch.clip_facts(), 3, np.random.default_rng(0))
    assert len(parts) == len(plans) == 3
    kinds = [kind for clip in batch.clip_facts() for kind in draw_kinds(ALL_KINDS, clip)]
    for part, (_, objects) in zip(parts, plans, strict=True):
        assert part.batch.num_objects == len(objects)
        for t in range(3):
            assert torch.equal(part.batch.masks(t), batch.masks(t)[objects])
        network.prompts = replace(ALL_KINDS, prompt_types=(kinds[objects[0]],), draw_per="clip")
        with torch.no_grad():
            (alone,) = network(batch, np.random.default_rng(0))  # every object with this kind
        for one, other in zip(part.outputs, alone.outputs, strict=True):
            torch.testing.assert_close(one.final_masks, other.final_masks[objects], rtol=1e-4, atol=1e-4)


def test_a_step_is_the_same_however_its_batch_is_cut(network: TrainableSAM2) -> None:
    batch = mixed_batch()
    network.prompts = ALL_KINDS
    step = ClipStep(network.eval(), LossConfig())

    def losses(*cut: list[int]) -> Tensor:
        found = [step(batch.part(numbers), 6.0, StepContext(5, 0)) for numbers in cut]
        return torch.stack([sum(part[name].detach() for part in found) for name in found[0]])  # type: ignore[arg-type]

    apart = losses([0], [1], [2])
    for cut in ([[0, 1, 2]], [[0], [1, 2]], [[0, 2], [1]]):
        torch.testing.assert_close(losses(*cut), apart, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["point", "box", "mask"])
def test_a_batch_without_anything_labeled_can_still_be_differentiated(network: TrainableSAM2, kind: str) -> None:
    """Such as the blank clip that stands for a batch whose samples were all left out."""
    network.prompts = PromptsConfig(prompt_types=(kind,))
    every = [(t, o) for t in range(2) for o in range(2)]
    losses = ClipStep(network, LossConfig()).train()(
        make_batch(2, absent=every, unlabeled=every), 1.0, StepContext(0, 0)
    )
    losses["total"].backward()
    assert losses["total"].item() == 0
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())


CHANGES: dict[str, Any] = {
    "prompt_types": ("box", "mask"),
    "prompt_probs": (1.0, 0.0),
    "draw_per": "object",
    "num_of_pos_points": 2,
    "num_of_neg_points": 1,
    "include_center_point": False,
}


@pytest.mark.parametrize("key", CHANGES)
def test_every_key_changes_what_is_learned(network: TrainableSAM2, key: str) -> None:
    assert set(CHANGES) == {"prompt_types", *OF_PROMPT_TYPES}
    plain = PromptsConfig(prompt_types=("point", "mask"))
    changed = replace(plain, **{key: CHANGES[key]})
    assert list(changed.problems("prompts")) == []
    step, batch = ClipStep(network.eval(), LossConfig()), make_batch(2, (3, 3, 2))

    def total(config: PromptsConfig) -> float:
        network.prompts = config
        with torch.no_grad():
            return float(step(batch, 1.0, StepContext(0, 0))["total"])

    assert total(changed) != total(plain)


def test_keys_without_effect_are_refused() -> None:
    typed = PromptsConfig(prompt_types=("point", "box"))
    for field in fields(PromptsConfig):
        name = field.name
        if name in OF_BOTH:
            continue
        is_flag = isinstance(field.default, bool)
        value = CHANGES[name] if name in CHANGES else not field.default if is_flag else field.default + 1
        base, other = (typed, PromptsConfig()) if name in OF_PROMPT_TYPES else (PromptsConfig(), typed)
        assert not [line for line in replace(base, **{name: value}).problems("prompts") if "no effect" in line]
        refused = list(replace(other, **{name: value}).problems("prompts"))
        assert refused[0].startswith(f"prompts.{name}="), name
        assert "no effect" in refused[0]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("prompts.prompt_types=[]", "prompts.prompt_types is empty"),
        ("prompts.prompt_types=[box,box]", "names a kind twice"),
        ("prompts.prompt_types=[dot]", "'dot' must be one of point, box, mask"),
        ("prompts.prompt_types=[point,box] prompts.prompt_probs=[0.5,0.6]", "that add up to 1"),
        ("prompts.prompt_types=[point,box] prompts.prompt_probs=[1.0]", "must be 2 number(s)"),
        ("prompts.prompt_types=[box] prompts.num_of_pos_points=3", "add point, or remove this"),
        ("prompts.prompt_types=[box] prompts.draw_per=object", "with the single kind"),
        ("prompts.prompt_types=[point] prompts.num_of_pos_points=0", "must be at least 1"),
        ("prompt_type=mask", "leave mask out"),
    ],
)
def test_what_does_not_fit_is_a_sentence(overrides: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config("sam2.1_training/custom_finetune", overrides.split())
    assert any(words in problem for problem in raised.value.problems), raised.value.problems


@pytest.mark.parametrize("name", ["prompts.prompt_types", "prompts.prompt_type", "prompt_type"])
@pytest.mark.parametrize("value", ["[point]", "point"])
def test_every_name_of_the_key_takes_a_list_or_one_kind(name: str, value: str) -> None:
    config = load_config("sam2.1_training/custom_finetune", [f"{name}={value}"], VosConfig).config
    assert config.prompts.prompt_types == ("point",)


@pytest.mark.parametrize("preset", ["published", "mask", "clicks", "vos-mask", "interactive", "box-only", "image"])
def test_every_preset_is_valid(preset: str) -> None:
    frames = 1 if preset == "image" else 4
    overrides = [f"prompts={preset}", f"dataset.num_frames={frames}"]
    prompts = load_config("sam2.1_training/custom_finetune", overrides, VosConfig).config.prompts
    plans = [
        plan
        for seed in range(40)
        for plan, _ in objects_by_plan(prompts, [facts(seed)], frames, np.random.default_rng(seed))
    ]
    boxes = [bool(plan.box_frames) for plan in plans]
    expected = {
        "vos-mask": not any(plan.use_points for plan in plans)
        and {plan.conditioning_frames for plan in plans} == {(0,)},
        "mask": not any(plan.use_points for plan in plans),
        "box-only": all(boxes) and not any(plan.corrected_frames for plan in plans),
        "interactive": len(set(boxes)) == 2 and {len(plan.corrected_frames) for plan in plans} == {2},
        "image": len(set(boxes)) == 2 and {plan.corrected_frames for plan in plans} == {frozenset({0})},
    }
    assert expected.get(preset, True)
