"""A typed wrapper around SAM2Base: the calls into sam2's private methods that training and inference share.

Follows stock SAM2Base step by step, so results equal stock's. Leaves out what is not needed: position encodings that
nobody reads, copies of a frame's features for each object, and full-size logits of candidate masks that are not chosen.
relies_on.py lists what this needs of sam2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from torch import Tensor

from sam2_training.vos.batch import PredictionStep
from sam2_training.vos.sam2.dropout import use_bit_dropout
from sam2_training.vos.sam2.neck import encode_merged, is_mergeable
from sam2_training.vos.sam2.points import Points
from sam2_training.vos.sam2.shared_attention import share_first_self_attention
from sam2_training.vos.sam2.windows import restore_window_padding, skip_window_padding

DecoderOutputs = tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor, Tensor, Tensor]
"""As `_forward_sam_heads` returns them: candidates, the same at full size, predicted IoUs, the chosen candidate, the
same at full size, object pointer, logits of the object's presence."""


@dataclass
class ImageFeatures:
    """The image encoder's output for some images."""

    maps: list[Tensor]
    """Feature maps [images, C, H, W], finest first; the last is the input of memory attention and mask decoder."""
    position: Tensor
    """Position encoding of the last map, [H * W, 1, C]."""

    def select(self, image_index: Tensor | slice) -> ImageFeatures:
        """The features of some of the images: a slice makes views, an index tensor copies."""
        if isinstance(image_index, slice):
            return ImageFeatures([level[image_index] for level in self.maps], self.position)
        return ImageFeatures([level.index_select(0, image_index) for level in self.maps], self.position)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(H, W) of each map."""
        return [(level.shape[-2], level.shape[-1]) for level in self.maps]

    def sequences(self, num_objects: int | None = None) -> list[Tensor]:
        """The maps as sam2 passes them on, [H * W, images, C]; the last one expanded to `num_objects`, if given."""
        flat = [level.flatten(2).permute(2, 0, 1) for level in self.maps]
        if num_objects is not None and flat[-1].shape[1] != num_objects:
            flat[-1] = flat[-1].expand(-1, num_objects, -1)
        return flat


class MemoryEntry(TypedDict, total=False):
    """The memory of one frame under sam2's keys; the maps are missing where only the pointer is still needed."""

    maskmem_features: Tensor
    """[O, C, h, w]"""
    maskmem_pos_enc: list[Tensor]
    """One position encoding of the same shape."""
    obj_ptr: Tensor
    """[O, C]"""


@dataclass
class MemoryBank:
    """The memory of the frames processed so far, by frame index."""

    conditioning: dict[int, MemoryEntry] = field(default_factory=dict)
    """Conditioning frames: those with a prompt."""
    tracked: dict[int, MemoryEntry] = field(default_factory=dict)
    """All other frames."""

    def as_output_dict(self) -> dict[str, dict[int, MemoryEntry]]:
        """The memory as sam2's `output_dict`."""
        return {"cond_frame_outputs": self.conditioning, "non_cond_frame_outputs": self.tracked}


@dataclass(frozen=True)
class MaskPrediction:
    """The mask decoder's prediction for O objects on one frame: of its candidate masks, the chosen one."""

    low_res: Tensor
    """Mask logits, float32 [O, 1, S/4, S/4]."""
    object_score_logits: Tensor
    """Logit of "the object is in this frame", [O, 1]."""
    object_pointer: Tensor
    """[O, C]"""
    high_res: Tensor | None = None
    """Mask logits at full size, [O, 1, S, S]; None once no memory is made from them any more."""

    @property
    def full_size(self) -> Tensor:
        """`high_res`. Raises ValueError if it has been dropped."""
        if self.high_res is None:
            raise ValueError("the full-size logits of this prediction have been dropped")
        return self.high_res


@dataclass
class DecoderInput:
    """The decoder's input that stays the same over its passes on one frame."""

    pixels: Tensor
    """Image features with memory, [O, C, H/16, W/16]."""
    high_res_features: list[Tensor] | None


class SAM2Adapter(SAM2Base):  # type: ignore[misc]
    """SAM2Base with typed methods; parameter names and shapes are SAM2Base's own."""

    def __init__(self, parts: dict[str, object]) -> None:
        """parts: the arguments of SAM2Base, modules built."""
        super().__init__(**parts)
        self._merge_fine_levels = self.use_high_res_features_in_sam and is_mergeable(self.image_encoder)
        skip_window_padding(self.image_encoder.trunk)
        use_bit_dropout(self.memory_attention)
        share_first_self_attention(self.memory_attention)
        self._dense_position: Tensor | None = None
        if self.pred_obj_scores and not self.use_obj_ptrs_in_encoder:
            # SAM2Base adds it to pointers that nothing reads then, and has none.
            self.register_buffer("no_obj_ptr", torch.zeros(1, self.hidden_dim), persistent=False)

    def use_stock_image_encoder(self) -> None:
        """Puts stock's own layers back into the image encoder, in place: its results then equal stock's bit for bit."""
        self._merge_fine_levels = False
        restore_window_padding(self.image_encoder.trunk)

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Features of normalized images [N, 3, S, S]; no graph is kept of an encoder that is frozen."""
        maps = self.encode_maps(images)
        with torch.no_grad():
            position = self.image_encoder.neck.position_encoding(maps[-1][:1]).flatten(2).permute(2, 0, 1)
            self._dense_position = self.sam_prompt_encoder.get_dense_pe()
        return ImageFeatures(maps, position)

    def encode_maps(self, images: Tensor) -> list[Tensor]:
        """`ImageFeatures.maps` alone, for images whose position encodings are known already."""
        if self._merge_fine_levels:
            return encode_merged(self.image_encoder, self.sam_mask_decoder, images)
        return list(self.forward_image(images)["backbone_fpn"][-self.num_feature_levels :])

    def decode_first(
        self,
        frame_index: int,
        is_conditioning: bool,
        features: ImageFeatures,
        num_objects: int,
        points: Points | None,
        masks: Tensor | None,
        memory: MemoryBank,
        num_frames: int,
    ) -> tuple[MaskPrediction, PredictionStep, DecoderInput]:
        """Decodes a frame with its first prompt, or without any.

        features: of one image for all objects, or of `num_objects` images. masks: bool [O, H, W].
        """
        _, outputs, high_res_features, pixels = self._track_step(
            frame_idx=frame_index,
            is_init_cond_frame=is_conditioning,
            current_vision_feats=features.sequences(num_objects),
            current_vision_pos_embeds=[features.position],
            feat_sizes=features.sizes,
            point_inputs=None if points is None else points.as_inputs(),
            mask_inputs=None if masks is None else masks[:, None],
            output_dict=memory.as_output_dict(),
            num_frames=num_frames,
            track_in_reverse=False,
            prev_sam_mask_logits=None,
        )
        return *self._unpacked(outputs), DecoderInput(pixels, high_res_features)

    def decode_next(
        self, given: DecoderInput, is_conditioning: bool, points: Points, last: MaskPrediction
    ) -> tuple[MaskPrediction, PredictionStep]:
        """Decodes the same frame again after one more click. points: all so far; last: the prediction before it."""
        point_inputs = points.as_inputs()
        outputs = self._forward_sam_heads(
            backbone_features=given.pixels,
            point_inputs=point_inputs,
            mask_inputs=last.low_res,
            high_res_features=given.high_res_features,
            multimask_output=self._use_multimask(is_conditioning, point_inputs),
        )
        return self._unpacked(outputs)

    def encode_memory(self, features: ImageFeatures, prediction: MaskPrediction, has_points: bool) -> MemoryEntry:
        """The memory of a frame with its final prediction."""
        entry = MemoryEntry(obj_ptr=prediction.object_pointer)
        self._encode_memory_in_output(
            current_vision_feats=features.sequences(),
            feat_sizes=features.sizes,
            point_inputs={} if has_points else None,
            run_mem_encoder=True,
            high_res_masks=prediction.full_size,
            object_score_logits=prediction.object_score_logits,
            current_out=entry,
        )
        return entry

    def _forward_sam_heads(
        self,
        backbone_features: Tensor,
        point_inputs: dict[str, Tensor] | None = None,
        mask_inputs: Tensor | None = None,
        high_res_features: list[Tensor] | None = None,
        multimask_output: bool = False,
    ) -> DecoderOutputs:
        """Stock's results in stock's order, but None for the full-size logits of all candidates."""
        num_objects, device = backbone_features.shape[0], backbone_features.device
        if point_inputs is None:
            coords = torch.zeros(num_objects, 1, 2, device=device)
            labels = torch.full((num_objects, 1), -1, dtype=torch.int32, device=device)
        else:
            coords, labels = point_inputs["point_coords"], point_inputs["point_labels"]
        sparse, dense = self.sam_prompt_encoder(
            points=(coords, labels), boxes=None, masks=self._mask_prompt(mask_inputs)
        )
        if self._dense_position is None:
            raise RuntimeError("encode_images must be called before the mask decoder")
        low_res, ious, tokens, scores = self.sam_mask_decoder(
            image_embeddings=backbone_features,
            image_pe=self._dense_position,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output,
            repeat_image=False,
            high_res_features=high_res_features,
        )
        is_present = scores > 0
        if self.pred_obj_scores:
            low_res = torch.where(is_present[:, None, None], low_res, NO_OBJ_SCORE)
        low_res = low_res.float()
        chosen, token = low_res, tokens[:, 0]
        if multimask_output:
            rows = torch.arange(num_objects, device=device)
            best = ious.argmax(-1)
            chosen = low_res[rows, best].unsqueeze(1)
            token = tokens[rows, best] if tokens.shape[1] > 1 else token
        size = (self.image_size, self.image_size)
        high_res = F.interpolate(chosen, size=size, mode="bilinear", align_corners=False)
        return low_res, None, ious, chosen, high_res, self._pointer(token, scores, is_present), scores

    def _mask_prompt(self, mask_inputs: Tensor | None) -> Tensor | None:
        """A mask prompt, resized to what the prompt encoder takes."""
        size = self.sam_prompt_encoder.mask_input_size
        if mask_inputs is None or tuple(mask_inputs.shape[-2:]) == tuple(size):
            return mask_inputs
        return F.interpolate(mask_inputs.float(), size=size, mode="bilinear", align_corners=False, antialias=True)

    def _pointer(self, token: Tensor, scores: Tensor, is_present: Tensor) -> Tensor:
        """The object pointer of a decoder token: replaced by a learned one where the object is predicted absent."""
        pointer: Tensor = self.obj_ptr_proj(token)
        if not self.pred_obj_scores:
            return pointer
        presence = scores.sigmoid() if self.soft_no_obj_ptr else is_present.float()
        if self.fixed_no_obj_ptr:
            pointer = presence * pointer
        no_object: Tensor = self.no_obj_ptr
        return pointer + (1 - presence) * no_object

    def _unpacked(self, outputs: DecoderOutputs) -> tuple[MaskPrediction, PredictionStep]:
        """The chosen mask, and the candidates as the loss takes them."""
        candidates, full_size_candidates, ious, low_res, high_res, pointer, scores = outputs
        return (
            MaskPrediction(low_res, scores, pointer, high_res),
            PredictionStep(candidates, ious, scores if self.pred_obj_scores else None, full_size_candidates),
        )
