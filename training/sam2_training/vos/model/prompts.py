"""Simulated prompts: which frames are prompted and how, and the clicks and boxes themselves.

In the published vocabulary, frames and kinds of prompts are drawn once per optimizer step for the whole global batch
(`plan_prompts`), in the order in which SAM 2's published training draws it; prompts.prompt_types is the matter of
prompt_parts.py. The positions of clicks and boxes come from each clip's own seed
(`draw_positions`). So neither depends on how a batch is cut into micro-batches and ranks.

Absent and unlabeled objects are not prompted:
- A later frame starts a clip only if every object of the clip is labeled and visible there (`PromptPlan.restricted`);
  otherwise it is tracked like any other.
- A frame in which nothing of the clip is labeled is not corrected.
- An object that is unlabeled, or absent and not wrongly predicted, gets padding (label -1) instead of a click or box,
  so that all objects keep the same number of points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sam2_training.core.rng import rng_for
from sam2_training.vos.batch import ClipFacts
from sam2_training.vos.depth import depth
from sam2_training.vos.model.prompts_config import PromptsConfig
from sam2_training.vos.sam2.points import (
    LABEL_BOTTOM_RIGHT,
    LABEL_NEGATIVE,
    LABEL_PADDING,
    LABEL_POSITIVE,
    LABEL_TOP_LEFT,
    Points,
)


@dataclass(frozen=True)
class FirstClicks:
    """Clicks that are a frame's first prompt, given at once."""

    positive: int
    """Inside the object."""
    negative: int
    """On the background."""
    center: bool
    """The first positive click falls on the pixel that is farthest from the mask's border, not on a random one."""

    @property
    def count(self) -> int:
        return self.positive + self.negative


@dataclass(frozen=True)
class PromptPlan:
    """What is prompted in clips of `num_frames` frames; the same for all their objects."""

    num_frames: int
    use_points: bool
    """Clicks or boxes; False: the ground-truth mask."""
    conditioning_frames: tuple[int, ...]
    """Frames with a first prompt, in processing order; frame 0 is the first."""
    box_frames: frozenset[int] = frozenset()
    """Conditioning frames whose first prompt is a box instead of clicks."""
    corrected_frames: frozenset[int] = frozenset()
    """Frames that get correction clicks."""
    clicks_from_ground_truth: Mapping[int, tuple[bool, ...]] | None = None
    """For each corrected frame, click by click: drawn from the ground-truth mask instead of from the error region."""
    first_clicks: FirstClicks | None = None
    """Under points, the first prompt of conditioning frames without a box; None: one click, as for a correction."""

    @property
    def processing_order(self) -> tuple[int, ...]:
        """All frames: conditioning ones first, then the others in time order."""
        others = (t for t in range(self.num_frames) if t not in self.conditioning_frames)
        return (*self.conditioning_frames, *others)

    @property
    def num_first(self) -> int:
        """Boxes and clicks of a first prompt."""
        return 1 if self.first_clicks is None else self.first_clicks.count

    @property
    def prompts_per_frame(self) -> int:
        """The most boxes and clicks that a frame gets: the first prompt's and the correction clicks."""
        return self.num_first + max(map(len, (self.clicks_from_ground_truth or {}).values()), default=0)

    def restricted(self, promptable: Sequence[bool], labeled: Sequence[bool]) -> PromptPlan:
        """The plan without prompts for absent or unlabeled objects.

        promptable, labeled: per frame, as in `ClipFacts`. Frame 0 always keeps its prompt: a clip starts there.
        """
        return replace(
            self,
            conditioning_frames=tuple(t for t in self.conditioning_frames if t == 0 or promptable[t]),
            corrected_frames=frozenset(t for t in self.corrected_frames if labeled[t]),
        )


def mask_plan(num_frames: int) -> PromptPlan:
    """The plan of semi-supervised video object segmentation: the ground-truth mask on frame 0, nothing else."""
    return PromptPlan(num_frames, use_points=False, conditioning_frames=(0,))


def plan_prompts(config: PromptsConfig, num_frames: int, rng: np.random.Generator) -> PromptPlan:
    """What is prompted in a clip; a function of its arguments, so ranks with equal generators agree.

    One-frame clips use clicks or a box unless config.prob_to_use_pt_input is 0. Under mask prompts one frame at least
    stays without (a clip whose every mask is given leaves nothing to learn). Draws from `rng` in stock's order.
    """
    one_frame_needs_points = num_frames == 1 and config.prob_to_use_pt_input > 0
    use_points = bool(rng.random() < (1.0 if one_frame_needs_points else config.prob_to_use_pt_input))
    most_conditioning = min(config.num_init_cond_frames, num_frames if use_points else max(1, num_frames - 1))
    most_corrected = min(config.num_frames_to_correct, num_frames)
    num_conditioning = _draw_count(rng, 1, most_conditioning, config.rand_init_cond_frames)
    num_corrected = 0
    if use_points:
        num_corrected = _draw_count(rng, num_conditioning, most_corrected, config.rand_frames_to_correct)
    conditioning = (0, *_draw_frames(rng, range(1, num_frames), num_conditioning - 1))
    plan = PromptPlan(num_frames, use_points, conditioning)
    if not use_points:
        return plan
    box_frames = frozenset(t for t in conditioning if rng.random() < config.prob_to_use_box_input)
    others = [t for t in range(num_frames) if t not in conditioning]
    corrected = frozenset((*conditioning, *_draw_frames(rng, others, num_corrected - num_conditioning)))
    return replace(
        plan,
        box_frames=box_frames,
        corrected_frames=corrected,
        clicks_from_ground_truth=_draw_click_sources(config, plan, corrected, rng),
    )


def _draw_count(rng: np.random.Generator, low: int, high: int, random: bool) -> int:
    return int(rng.integers(low, high, endpoint=True)) if random and high > low else max(low, high)


def _draw_frames(rng: np.random.Generator, frames: Sequence[int], count: int) -> list[int]:
    return [int(t) for t in rng.choice(frames, count, replace=False)] if count > 0 else []


def _draw_click_sources(
    config: PromptsConfig, plan: PromptPlan, corrected: frozenset[int], rng: np.random.Generator
) -> dict[int, tuple[bool, ...]]:
    """For each corrected frame, per click, whether it is drawn from the ground-truth mask."""
    clicks = range(config.num_correction_pt_per_frame)
    if config.prob_to_sample_from_gt <= 0:
        return {t: (False,) * len(clicks) for t in corrected}
    return {
        t: tuple(bool(rng.random() < config.prob_to_sample_from_gt) for _ in clicks)
        for t in plan.processing_order
        if t in corrected
    }


def draw_positions(clips: Sequence[ClipFacts], plan: PromptPlan) -> Tensor:
    """Uniform random numbers that place each prompt of each object in each frame, float64 [T, P, O, 4], on the CPU.

    Each clip's come from its seed alone. Four numbers a prompt: one for each side of a box; a click uses the first.
    """
    shape = (plan.num_frames, plan.prompts_per_frame)
    drawn = [rng_for(clip.seed, "prompt positions").random((*shape, clip.num_objects, 4)) for clip in clips]
    return torch.from_numpy(np.concatenate(drawn, axis=2))


@dataclass(frozen=True)
class FramePrompter:
    """Prompts all objects in one frame."""

    ground_truth: Tensor
    """bool [O, H, W]"""
    labeled: Tensor
    """bool [O]"""
    positions: Tensor
    """Of this frame's prompts, [P, O, 4]: see `draw_positions`."""
    ignored: Tensor | None = None
    """bool [O, H, W]: pixels that are not clicked on; none of them is in the ground truth."""

    def first(self, plan: PromptPlan, is_box: bool, config: PromptsConfig) -> Points:
        """The frame's first prompt."""
        if is_box:
            return self.box(config)
        return self.click(0) if plan.first_clicks is None else self.first_clicks(plan.first_clicks)

    def box(self, config: PromptsConfig) -> Points:
        """The frame's first prompt as a box, [O, 2, 2]."""
        noise, bound = config.box_noise, config.box_noise_bound_px
        return sample_box(self.ground_truth, self.labeled, noise, bound, self.positions[0])

    def first_clicks(self, clicks: FirstClicks) -> Points:
        """The frame's first prompt as clicks, [O, P, 2]; see `sample_first_clicks`."""
        return sample_first_clicks(self.ground_truth, self.labeled, clicks, self.positions[..., 0], self.ignored)

    def click(self, number: int, predicted: Tensor | None = None) -> Points:
        """Prompt `number` of the frame, counted from 0, as a click, [O, 1, 2]; see `sample_click`."""
        return sample_click(self.ground_truth, predicted, self.labeled, self.positions[number, :, 0], self.ignored)


@torch.no_grad()
def sample_first_clicks(
    ground_truth: Tensor, labeled: Tensor, clicks: FirstClicks, position: Tensor, ignored: Tensor | None = None
) -> Points:
    """Clicks without a prediction, [O, P, 2]: positive ones in the mask, then negative ones on the background.

    ground_truth: bool [O, H, W]; labeled: bool [O]. Each falls on a pixel drawn uniformly, so two may fall on the same
    one; position: [P, O], between 0 and 1 (excluded), says on which. An absent or unlabeled object gets padding, and so
    does a negative click where there is no background. ignored: pixels outside the ground truth that are never clicked
    on. Waits for the device only if the center is asked for.
    """
    background = ~ground_truth if ignored is None else ~(ground_truth | ignored)
    usable = ground_truth.flatten(1).any(1) & labeled
    coords, labels = [], []
    for number in range(clicks.count):
        is_positive = number < clicks.positive
        if number == 0 and clicks.center:
            row, column = _centers(ground_truth)
            found = usable
        else:
            row, column, found = _pixel_at(ground_truth if is_positive else background, position[number][:, None])
        label = LABEL_POSITIVE if is_positive else LABEL_NEGATIVE
        coords.append(torch.stack([column, row], -1).to(torch.float32))
        labels.append(torch.where(found & usable, label, LABEL_PADDING).to(torch.int32))
    return Points(torch.stack(coords, 1), torch.stack(labels, 1))


def _centers(ground_truth: Tensor) -> tuple[Tensor, Tensor]:
    """(row, column), each [O], of each mask's pixel farthest from its border; the first in reading order in a tie."""
    deepest = [int(depth(mask).argmax()) for mask in ground_truth.cpu().numpy()]
    flat = torch.tensor(deepest, device=ground_truth.device)
    width = ground_truth.shape[2]
    return flat // width, flat % width


@torch.no_grad()
def sample_click(
    ground_truth: Tensor,
    predicted: Tensor | None,
    labeled: Tensor,
    position: Tensor,
    ignored: Tensor | None = None,
) -> Points:
    """One click per object, drawn uniformly from where the prediction is wrong, [O, 1, 2].

    ground_truth, predicted: bool [O, H, W]; predicted None counts as empty, so the click falls into the ground-truth
    mask. labeled: bool [O]. A missed pixel makes a positive click, a wrongly predicted one a negative click. When
    nothing is wrong, a visible object gets a negative click on the background, and any other object padding.
    position: [O], between 0 and 1 (excluded): which pixel of the region, in reading order. ignored: pixels outside the
    ground truth that are never clicked on. Never waits for the device.
    """
    errors = ground_truth if predicted is None else ground_truth ^ predicted
    background = ~ground_truth
    if ignored is not None:
        errors, background = errors & ~ignored, background & ~ignored
    visible = ground_truth.flatten(1).any(1)
    nothing_wrong = ~errors.flatten(1).any(1)
    region = torch.where((nothing_wrong & visible)[:, None, None], background, errors)
    row, column, found = _pixel_at(region, position[:, None])
    positive = ground_truth[torch.arange(len(ground_truth), device=ground_truth.device), row, column]
    labels = torch.where(found & labeled, positive.to(torch.int32), LABEL_PADDING)
    coords = torch.stack([column, row], -1).to(torch.float32)
    return Points(coords[:, None], labels[:, None].to(torch.int32))


def _pixel_at(region: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(row, column, found), each [O]: the pixel at a position, [O, 1], of each region, bool [O, H, W].

    Every pixel is as likely as the others if the position is uniform. found is False if the region is empty. Counts
    per row and then within one row: no map of random numbers is made.
    """
    per_row = region.sum(2, dtype=torch.int64)  # [O, H]
    up_to_row = per_row.cumsum(1)
    total = up_to_row[:, -1:]
    rank = torch.minimum((position * total).long(), (total - 1).clamp(min=0))  # from 0, in reading order
    row = (up_to_row <= rank).sum(1, keepdim=True).clamp(max=region.shape[1] - 1)
    rank_in_row = rank - (up_to_row - per_row).gather(1, row)
    pixels = region[torch.arange(len(region), device=region.device), row[:, 0]]  # [O, W]
    column = (pixels.cumsum(1) <= rank_in_row).sum(1).clamp(max=region.shape[2] - 1)
    return row[:, 0], column, total[:, 0] > 0


@torch.no_grad()
def sample_box(ground_truth: Tensor, labeled: Tensor, noise: float, noise_bound_px: float, position: Tensor) -> Points:
    """The two corners of each object's box, shifted at random, [O, 2, 2].

    ground_truth: bool [O, H, W]; labeled: bool [O]. Every side moves by up to `noise` of the box's width or height, at
    most `noise_bound_px` pixels, and stays inside the image; position: [O, 4], between 0 and 1, says how far, for left,
    top, right and bottom. An absent or unlabeled object gets padding.
    """
    height, width = ground_truth.shape[1:]
    left, right = _extent(ground_truth.any(1))
    top, bottom = _extent(ground_truth.any(2))
    box = torch.stack([left, top, right, bottom], -1).to(torch.float32)  # [O, 4]
    size = torch.stack([right - left, bottom - top], -1).to(torch.float32).repeat(1, 2)
    shift = (2 * position.to(box.dtype) - 1) * (size * noise).clamp(max=noise_bound_px)
    limit = torch.tensor([width - 1, height - 1], device=box.device, dtype=box.dtype).repeat(2)
    coords = torch.minimum((box + shift).clamp(min=0), limit).view(-1, 2, 2)
    corners = torch.tensor([LABEL_TOP_LEFT, LABEL_BOTTOM_RIGHT], device=box.device, dtype=torch.int32)
    usable = ground_truth.flatten(1).any(1) & labeled
    return Points(coords, torch.where(usable[:, None], corners, LABEL_PADDING).to(torch.int32))


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and last True of each row of bool [O, L]; (0, L - 1) for a row without any."""
    length = occupied.shape[1]
    as_int = occupied.to(torch.uint8)
    return as_int.argmax(1), length - 1 - as_int.flip(1).argmax(1)
