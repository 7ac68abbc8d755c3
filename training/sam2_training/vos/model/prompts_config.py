"""Configuration of simulated prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import isclose
from typing import Literal

from sam2_training.core.settings import setting

Kind = Literal["point", "box", "mask"]
"""Of a prompt on a clip's first frame."""

OF_POINTS = ("num_of_pos_points", "num_of_neg_points", "include_center_point")
OF_PROMPT_TYPES = ("prompt_probs", "draw_per", *OF_POINTS)
"""Keys that say more about prompt_types."""
OF_BOTH = ("prompt_types", "box_noise", "box_noise_bound_px")
"""The other keys are SAM 2's published vocabulary."""


@dataclass(frozen=True)
class PromptsConfig:
    """How a user's prompts are simulated: by prompt_types, or, if that is null, as in SAM 2's published training.

    prompt_types: one prompt on a clip's first frame. Published: also on later frames, with correction clicks.
    """

    prob_to_use_pt_input: float = setting(0.5, at_least=0, at_most=1)
    """Probability of clicks or a box; otherwise the ground-truth mask is the prompt. One-frame clips always use
    clicks, unless this is 0."""
    prob_to_use_box_input: float = setting(0.5, at_least=0, at_most=1)
    """Under point input: probability of a box instead of the first click, per conditioning frame."""
    num_init_cond_frames: int = setting(2, at_least=1)
    """Frames with a first prompt, at most; the clip's first frame is always one of them."""
    rand_init_cond_frames: bool = True
    """Draw their number between 1 and num_init_cond_frames; false: always the maximum."""
    num_frames_to_correct: int = 2
    """Under point input: frames that get correction clicks, at most; conditioning frames first."""
    rand_frames_to_correct: bool = True
    """Draw their number between the conditioning frames' and num_frames_to_correct; false: always the maximum."""
    num_correction_pt_per_frame: int = setting(7, at_least=0)
    """Correction clicks on each corrected frame."""
    prob_to_sample_from_gt: float = setting(0.1, at_least=0, at_most=1)
    """Probability that a correction click is drawn from the ground-truth mask instead of from the error region."""
    add_all_frames_to_correct_as_cond: bool = True
    """A corrected frame becomes a conditioning frame for the rest of the clip."""
    box_noise: float = setting(0.1, at_least=0)
    """Largest shift of a box side, as a fraction of the box's width or height."""
    box_noise_bound_px: int = setting(20, at_least=0, unit="pixels")
    """Largest shift of a box side."""
    prompt_types: tuple[Kind, ...] | None = setting(None, aliases=("prompts.prompt_type", "prompt_type"))
    """Kinds of prompt on the first frame: point, box, mask, or several of them, as a list. null: the published
    vocabulary (the keys from prob_to_use_pt_input to add_all_frames_to_correct_as_cond), which otherwise must stay at
    its defaults."""
    prompt_probs: tuple[float, ...] | None = setting(None, at_least=0, at_most=1)
    """Probability of each of prompt_types, in their order; null: all the same."""
    draw_per: Literal["clip", "object"] = "clip"
    """What a kind is drawn for: a clip, or each of its objects on its own."""
    num_of_pos_points: int = setting(1, at_least=1)
    """Clicks inside the object, of a point prompt."""
    num_of_neg_points: int = setting(0, at_least=0)
    """Clicks on the background, of a point prompt."""
    include_center_point: bool = True
    """The first click inside falls on the pixel farthest from the mask's border; false: on a random one like the
    others."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        yield from self._without_effect(where)
        if self.prompt_types is not None:
            yield from self._prompt_type_problems(where, self.prompt_types)
        if self.prob_to_use_pt_input > 0 and self.num_frames_to_correct < self.num_init_cond_frames:
            yield (
                f"{where}.num_frames_to_correct={self.num_frames_to_correct} must be at least "
                f"{where}.num_init_cond_frames={self.num_init_cond_frames}: conditioning frames are corrected first"
            )

    def _without_effect(self, where: str) -> Iterator[str]:
        """A sentence for every key that is set and would change nothing."""
        types = self.prompt_types
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if value == field.default or name in OF_BOTH:
                continue
            shown = list(value) if isinstance(value, tuple) else value
            found = f"{where}.{name}={shown} has no effect"
            if types is None and name in OF_PROMPT_TYPES:
                yield f"{found} without {where}.prompt_types: set that, or remove this"
            elif types is not None and name not in OF_PROMPT_TYPES:
                yield f"{found} with {where}.prompt_types, which says what is prompted: remove one of them"
            elif types is not None and name in OF_POINTS and "point" not in types:
                yield f"{found} with {where}.prompt_types={list(types)}: add point, or remove this"
            elif name == "draw_per" and len(types or ()) == 1:
                yield f"{found} with the single kind {where}.prompt_types={list(types or ())}: add one, or remove this"

    def _prompt_type_problems(self, where: str, types: tuple[Kind, ...]) -> Iterator[str]:
        if not types:
            yield f"{where}.prompt_types is empty: name point, box or mask, or null for the published vocabulary"
        if len(set(types)) < len(types):
            yield f"{where}.prompt_types={list(types)} names a kind twice: weigh it with {where}.prompt_probs"
        probs = self.prompt_probs
        if probs is not None and (len(probs) != len(types) or not isclose(sum(probs), 1, abs_tol=1e-6)):
            yield (
                f"{where}.prompt_probs={list(probs)} must be {len(types)} number(s) that add up to 1, one for each of "
                f"{where}.prompt_types={list(types)}"
            )
