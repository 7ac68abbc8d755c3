"""The border to the package sam2: the only place that calls its private methods, and the only one where types are Any.

Everything here follows stock SAM2Base step by step, so results equal stock's; what differs is what is not computed:
position encodings that nobody reads, copies of a frame's features for each object, and full-size logits of candidate
masks that are not chosen. tests/vos/model/test_sam2_border.py checks the signatures that this relies on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from torch import Tensor

from sam2_training.vos.model.prompts import Points
from sam2_training.vos.sam2.dropout import use_bit_dropout
from sam2_training.vos.sam2.neck import encode_merged, is_mergeable
from sam2_training.vos.sam2.shared_attention import share_first_self_attention
from sam2_training.vos.sam2.windows import skip_window_padding


@dataclass
class ImageFeatures:
    """What the image encoder says of some images."""

    maps: list[Tensor]
    """Feature maps [images, C, H, W], finest first; the last is what memory attention and mask decoder work on."""
    position: Tensor
    """Position encoding of the last map, [H * W, 1, C]."""

    def select(self, image_index: Tensor | slice) -> ImageFeatures:
        """The features of some of the images: a slice makes views, an index tensor copies."""
        if isinstance(image_index, slice):
            return ImageFeatures([level[image_index] for level in self.maps], self.position)
        return ImageFeatures([level.index_select(0, image_index) for level in self.maps], self.position)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [(level.shape[-2], level.shape[-1]) for level in self.maps]

    def sequences(self, num_objects: int | None = None) -> list[Tensor]:
        """The maps as sam2 passes them on, [H * W, images, C]; the last one expanded to `num_objects`, if given."""
        flat = [level.flatten(2).permute(2, 0, 1) for level in self.maps]
        if num_objects is not None and flat[-1].shape[1] != num_objects:
            flat[-1] = flat[-1].expand(-1, num_objects, -1)
        return flat


@dataclass
class MemoryBank:
    """What has been remembered of the clip's frames so far; sam2's own dictionaries inside."""

    entries: dict[str, dict[int, Any]] = field(
        default_factory=lambda: {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    )

    def remember(self, frame_index: int, entry: dict[str, Any], conditioning: bool) -> None:
        self.entries["cond_frame_outputs" if conditioning else "non_cond_frame_outputs"][frame_index] = entry


@dataclass
class Decoded:
    """One answer of the mask decoder."""

    candidates: Tensor
    """Logits of the M candidate masks, [O, M, H/4, W/4]."""
    high_res_candidates: Tensor | None
    """The same at full size, [O, M, H, W], where they were an input (mask prompts); else None."""
    ious: Tensor
    """[O, M]"""
    low_res: Tensor
    """Logits of the chosen candidate, [O, 1, H/4, W/4]."""
    high_res: Tensor
    """Logits of the chosen candidate, [O, 1, H, W]."""
    object_pointer: Tensor
    """[O, C]"""
    object_score_logits: Tensor
    """[O, 1]"""


@dataclass
class DecoderInput:
    """What stays the same over the decoder's passes on one frame."""

    pixels: Tensor
    """Image features with memory, [O, C, H/16, W/16]."""
    high_res_features: list[Tensor] | None


class Sam2Border(SAM2Base):  # type: ignore[misc]
    """SAM2Base with typed doors; parameter names and shapes are SAM2Base's own."""

    def __init__(self, parts: dict[str, Any]) -> None:
        super().__init__(**parts)
        self._merge_fine_levels = self.use_high_res_features_in_sam and is_mergeable(self.image_encoder)
        skip_window_padding(self.image_encoder.trunk)
        use_bit_dropout(self.memory_attention)
        share_first_self_attention(self.memory_attention)
        self._dense_position: Tensor | None = None

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Features of normalized images [N, 3, S, S]; no graph is kept of an encoder that is frozen."""
        if self._merge_fine_levels:
            maps = encode_merged(self.image_encoder, self.sam_mask_decoder, images)
        else:
            maps = list(self.forward_image(images)["backbone_fpn"][-self.num_feature_levels :])
        with torch.no_grad():
            position = self.image_encoder.neck.position_encoding(maps[-1][:1]).flatten(2).permute(2, 0, 1)
            self._dense_position = self.sam_prompt_encoder.get_dense_pe()
        return ImageFeatures(maps, position)

    def first_answer(
        self,
        frame_index: int,
        is_conditioning: bool,
        features: ImageFeatures,
        num_objects: int,
        points: Points | None,
        masks: Tensor | None,
        memory: MemoryBank,
        num_frames: int,
    ) -> tuple[Decoded, DecoderInput]:
        """The decoder's answer to a frame's first prompt, or to none.

        features: of one image for all objects, or of `num_objects` images. masks: bool [O, H, W].
        """
        _, outputs, high_res_features, pixels = self._track_step(
            frame_idx=frame_index,
            is_init_cond_frame=is_conditioning,
            current_vision_feats=features.sequences(num_objects),
            current_vision_pos_embeds=[features.position],
            feat_sizes=features.sizes,
            point_inputs=_as_dict(points),
            mask_inputs=None if masks is None else masks[:, None],
            output_dict=memory.entries,
            num_frames=num_frames,
            track_in_reverse=False,
            prev_sam_mask_logits=None,
        )
        return Decoded(*outputs), DecoderInput(pixels, high_res_features)

    def next_answer(self, given: DecoderInput, is_conditioning: bool, points: Points, last: Tensor) -> Decoded:
        """The decoder's answer after one more click. last: low-res logits of the answer before, [O, 1, H/4, W/4]."""
        point_inputs = _as_dict(points)
        outputs = self._forward_sam_heads(
            backbone_features=given.pixels,
            point_inputs=point_inputs,
            mask_inputs=last,
            high_res_features=given.high_res_features,
            multimask_output=self._use_multimask(is_conditioning, point_inputs),
        )
        return Decoded(*outputs)

    def remember(
        self,
        memory: MemoryBank,
        frame_index: int,
        as_conditioning: bool,
        features: ImageFeatures,
        answer: Decoded,
        has_points: bool,
    ) -> None:
        """Encodes a frame's final answer and puts it into the memory bank."""
        entry: dict[str, Any] = {"obj_ptr": answer.object_pointer}
        self._encode_memory_in_output(
            current_vision_feats=features.sequences(),
            feat_sizes=features.sizes,
            point_inputs={} if has_points else None,
            run_mem_encoder=True,
            high_res_masks=answer.high_res,
            object_score_logits=answer.object_score_logits,
            current_out=entry,
        )
        memory.remember(frame_index, entry, as_conditioning)

    def _forward_sam_heads(
        self,
        backbone_features: Tensor,
        point_inputs: dict[str, Tensor] | None = None,
        mask_inputs: Tensor | None = None,
        high_res_features: list[Tensor] | None = None,
        multimask_output: bool = False,
    ) -> tuple[Any, ...]:
        """Stock's seven results in stock's order, but None for the full-size logits of all candidates."""
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
        appears = scores > 0
        if self.pred_obj_scores:
            low_res = torch.where(appears[:, None, None], low_res, NO_OBJ_SCORE)
        low_res = low_res.float()
        chosen, token = low_res, tokens[:, 0]
        if multimask_output:
            rows = torch.arange(num_objects, device=device)
            best = ious.argmax(-1)
            chosen = low_res[rows, best].unsqueeze(1)
            token = tokens[rows, best] if tokens.shape[1] > 1 else token
        size = (self.image_size, self.image_size)
        high_res = F.interpolate(chosen, size=size, mode="bilinear", align_corners=False)
        return low_res, None, ious, chosen, high_res, self._pointer(token, scores, appears), scores

    def _mask_prompt(self, mask_inputs: Tensor | None) -> Tensor | None:
        """A mask prompt at the size that the prompt encoder takes."""
        size = self.sam_prompt_encoder.mask_input_size
        if mask_inputs is None or tuple(mask_inputs.shape[-2:]) == tuple(size):
            return mask_inputs
        return F.interpolate(mask_inputs.float(), size=size, mode="bilinear", align_corners=False, antialias=True)

    def _pointer(self, token: Tensor, scores: Tensor, appears: Tensor) -> Tensor:
        """The object pointer of a decoder token: replaced by a learned one where the object is predicted absent."""
        pointer: Tensor = self.obj_ptr_proj(token)
        if not self.pred_obj_scores:
            return pointer
        presence = scores.sigmoid() if self.soft_no_obj_ptr else appears.float()
        if self.fixed_no_obj_ptr:
            pointer = presence * pointer
        no_object: Tensor = self.no_obj_ptr
        return pointer + (1 - presence) * no_object


def _as_dict(points: Points | None) -> dict[str, Tensor] | None:
    return None if points is None else {"point_coords": points.coords, "point_labels": points.labels}
