"""Every key of the video-clip vocabulary is accepted, sets what it means, and has a test of its effect."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from sam2_training.core.errors import ConfigError
from sam2_training.core.schema import as_dict
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

from tests.places import REPOSITORY
from tests.vos.section_b.keys import BELONGING, KEYS, VocabularyKey

BASE = ("dataset.dataset_type=synthetic", "val_dataset.dataset_type=synthetic", "dataset.val_fraction=0")
RECIPE = "sam2.1_training/custom_finetune"
NOT_TOGETHER = ("model.model_name", "model.proj_tpos_enc_in_obj_ptrs", "prompts.prompt_type", "prompts.prompt_types")
"""Two names of one setting, and what another key excludes."""


def value_at(config: VosConfig, key: str) -> object:
    value: Any = as_dict(config)
    for part in key.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_it_sets_what_it_means(key: VocabularyKey) -> None:
    beside = [setting for start, settings in BELONGING.items() if key.name.startswith(start) for setting in settings]
    config = load_config(RECIPE, [*BASE, *beside, key.override], VosConfig).config
    assert value_at(config, key.field) == key.value


def test_the_format_is_the_named_one() -> None:
    synthetic = load_config(RECIPE, BASE, VosConfig).config.dataset
    assert synthetic.is_generated
    with pytest.raises(ConfigError, match="is not a format"):
        load_config(RECIPE, ["dataset.dataset_type=films"])


def test_all_of_them_go_together() -> None:
    written = [key.override for key in KEYS if key.name not in NOT_TOGETHER]
    written += [setting for settings in BELONGING.values() for setting in settings]
    written += [
        "prompts.prompt_type=point",
        "model.proj_tpos_enc_in_obj_ptrs=false",
        "model.multimask_output_in_sam=true",
    ]
    config = load_config(RECIPE, [*BASE, *written, "trainer.precision=bf16-mixed"], VosConfig).config
    assert config.model.num_maskmem == 5


@pytest.mark.parametrize("test", sorted({key.test for key in KEYS}))
def test_the_test_of_its_effect_is_there(test: str) -> None:
    path, function = test.split("::")
    tree = ast.parse((REPOSITORY / "tests" / path).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_of_keys_lists_them() -> None:
    page = (REPOSITORY / "docs" / "configuration.md").read_text().partition("## The video-clip vocabulary")[2]
    assert [key.name for key in KEYS if f"| `{key.name}` |" not in page] == []


def test_the_recipe_of_the_vocabulary_has_its_defaults() -> None:
    config = load_config("coco_video", ["dataset.data_path=a.json"], VosConfig).config
    expected = {
        "model.name": "sam2.1_hiera_t.yaml",
        "model.trainable_modules": ["memory_attention", "memory_encoder"],
        "model.image_size": 512,
        "dataset.num_frames": 5,
        "dataset.frame_interval": [1, 1],
        "dataset.max_num_objects": 10,
        "loader.num_workers": 16,
        "prompts.prompt_types": ["point"],
        "loss.type": "bce_dice",
        "loss.temporal_weight": 0.1,
        "optimizer.lr": 1e-4,
        "optimizer.weight_decay": 1e-4,
        "scheduler.type": "CosineAnnealingLR",
        "scheduler.T_max": 10,
        "trainer.precision": "16-mixed",
        "trainer.max_epochs": 50,
        "trainer.gradient_clip_val": 1.0,
        "trainer.num_sanity_val_steps": 2,
        "seed": 42,
        "output_dir": "./outputs",
        "logging.use_wandb": False,
    }
    assert {key: value_at(config, key) for key in expected} == expected
