"""Everything inside the package sam2 that this project relies on, beyond sam2's public functions.

Look here first when sam2 changes; tests/vos/sam2/test_relies_on.py checks the list. Names are import paths, so this
module imports nothing.
"""

from __future__ import annotations

CALLED: dict[str, tuple[str, ...]] = {
    "sam2.modeling.sam2_base.SAM2Base.forward_image": ("self", "img_batch"),
    "sam2.modeling.sam2_base.SAM2Base._track_step": (
        *("self", "frame_idx", "is_init_cond_frame", "current_vision_feats", "current_vision_pos_embeds", "feat_sizes"),
        *("point_inputs", "mask_inputs", "output_dict", "num_frames", "track_in_reverse", "prev_sam_mask_logits"),
    ),
    "sam2.modeling.sam2_base.SAM2Base._encode_memory_in_output": (
        *("self", "current_vision_feats", "feat_sizes", "point_inputs", "run_mem_encoder", "high_res_masks"),
        *("object_score_logits", "current_out"),
    ),
    "sam2.modeling.sam2_base.SAM2Base._encode_new_memory": (
        *("self", "current_vision_feats", "feat_sizes", "pred_masks_high_res", "object_score_logits"),
        "is_mask_from_pts",
    ),
    "sam2.modeling.sam2_base.SAM2Base._use_multimask": ("self", "is_init_cond_frame", "point_inputs"),
    "sam2.modeling.memory_attention.MemoryAttentionLayer._forward_sa": ("self", "tgt", "query_pos"),
    "sam2.modeling.memory_attention.MemoryAttentionLayer._forward_ca": (
        *("self", "tgt", "memory", "query_pos", "pos", "num_k_exclude_rope"),
    ),
    "sam2.modeling.sam.mask_decoder.MaskDecoder.forward": (
        *("self", "image_embeddings", "image_pe", "sparse_prompt_embeddings", "dense_prompt_embeddings"),
        *("multimask_output", "repeat_image", "high_res_features"),
    ),
    "sam2.modeling.sam.prompt_encoder.PromptEncoder.forward": ("self", "points", "boxes", "masks"),
    "sam2.modeling.sam.prompt_encoder.PromptEncoder.get_dense_pe": ("self",),
    "sam2.modeling.backbones.hieradet.do_pool": ("x", "pool", "norm"),
    "sam2.modeling.backbones.utils.window_partition": ("x", "window_size"),
    "sam2.modeling.backbones.utils.window_unpartition": ("windows", "window_size", "pad_hw", "hw"),
}
"""Functions and methods that we call, with their parameters."""

OVERRIDDEN: dict[str, tuple[str, ...]] = {
    "sam2.modeling.sam2_base.SAM2Base._forward_sam_heads": (
        *("self", "backbone_features", "point_inputs", "mask_inputs", "high_res_features", "multimask_output"),
    ),
    "sam2.modeling.memory_attention.MemoryAttention.forward": (
        *("self", "curr", "memory", "curr_pos", "memory_pos", "num_obj_ptr_tokens"),
    ),
    "sam2.modeling.backbones.hieradet.MultiScaleBlock.forward": ("self", "x"),
}
"""Methods that a subclass of ours computes in another way, with their parameters; tests compare the results."""

REPLACED: dict[str, str] = {
    "sam2.modeling.sam2_base.SAM2Base": "sam2_training.vos.sam2.adapter.SAM2Adapter",
    "sam2.modeling.backbones.hieradet.MultiScaleBlock": "sam2_training.vos.sam2.windows.UnpaddedBlock",
    "sam2.modeling.memory_attention.MemoryAttention": "sam2_training.vos.sam2.shared_attention.SharedStartAttention",
}
"""Classes of sam2 in whose place a network has a subclass of ours, with the same parameters under the same names."""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "sam2.modeling.sam2_base.SAM2Base": (
        *("image_encoder", "memory_attention", "sam_prompt_encoder", "sam_mask_decoder"),
        *("image_size", "num_feature_levels", "num_maskmem", "memory_temporal_stride_for_eval"),
        *("max_obj_ptrs_in_encoder", "use_obj_ptrs_in_encoder", "use_high_res_features_in_sam", "pred_obj_scores"),
        *("soft_no_obj_ptr", "fixed_no_obj_ptr", "no_obj_ptr", "obj_ptr_proj", "binarize_mask_from_pts_for_mem_enc"),
    ),
    "sam2.modeling.backbones.image_encoder.ImageEncoder": ("trunk", "neck", "scalp"),
    "sam2.modeling.backbones.hieradet.Hiera": ("patch_embed", "q_stride", "q_pool_blocks", "stage_ends"),
    "sam2.modeling.backbones.image_encoder.FpnNeck": (
        *("convs", "position_encoding", "fpn_top_down_levels", "fpn_interp_model", "fuse_type"),
    ),
    "sam2.modeling.backbones.hieradet.MultiScaleBlock": (
        *("window_size", "dim", "dim_out", "norm1", "norm2", "attn", "mlp", "drop_path", "pool"),
    ),
    "sam2.modeling.backbones.hieradet.MultiScaleAttention": ("qkv", "proj", "num_heads", "q_pool"),
    "sam2.modeling.memory_attention.MemoryAttention": ("layers", "norm", "pos_enc_at_input", "batch_first"),
    "sam2.modeling.memory_attention.MemoryAttentionLayer": (
        *("self_attn", "cross_attn_image", "norm1", "norm3", "linear1", "linear2", "activation"),
        *("dropout", "dropout1", "dropout3", "pos_enc_at_attn"),
    ),
    "sam2.modeling.sam.transformer.RoPEAttention": ("dropout_p",),
    "sam2.modeling.sam.prompt_encoder.PromptEncoder": ("mask_input_size",),
    "sam2.modeling.sam.mask_decoder.MaskDecoder": (
        *("conv_s0", "conv_s1", "dynamic_multimask_via_stability", "dynamic_multimask_stability_delta"),
        "dynamic_multimask_stability_thresh",
    ),
}
"""Attributes of sam2's modules that we read or set."""

IMPORTED: tuple[str, ...] = (
    "sam2.modeling.sam2_base.NO_OBJ_SCORE",
    "sam2.modeling.sam2_base.SAM2Base",
    "sam2.modeling.memory_attention.MemoryAttention",
    "sam2.modeling.memory_attention.MemoryAttentionLayer",
    "sam2.modeling.sam.transformer.RoPEAttention",
    "sam2.modeling.backbones.hieradet.MultiScaleBlock",
    "sam2.modeling.backbones.hieradet.do_pool",
    "sam2.modeling.backbones.utils.window_partition",
    "sam2.modeling.backbones.utils.window_unpartition",
    "sam2.modeling.backbones.image_encoder.FpnNeck",
    "sam2.modeling.backbones.image_encoder.ImageEncoder",
    "sam2.modeling.sam.mask_decoder.MaskDecoder",
)
"""Everything that vos/sam2/ imports from sam2, and nobody else but vos/model/build.py, which instantiates SAM2Base."""

MEMORY_KEYS = ("cond_frame_outputs", "non_cond_frame_outputs")
"""Keys of the dictionary in which sam2 looks for the memory of conditioning frames, and of tracked frames."""

MEMORY_ENTRY_KEYS = ("maskmem_features", "maskmem_pos_enc", "obj_ptr")
"""Keys of one frame's memory."""
