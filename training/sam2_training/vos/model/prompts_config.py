"""Configuration of simulated prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sam2_training.core.settings import setting


@dataclass(frozen=True)
class PromptsConfig:
    """How a user's prompts are simulated; names and defaults as in SAM 2's published training."""

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

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        if self.prob_to_use_pt_input > 0 and self.num_frames_to_correct < self.num_init_cond_frames:
            yield (
                f"{where}.num_frames_to_correct={self.num_frames_to_correct} must be at least "
                f"{where}.num_init_cond_frames={self.num_init_cond_frames}: conditioning frames are corrected first"
            )
