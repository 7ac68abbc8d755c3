"""Objects that are tracked together: their prompted frames, and the memory of others as far back as it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from sam2_training.vos.evaluation.prompts import Prompt
from sam2_training.vos.model.prompts import Points
from sam2_training.vos.sam2.adapter import ImageFeatures
from sam2_training.vos.sam2.inference import Answer, Entry, Sam2Inference


@dataclass(frozen=True)
class Conditioned:
    """A prompted frame: the answer to its last prompt, and what is remembered of it."""

    answer: Answer
    entry: Entry
    points: Points | None = None
    """All points given on it; None for a mask, and where objects were joined."""

    @classmethod
    def joined(cls, parts: Sequence[Conditioned], inference: Sam2Inference) -> Conditioned:
        """One for the objects of several, in their order."""
        if len(parts) == 1:
            return parts[0]
        answers = [part.answer for part in parts]
        answer = Answer(
            low_res=torch.cat([one.low_res for one in answers]),
            object_score_logits=torch.cat([one.object_score_logits for one in answers]),
            pointer=torch.cat([one.pointer for one in answers]),
        )
        return cls(answer, inference.join([part.entry for part in parts]))


@dataclass
class TrackedObjects:
    """O objects with prompts on the same frames, tracked as a batch."""

    object_ids: tuple[int, ...]
    prompts: list[list[Prompt]]
    """For each object its prompts, each on another frame."""
    conditioning: dict[int, Conditioned] = field(default_factory=dict)
    """By frame; filled when the track begins."""
    recent: dict[int, Entry] = field(default_factory=dict)
    """What is remembered of tracked frames, as far back as memory reaches."""
    last: Answer | None = None
    """The answer on the frame before."""

    @property
    def prompted_frames(self) -> list[int]:
        """The frames with a prompt from the start, ascending."""
        return sorted(prompt.frame_index for prompt in self.prompts[0])

    @property
    def start(self) -> int:
        return self.prompted_frames[0]

    def prompts_on(self, frame_index: int) -> list[Prompt]:
        """Each object's prompt on a frame, in the objects' order."""
        return [next(prompt for prompt in own if prompt.frame_index == frame_index) for own in self.prompts]

    @property
    def memory(self) -> dict[str, dict[int, Entry]]:
        """sam2's dictionaries: prompted and tracked frames."""
        return {
            "cond_frame_outputs": {t: frame.entry for t, frame in self.conditioning.items()},
            "non_cond_frame_outputs": self.recent,
        }

    def advance(self, frame_index: int, features: ImageFeatures, inference: Sam2Inference, num_frames: int) -> Answer:
        """The answer on the next frame; remembers it, and forgets what neither it nor a later frame can reach."""
        self._forget(frame_index, inference)
        prompted = self.conditioning.get(frame_index)
        if prompted is not None:
            answer = prompted.answer
        else:
            answer = inference.tracked(frame_index, features, len(self.object_ids), self.memory, num_frames)
            if frame_index + 1 < num_frames:  # nobody looks back at the last one
                self.recent[frame_index] = inference.remember(features, answer)
        self.last = replace(answer, high_res=None)
        return self.last

    def snapshot(self) -> TrackedObjects:
        """The track as it is now; it shares tensors, which nobody changes, and nothing else."""
        return replace(self, conditioning=dict(self.conditioning), recent=dict(self.recent))

    def rewind(self) -> None:
        """Forgets everything but the prompted frames, for another pass."""
        self.recent, self.last = {}, None

    def _forget(self, frame_index: int, inference: Sam2Inference) -> None:
        """Drops what memory attention cannot reach from `frame_index` or any later frame."""
        reach = inference.reach
        for t in list(self.recent):
            if t < frame_index - max(reach.masks, reach.pointers):
                del self.recent[t]
            elif t < frame_index - reach.masks:
                self.recent[t] = {"obj_ptr": self.recent[t]["obj_ptr"]}
