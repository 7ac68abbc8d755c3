"""Recipes, networks and weights of related projects: one sentence on what was seen and what to do."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.tasks import load_config
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.names import resolve_network
from sam2_training.vos.model.weights import clean_state_dict, load_weights


def stock_yaml(name: str) -> Path:
    spec = find_spec("sam2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "configs" / name


def test_an_architecture_in_place_of_a_recipe_is_named() -> None:
    with pytest.raises(ConfigError, match=r"describes a network .*: give it as model\.name="):
        load_config(str(stock_yaml("sam2.1/sam2.1_hiera_t.yaml")))


def test_a_recipe_of_sam3_is_named(tmp_path: Path) -> None:
    path = tmp_path / "roboflow.yaml"
    path.write_text("trainer: {_target_: sam3.train.trainer.Trainer, mode: train}\n")
    with pytest.raises(ConfigError, match="is a configuration of SAM 3"):
        load_config(str(path))


@pytest.mark.parametrize(
    ("name", "words"),
    [("sam3", "a SAM 3 network"), ("facebook/sam3", "SAM 3"), ("sam3.pt", "SAM 3"), ("sam_vit_h", "the first SAM")],
)
def test_a_network_of_another_generation_is_named(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"is .*{words}.*: use one of sam2.1_hiera_t"):
        resolve_network(name)


def test_weights_of_other_generations_and_formats_are_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(ModelConfig(name="architecture/tiny.yaml", image_size=64))
    first_release = dict(clean_state_dict(network))
    del first_release["no_obj_embed_spatial"]
    one = torch.zeros(1)
    for weights, words in (
        ({"detector.backbone.x": one, "tracker.maskmem_tpos_enc": one}, "SAM 3"),
        ({"tracker_model.mask_decoder.x": one}, "SAM 3"),
        ({"vision_encoder.backbone.x": one}, "Hugging Face transformers"),
        ({"image_encoder.blocks.0.x": one}, "the first SAM"),
        (first_release, "SAM 2 of the first release"),
    ):
        path = tmp_path / "weights.pt"
        torch.save(weights, path)
        with pytest.raises(CheckpointError, match=rf"weights\.pt holds weights of .*{words}.*: give a published file"):
            load_weights(network, str(path))
