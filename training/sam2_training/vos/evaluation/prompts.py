"""Prompts for evaluation: what they hold, and how they are made from ground-truth masks.

Everything here is deterministic. A click goes where SAM 2's own evaluation puts it: into the pixel that is farthest
from the border of what is wrong, missed or wrongly predicted, whichever reaches deeper (Sofiiuk et al., "Reviving
Iterative Training with Mask Guidance for Interactive Segmentation", 2022, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.vos.depth import depth
from sam2_training.vos.evaluation.prompt_spec import PromptSpec

Mask = npt.NDArray[np.bool_]
"""[H, W]"""


@dataclass(frozen=True)
class Click:
    """One click."""

    x: float
    """Pixels of the video, from the left."""
    y: float
    positive: bool
    """Whether the pixel belongs to the object."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt for one object on one frame: a mask, or a box and clicks."""

    object_id: int
    frame_index: int
    mask: Mask | None = None
    box: tuple[float, float, float, float] | None = None
    """left, top, right, bottom, in pixels of the video."""
    clicks: tuple[Click, ...] = ()
    """Given all at once, after the box if there is one."""

    def __post_init__(self) -> None:
        """Raises ValueError unless it is a mask alone, or at least a box or a click."""
        has_points = self.box is not None or bool(self.clicks)
        if (self.mask is not None) == has_points:
            raise ValueError(f"prompt of object {self.object_id}: give a mask, or else a box, clicks or both")


def prompt_from_ground_truth(spec: PromptSpec, object_id: int, frame_index: int, ground_truth: Mask) -> Prompt:
    """The first prompt of an object, from its ground-truth mask. Raises DataError if the mask is empty."""
    if not ground_truth.any():
        raise DataError(
            f"object {object_id} cannot be prompted on frame {frame_index}: its ground-truth mask there is empty\n"
            "The masks may have changed since the dataset was indexed; start again."
        )
    if spec.kind == "mask":
        return Prompt(object_id, frame_index, mask=ground_truth)
    if spec.kind == "box":
        return Prompt(object_id, frame_index, box=tight_box(ground_truth))
    click = corrective_click(ground_truth, np.zeros_like(ground_truth))
    assert click is not None  # something is missed: everything
    return Prompt(object_id, frame_index, clicks=(click,))


def tight_box(mask: Mask) -> tuple[float, float, float, float]:
    """left, top, right, bottom: first and last column and row with a pixel of a mask that is not empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])


def corrective_click(ground_truth: Mask, predicted: Mask) -> Click | None:
    """The click that a user would make next; None where nothing is wrong.

    In a tie a negative click, and the first such pixel in reading order, as in SAM 2's evaluation.
    """
    missed, wrong = depth(ground_truth & ~predicted), depth(predicted & ~ground_truth)
    positive = bool(missed.max() > wrong.max())
    deeper = missed if positive else wrong
    if deeper.max() <= 0:
        return None
    y, x = np.unravel_index(int(deeper.argmax()), deeper.shape)
    return Click(float(x), float(y), positive)
