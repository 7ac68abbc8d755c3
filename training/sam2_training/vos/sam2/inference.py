"""Inference with sam2 on one video, frame by frame, with the results of stock SAM2VideoPredictor.

Follows the predictor that `build_sam2_video_predictor` makes by default, step by step: what goes into the memory of a
conditioning frame and of a tracked one, in which precision, and with which settings of the network. Filling small holes
needs sam2's CUDA extension; without it stock skips that with a warning, and here it is always skipped.
tests/vos/evaluation/test_equals_stock.py compares with stock; relies_on.py lists what this needs of sam2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_training.vos.eval_mode import eval_mode
from sam2_training.vos.sam2.adapter import ImageFeatures, MaskPrediction, MemoryBank, MemoryEntry, SAM2Adapter
from sam2_training.vos.sam2.points import Points

MASK_LOGIT_LIMIT = 32.0
"""Logits of an earlier prediction are clamped to +-32 before they go into the decoder again, as in stock."""


@dataclass(frozen=True)
class MemoryWindow:
    """How many frames back memory attention looks, from the frame that is tracked."""

    masks: int
    pointers: int

    @classmethod
    def of(cls, model: SAM2Adapter) -> MemoryWindow:
        """The window of a network: its memory holds every r-th frame up to the last but one, and the last."""
        stride = int(model.memory_temporal_stride_for_eval)
        masks = max(1, stride + 1 + (int(model.num_maskmem) - 3) * stride)
        return cls(masks, int(model.max_obj_ptrs_in_encoder) - 1 if model.use_obj_ptrs_in_encoder else 0)


@contextmanager
def inference_settings(model: SAM2Adapter) -> Iterator[None]:
    """Puts the network into eval mode with stock's settings for inference; afterwards all is as before."""
    decoder = model.sam_mask_decoder
    settings = [
        (decoder, "dynamic_multimask_via_stability", True),
        (decoder, "dynamic_multimask_stability_delta", 0.05),
        (decoder, "dynamic_multimask_stability_thresh", 0.98),
        (model, "binarize_mask_from_pts_for_mem_enc", True),
        (model, "_dense_position", None),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
    with eval_mode(model):
        try:
            for owner, name, value in settings:
                setattr(owner, name, value)
            yield
        finally:
            for owner, name, value in before:
                setattr(owner, name, value)


class SAM2Inference:
    """Inference API for one video; use it inside `inference_settings` and under no_grad. Encodes positions once."""

    def __init__(self, model: SAM2Adapter) -> None:
        self.model = model
        self.memory_window = MemoryWindow.of(model)
        self._position: Tensor | None = None
        self._memory_position: Tensor | None = None

    def encode(self, image: Tensor) -> ImageFeatures:
        """Features of one normalized image [1, 3, S, S]."""
        if self._position is None:
            features = self.model.encode_images(image)
            self._position = features.position
            return features
        return ImageFeatures(self.model.encode_maps(image), self._position)

    def predict_prompted(
        self,
        frame_index: int,
        features: ImageFeatures,
        prompt: Points | Tensor,
        num_frames: int,
        last: MaskPrediction | None = None,
        memory: MemoryBank | None = None,
    ) -> MaskPrediction:
        """The prediction for one object's prompt on a frame.

        prompt: points in pixels of the network input, or a mask, float32 [1, 1, S, S] of 0 and 1. last: the prediction
        for the points before the newest. memory: for the correction of a frame that was tracked before; None: without
        memory of other frames.
        """
        prediction = self._predict(
            frame_index,
            features,
            1,
            num_frames,
            is_first=memory is None,
            points=None if isinstance(prompt, Tensor) else prompt,
            mask_inputs=prompt if isinstance(prompt, Tensor) else None,
            memory=memory or MemoryBank(),
            last=last,
        )
        return replace(prediction, high_res=None)

    def predict_tracked(
        self, frame_index: int, features: ImageFeatures, num_objects: int, memory: MemoryBank, num_frames: int
    ) -> MaskPrediction:
        """The prediction for objects without a prompt on this frame, from the memory of other frames."""
        return self._predict(frame_index, features, num_objects, num_frames, is_first=False, memory=memory)

    def encode_memory(self, features: ImageFeatures, prediction: MaskPrediction, is_conditioning: bool) -> MemoryEntry:
        """The memory of a frame with its final prediction, features in bfloat16.

        The mask of a conditioning frame is encoded as the user sees it: enlarged from low resolution, and binary.
        """
        if is_conditioning:
            size = (self.model.image_size, self.model.image_size)
            high_res = F.interpolate(prediction.low_res, size=size, mode="bilinear", align_corners=False)
        else:
            high_res = prediction.full_size
        maps, positions = self.model._encode_new_memory(
            current_vision_feats=features.sequences(),
            feat_sizes=features.sizes,
            pred_masks_high_res=high_res,
            object_score_logits=prediction.object_score_logits,
            is_mask_from_pts=is_conditioning,
        )
        if self._memory_position is None:
            self._memory_position = positions[-1][:1].clone()
        return self._entry(maps.to(torch.bfloat16), prediction.object_pointer)

    def join(self, entries: Sequence[MemoryEntry]) -> MemoryEntry:
        """One entry for the objects of several, in their order."""
        if len(entries) == 1:
            return entries[0]
        maps = torch.cat([entry["maskmem_features"] for entry in entries])
        return self._entry(maps, torch.cat([entry["obj_ptr"] for entry in entries]))

    def _entry(self, maps: Tensor, pointer: Tensor) -> MemoryEntry:
        assert self._memory_position is not None
        position = self._memory_position.expand(len(maps), -1, -1, -1)
        return MemoryEntry(maskmem_features=maps, maskmem_pos_enc=[position], obj_ptr=pointer)

    def _predict(
        self,
        frame_index: int,
        features: ImageFeatures,
        num_objects: int,
        num_frames: int,
        *,
        is_first: bool,
        memory: MemoryBank,
        points: Points | None = None,
        mask_inputs: Tensor | None = None,
        last: MaskPrediction | None = None,
    ) -> MaskPrediction:
        _, outputs, _, _ = self.model._track_step(
            frame_idx=frame_index,
            is_init_cond_frame=is_first,
            current_vision_feats=features.sequences(num_objects),
            current_vision_pos_embeds=[features.position],
            feat_sizes=features.sizes,
            point_inputs=None if points is None else points.as_inputs(),
            mask_inputs=mask_inputs,
            output_dict=memory.as_output_dict(),
            num_frames=num_frames,
            track_in_reverse=False,
            prev_sam_mask_logits=None if last is None else last.low_res.clamp(-MASK_LOGIT_LIMIT, MASK_LOGIT_LIMIT),
        )
        _, _, _, low_res, high_res, pointer, scores = outputs
        return MaskPrediction(low_res, scores, pointer, high_res)
