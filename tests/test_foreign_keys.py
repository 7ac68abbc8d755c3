"""Keys that users bring from other programs are answered by meaning, not by spelling."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sam2_training.core.errors import ConfigError
from sam2_training.core.settings import alias_table, keys_of
from sam2_training.core.vocabulary import Vocabulary
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

RECIPE = "sam2.1_training/custom_finetune"
KEYS = {key.path for key in keys_of(VosConfig)} | set(alias_table(VosConfig))

ASSOCIATION = """
model.ckpt_path model.d_model model.nhead model.num_encoder_layers model.num_decoder_layers model.dropout
model.dropout_attn_head model.activation model.return_intermediate_dec model.decoder_self_attn model.norm
model.return_embedding model.num_layers_attn_head model.embedding_meta.pos.mode model.embedding_meta.temp.emb_num
model.encoder_cfg.model_name model.encoder_cfg.in_chans loss.neg_unmatched loss.epsilon loss.asso_weight
optimizer.name scheduler.name
dataset.train_dataset.dir.path dataset.val_dataset.clip_length dataset.test_dataset.dir.path
dataloader.train_dataloader.shuffle dataloader.train_dataloader.num_workers dataloader.val_dataloader.num_workers
trainer.strategy trainer.min_epochs
tracker.window_size tracker.overlap_thresh runner.metrics
"""
"""Keys of trainers that associate detections."""


def answer_to(key: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(RECIPE, [f"{key}=1"])
    (problem,) = raised.value.problems
    return problem


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("trainer.gpus", "launcher.gpus_per_node"),
        ("trainer.default_root_dir", "output_dir"),
        ("optimizer.momentum", "optimizer.options"),
        ("optimizer.name", "optimizer.type"),
        ("epochs", "scratch.num_epochs"),
    ],
)
def test_a_key_under_another_name_says_which(key: str, meant: str) -> None:
    """By the name that the recipe uses, where it uses another one."""
    assert re.search(rf"unknown key {re.escape(key)}; here it is {re.escape(meant)}(\W|$)", answer_to(key))


@pytest.mark.parametrize("key", ["loss.epsilon", "trainer.strategy", "tracker"])
def test_what_is_not_supported_is_said_plainly(key: str) -> None:
    assert answer_to(key).startswith(f"unknown key {key}; not supported")


def test_every_key_of_the_other_vocabularies_is_answered_by_meaning() -> None:
    known = Vocabulary(KEYS, VosConfig.foreign_keys)
    missing = [key for key in ASSOCIATION.split() if known.hint(key) == Vocabulary(KEYS).hint(key)]
    assert missing == []
    assert not KEYS & set(VosConfig.foreign_keys), "a key that exists is never answered"


def test_every_answer_names_what_there_is() -> None:
    sections = {key.split(".")[0] for key in KEYS}
    for foreign, answer in VosConfig.foreign_keys.items():
        named = re.findall(r"(?<![\w.$])[a-z_]+\.[a-z_]+(?:\.[a-z_]+)*", answer)
        wrong = [name for name in named if name.split(".")[0] in sections and name not in KEYS]
        assert wrong == [], foreign
        assert "here" in answer or "not supported" in answer, foreign


def test_a_whole_section_of_another_program_is_answered_once() -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(RECIPE, ["tracker={window_size: 8, iou: mult}", "wandb={project: x, name: y}"])
    assert [problem.split(";")[0] for problem in raised.value.problems] == [
        "unknown key tracker",
        "unknown key wandb",
    ]


def test_a_validation_set_like_the_training_set_says_how_to_write_it(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("dataset: {img_folder: a, gt_folder: b, max_num_objects: 3}\nval_dataset: ${dataset}\n")
    with pytest.raises(ConfigError) as raised:
        load_config(str(recipe))
    assert raised.value.problems == [
        "unknown key val_dataset.max_num_objects; here it is dataset.max_num_objects, which holds for training and "
        "validation; in place of ${dataset} write what both share, such as img_folder: ${dataset.img_folder}"
    ]
    recipe.write_text(
        "dataset: {img_folder: a, gt_folder: b, num_frames: 3}\n"
        "val_dataset: {img_folder: '${dataset.img_folder}', gt_folder: c}\n"
    )
    config = load_config(str(recipe), [], VosConfig).config
    assert config.val_dataset is not None
    assert config.val_dataset.img_folder == "a"
