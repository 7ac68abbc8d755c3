"""The border to the package sam2 at inference: the only file of this package that calls sam2's private methods.

Follows stock SAM2VideoPredictor, as `build_sam2_video_predictor` makes it by default, step by step: what is remembered
of a prompted and of a tracked frame, in which precision, and with which settings of the network. Filling of small holes
needs sam2's CUDA extension; without it stock leaves it out with a warning, and here it is always left out.
tests/vos/evaluation/test_equals_stock.py compares with stock itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_training.vos.model.prompts import Points
from sam2_training.vos.sam2.adapter import ImageFeatures, Sam2Border
from sam2_training.vos.sam2.neck import encode_merged

MASK_LOGIT_LIMIT = 32.0
"""Logits of an earlier answer are clamped to +-32 before the decoder sees them again, as in stock."""

Entry = dict[str, Any]
"""What is remembered of one frame, under sam2's names: "maskmem_features" [O, C, h, w] bfloat16 and "maskmem_pos_enc"
(both missing where only the pointer can still be reached), "obj_ptr" [O, C]."""


@dataclass(frozen=True)
class Answer:
    """The network's answer for O objects on one frame."""

    low_res: Tensor
    """Mask logits, float32 [O, 1, S/4, S/4]."""
    object_score_logits: Tensor
    """Logit of "the object is in this frame", [O, 1]."""
    pointer: Tensor
    """[O, C]"""
    high_res: Tensor | None = None
    """Mask logits [O, 1, S, S]; None for prompted frames, whose memory is made from low_res."""


@dataclass(frozen=True)
class MemoryWindow:
    """How many frames back memory attention looks, from the frame that is tracked."""

    masks: int
    pointers: int

    @classmethod
    def of(cls, model: Sam2Border) -> MemoryWindow:
        """The reach of a network's memory rule: every r-th frame up to the last but one, and the last."""
        stride = int(model.memory_temporal_stride_for_eval)
        masks = max(1, stride + 1 + (int(model.num_maskmem) - 3) * stride)
        return cls(masks, int(model.max_obj_ptrs_in_encoder) - 1 if model.use_obj_ptrs_in_encoder else 0)


@contextmanager
def inference_settings(model: Sam2Border) -> Iterator[None]:
    """The network in evaluation mode and with stock's settings for inference; afterwards exactly as it was."""
    decoder = model.sam_mask_decoder
    settings = [
        (decoder, "dynamic_multimask_via_stability", True),
        (decoder, "dynamic_multimask_stability_delta", 0.05),
        (decoder, "dynamic_multimask_stability_thresh", 0.98),
        (model, "binarize_mask_from_pts_for_mem_enc", True),
        (model, "_dense_position", None),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        for owner, name, value in settings:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        for module, mode in modes:
            module.training = mode


class Sam2Inference:
    """Inference API for one video, inside `inference_settings` and under no_grad; positions are encoded once."""

    def __init__(self, model: Sam2Border) -> None:
        self.model = model
        self.reach = MemoryWindow.of(model)
        self._position: Tensor | None = None
        self._memory_position: Tensor | None = None

    def encode(self, image: Tensor) -> ImageFeatures:
        """Features of one normalized image [1, 3, S, S]."""
        model = self.model
        if self._position is None or not model._merge_fine_levels:
            features = model.encode_images(image)
            self._position = features.position
            return features
        return ImageFeatures(encode_merged(model.image_encoder, model.sam_mask_decoder, image), self._position)

    def prompted(
        self,
        frame_index: int,
        features: ImageFeatures,
        prompt: Points | Tensor,
        num_frames: int,
        last: Answer | None = None,
        memory: Mapping[str, Mapping[int, Entry]] | None = None,
    ) -> Answer:
        """The answer to one object's prompt on a frame.

        prompt: points in pixels of the network input, or a mask, float32 [1, 1, S, S] of 0 and 1. last: the answer to
        the points before the newest. memory: for a correction of a frame that was tracked before; None: the frame is
        looked at by itself.
        """
        points = None if isinstance(prompt, Tensor) else {"point_coords": prompt.coords, "point_labels": prompt.labels}
        return self._answer(
            frame_index,
            features,
            1,
            num_frames,
            is_first=memory is None,
            point_inputs=points,
            mask_inputs=prompt if isinstance(prompt, Tensor) else None,
            memory=memory or {},
            last=last,
        )

    def tracked(
        self,
        frame_index: int,
        features: ImageFeatures,
        num_objects: int,
        memory: Mapping[str, Mapping[int, Entry]],
        num_frames: int,
    ) -> Answer:
        """The answer for objects without a prompt on this frame, from what is remembered of others."""
        return self._answer(frame_index, features, num_objects, num_frames, is_first=False, memory=memory)

    def remember(self, features: ImageFeatures, answer: Answer) -> Entry:
        """What to remember of a frame with its final answer.

        Of a prompted frame the mask is remembered as the user sees it: enlarged from low resolution, and binary.
        """
        high_res, is_prompted = answer.high_res, answer.high_res is None
        if high_res is None:
            size = (self.model.image_size, self.model.image_size)
            high_res = F.interpolate(answer.low_res, size=size, mode="bilinear", align_corners=False)
        maps, positions = self.model._encode_new_memory(
            current_vision_feats=features.sequences(),
            feat_sizes=features.sizes,
            pred_masks_high_res=high_res,
            object_score_logits=answer.object_score_logits,
            is_mask_from_pts=is_prompted,
        )
        if self._memory_position is None:
            self._memory_position = positions[-1][:1].clone()
        return self._entry(maps.to(torch.bfloat16), answer.pointer)

    def join(self, entries: Sequence[Entry]) -> Entry:
        """One entry for the objects of several, in their order."""
        if len(entries) == 1:
            return entries[0]
        maps = torch.cat([entry["maskmem_features"] for entry in entries])
        return self._entry(maps, torch.cat([entry["obj_ptr"] for entry in entries]))

    def _entry(self, maps: Tensor, pointer: Tensor) -> Entry:
        assert self._memory_position is not None
        position = self._memory_position.expand(len(maps), -1, -1, -1)
        return {"maskmem_features": maps, "maskmem_pos_enc": [position], "obj_ptr": pointer}

    def _answer(
        self,
        frame_index: int,
        features: ImageFeatures,
        num_objects: int,
        num_frames: int,
        *,
        is_first: bool,
        memory: Mapping[str, Mapping[int, Entry]],
        point_inputs: dict[str, Tensor] | None = None,
        mask_inputs: Tensor | None = None,
        last: Answer | None = None,
    ) -> Answer:
        has_prompt = point_inputs is not None or mask_inputs is not None
        _, outputs, _, _ = self.model._track_step(
            frame_idx=frame_index,
            is_init_cond_frame=is_first,
            current_vision_feats=features.sequences(num_objects),
            current_vision_pos_embeds=[features.position],
            feat_sizes=features.sizes,
            point_inputs=point_inputs,
            mask_inputs=mask_inputs,
            output_dict=memory,
            num_frames=num_frames,
            track_in_reverse=False,
            prev_sam_mask_logits=None if last is None else last.low_res.clamp(-MASK_LOGIT_LIMIT, MASK_LOGIT_LIMIT),
        )
        _, _, _, low_res, high_res, pointer, scores = outputs
        return Answer(low_res, scores, pointer, None if has_prompt else high_res)
