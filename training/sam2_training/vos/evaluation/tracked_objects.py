"""Objects that are tracked together: their conditioning frames, and the memory of others as far back as it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from sam2_training.vos.evaluation.prompts import Prompt
from sam2_training.vos.sam2.adapter import ImageFeatures, MaskPrediction, MemoryBank, MemoryEntry
from sam2_training.vos.sam2.inference import SAM2Inference
from sam2_training.vos.sam2.points import Points


@dataclass(frozen=True)
class ConditioningFrame:
    """A frame with a prompt: the prediction for its last prompt, and its memory."""

    prediction: MaskPrediction
    memory: MemoryEntry
    points: Points | None = None
    """All points given on it; None for a mask, and where objects were joined."""

    @classmethod
    def joined(cls, parts: Sequence[ConditioningFrame], inference: SAM2Inference) -> ConditioningFrame:
        """One for the objects of several, in their order."""
        if len(parts) == 1:
            return parts[0]
        predictions = [part.prediction for part in parts]
        prediction = MaskPrediction(
            low_res=torch.cat([one.low_res for one in predictions]),
            object_score_logits=torch.cat([one.object_score_logits for one in predictions]),
            object_pointer=torch.cat([one.object_pointer for one in predictions]),
        )
        return cls(prediction, inference.join([part.memory for part in parts]))


@dataclass
class TrackedObjects:
    """O objects with prompts on the same frames, tracked as a batch."""

    object_ids: tuple[int, ...]
    prompts: list[list[Prompt]]
    """For each object its prompts, each on another frame."""
    conditioning: dict[int, ConditioningFrame] = field(default_factory=dict)
    """By frame; filled when the track begins."""
    recent: dict[int, MemoryEntry] = field(default_factory=dict)
    """The memory of tracked frames, as far back as memory attention looks."""
    last: MaskPrediction | None = None
    """The prediction for the frame before."""

    @property
    def prompted_frames(self) -> list[int]:
        """The frames with a prompt from the start, ascending."""
        return sorted(prompt.frame_index for prompt in self.prompts[0])

    @property
    def start(self) -> int:
        """The first frame with a prompt."""
        return self.prompted_frames[0]

    def prompts_on(self, frame_index: int) -> list[Prompt]:
        """Each object's prompt on a frame, in the objects' order."""
        return [next(prompt for prompt in own if prompt.frame_index == frame_index) for own in self.prompts]

    @property
    def memory(self) -> MemoryBank:
        """The memory of conditioning and tracked frames."""
        return MemoryBank({t: frame.memory for t, frame in self.conditioning.items()}, self.recent)

    def advance(
        self, frame_index: int, features: ImageFeatures, inference: SAM2Inference, num_frames: int
    ) -> MaskPrediction:
        """The prediction for the next frame. Stores its memory, and drops memory that no later frame can use."""
        self._forget(frame_index, inference)
        conditioning = self.conditioning.get(frame_index)
        if conditioning is not None:
            prediction = conditioning.prediction
        else:
            prediction = inference.predict_tracked(frame_index, features, len(self.object_ids), self.memory, num_frames)
            if frame_index + 1 < num_frames:  # no later frame uses the memory of the last one
                self.recent[frame_index] = inference.encode_memory(features, prediction, is_conditioning=False)
        self.last = replace(prediction, high_res=None)
        return self.last

    def snapshot(self) -> TrackedObjects:
        """The track as it is now; it shares only tensors, which are never changed in place."""
        return replace(self, conditioning=dict(self.conditioning), recent=dict(self.recent))

    def rewind(self) -> None:
        """Drops everything but the conditioning frames, for another pass."""
        self.recent, self.last = {}, None

    def _forget(self, frame_index: int, inference: SAM2Inference) -> None:
        """Drops what memory attention cannot reach from `frame_index` or any later frame."""
        window = inference.memory_window
        for t in list(self.recent):
            if t < frame_index - max(window.masks, window.pointers):
                del self.recent[t]
            elif t < frame_index - window.masks:
                self.recent[t] = MemoryEntry(obj_ptr=self.recent[t]["obj_ptr"])
