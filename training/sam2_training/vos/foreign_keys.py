"""Keys of other trainers of video segmentation and tracking that are named otherwise here, or are not supported."""

from __future__ import annotations

_ASSOCIATION = "not supported in this version, which trains task=vos (masks) only, not the association of detections"
_BOTH_SETS = (
    "here it is dataset.{key}, which holds for training and validation; in place of ${{dataset}} write what both"
)
_BOTH_SETS += " share, such as img_folder: ${{dataset.img_folder}}"
_TEST_SET = "not supported: give `evaluate` val_dataset, or a list of names with --split"

FOREIGN_KEYS: dict[str, str] = {
    # Network
    "device": "here it is trainer.accelerator",
    # Data
    "val_dataset.max_num_objects": _BOTH_SETS.format(key="max_num_objects"),
    "evaluation.retention_dataset.num_frames": _BOTH_SETS.format(key="num_frames"),
    "evaluation.retention_dataset.max_num_objects": _BOTH_SETS.format(key="max_num_objects"),
    "dataset.train_dataset": "here it is the section dataset, such as dataset.img_folder and dataset.gt_folder",
    "dataset.val_dataset": "here it is the section val_dataset, such as val_dataset.img_folder",
    "dataset.test_dataset": _TEST_SET,
    "test_dataset": _TEST_SET,
    "augmentations": "here it is the section transforms, such as transforms.horizontal_flip_prob",
    # Association
    "loss.asso_weight": _ASSOCIATION,
    "loss.neg_unmatched": _ASSOCIATION,
    "loss.epsilon": _ASSOCIATION,
    "model.d_model": _ASSOCIATION,
    "model.nhead": _ASSOCIATION,
    "model.num_encoder_layers": _ASSOCIATION,
    "model.num_decoder_layers": _ASSOCIATION,
    "model.dropout": _ASSOCIATION + "; nearest: model.attention_dropout",
    "model.dropout_attn_head": _ASSOCIATION,
    "model.activation": _ASSOCIATION,
    "model.return_intermediate_dec": _ASSOCIATION,
    "model.decoder_self_attn": _ASSOCIATION,
    "model.norm": _ASSOCIATION,
    "model.return_embedding": _ASSOCIATION,
    "model.num_layers_attn_head": _ASSOCIATION,
    "model.embedding_meta": _ASSOCIATION,
    "model.encoder_cfg": _ASSOCIATION,
    "tracker": _ASSOCIATION,
}
"""{key: what to write here, or that it is not supported and what is nearest}."""
