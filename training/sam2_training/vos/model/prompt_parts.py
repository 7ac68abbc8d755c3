"""Which objects of a batch are prompted alike: each such part is unrolled together, apart from the others.

Under prompts.prompt_types each object has one kind of prompt on its clip's first frame, drawn from the clip's own seed.
Objects with different kinds cannot share a pass of the mask decoder, even in one clip: a mask skips it, and sam2
decides by the number of points of a pass, padding included, whether it predicts one mask or several. No layer looks
from one object to another in training, so a clip that is divided by kind gives every object what it would get alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam2_training.core.rng import rng_for
from sam2_training.vos.batch import ClipFacts
from sam2_training.vos.model.prompts import FirstClicks, PromptPlan, mask_plan, plan_prompts
from sam2_training.vos.model.prompts_config import Kind, PromptsConfig

Parts = list[tuple[PromptPlan, list[int]]]
"""(plan, numbers of the objects under it, ascending); every object of the batch is in one."""


def objects_by_plan(
    config: PromptsConfig, clips: Sequence[ClipFacts], num_frames: int, rng: np.random.Generator
) -> Parts:
    """The plans of a batch. rng: of the published vocabulary's choices, which all clips share."""
    if config.prompt_types is not None:
        kinds = [kind for clip in clips for kind in draw_kinds(config, clip)]
        found = dict.fromkeys(kinds)
        return [
            (first_frame_plan(config, kind, num_frames), [o for o, own in enumerate(kinds) if own == kind])
            for kind in found
        ]
    plan = plan_prompts(config, num_frames, rng)
    parts: dict[tuple[tuple[int, ...], frozenset[int]], tuple[PromptPlan, list[int]]] = {}
    first = 0
    for clip in clips:
        own = plan.restricted(clip.promptable, clip.labeled_frames)
        part = parts.setdefault((own.conditioning_frames, own.corrected_frames), (own, []))
        part[1].extend(range(first, first + clip.num_objects))
        first += clip.num_objects
    return list(parts.values())


def draw_kinds(config: PromptsConfig, clip: ClipFacts) -> list[Kind]:
    """The kind of prompt of each object of a clip; a function of its seed, not of the clips beside it."""
    types = config.prompt_types or ()
    count = 1 if config.draw_per == "clip" else clip.num_objects
    drawn = rng_for(clip.seed, "prompt kinds").choice(len(types), count, p=config.prompt_probs)
    kinds = [types[number] for number in drawn]
    return kinds * clip.num_objects if config.draw_per == "clip" else kinds


def first_frame_plan(config: PromptsConfig, kind: Kind, num_frames: int) -> PromptPlan:
    """One prompt of a kind on the first frame, and nothing later."""
    if kind == "mask":
        return mask_plan(num_frames)
    if kind == "box":
        return PromptPlan(num_frames, use_points=True, conditioning_frames=(0,), box_frames=frozenset({0}))
    clicks = FirstClicks(config.num_of_pos_points, config.num_of_neg_points, config.include_center_point)
    return PromptPlan(num_frames, use_points=True, conditioning_frames=(0,), first_clicks=clicks)
