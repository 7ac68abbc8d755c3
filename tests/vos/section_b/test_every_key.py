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
from tests.vos.section_b.keys import KEYS, VocabularyKey

BASE = ("dataset.dataset_type=synthetic", "val_dataset.dataset_type=synthetic", "dataset.val_fraction=0")
RECIPE = "sam2.1_training/custom_finetune"


def value_at(config: VosConfig, key: str) -> object:
    value: Any = as_dict(config)
    for part in key.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_it_sets_what_it_means(key: VocabularyKey) -> None:
    config = load_config(RECIPE, [*BASE, key.override], VosConfig).config
    assert value_at(config, key.field) == key.value


def test_the_format_is_the_named_one() -> None:
    synthetic = load_config(RECIPE, BASE, VosConfig).config.dataset
    assert synthetic.is_generated
    with pytest.raises(ConfigError, match="is not a format"):
        load_config(RECIPE, ["dataset.dataset_type=films"])


def test_all_of_them_go_together() -> None:
    written = [key.override for key in KEYS if key.name not in ("model.model_name", "model.proj_tpos_enc_in_obj_ptrs")]
    written += ["model.proj_tpos_enc_in_obj_ptrs=false", "model.multimask_output_in_sam=true"]
    config = load_config(RECIPE, [*BASE, *written, "trainer.precision=bf16-mixed"], VosConfig).config
    assert config.model.num_maskmem == 5


@pytest.mark.parametrize("test", sorted({key.test for key in KEYS}))
def test_the_test_of_its_effect_is_there(test: str) -> None:
    path, function = test.split("::")
    tree = ast.parse((REPOSITORY / "tests" / path).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
