"""Four networks by four choices of what learns: groups that go on top of a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sam2_training.core.schema import as_dict
from sam2_training.engine.optimizer import build_optimizer
from sam2_training.engine.param_groups import parameter_groups
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.config import LoraConfig
from sam2_training.vos.task import initial_network

from tests.places import REPOSITORY

SIZES = ("t", "s", "b+", "l")
LEARNING = {
    "full": ("all",),
    "frozen_encoder": ("frozen_encoder",),
    "memory": ("memory",),
    "lora": (),
}


def composed(*overrides: str, recipe: str = "custom_finetune") -> VosConfig:
    return load_config(recipe, [*overrides, "dataset.val_fraction=0"], VosConfig).config


def choices(group: str) -> set[str]:
    return {path.stem for path in (REPOSITORY / "sam2_configs" / group).glob("*.yaml")}


def test_every_choice_is_tested_here() -> None:
    assert choices("model") == set(SIZES)
    assert choices("parts") == set(LEARNING)


@pytest.mark.parametrize("parts", LEARNING)
@pytest.mark.parametrize("size", SIZES)
def test_sixteen_recipes_compose(size: str, parts: str) -> None:
    config = composed(f"model={size}", f"parts={parts}")
    assert config.model.name == f"sam2.1_hiera_{size}"
    assert config.model.learning_modules == LEARNING[parts]
    assert config.model.lora == (LoraConfig(rank=8, alpha=16.0) if parts == "lora" else None)
    assert config.dataset.num_frames == (1 if parts == "full" else 8)
    plain = composed()
    same = replace(config, model=plain.model, optimizer=plain.optimizer, dataset=plain.dataset)
    assert same == plain, "a group changes the network, what learns, its rates and the clips, and nothing else"


@pytest.mark.parametrize("parts", LEARNING)
def test_what_learns_has_its_rates(parts: str) -> None:
    config = composed(f"parts={parts}", "model.name=architecture/tiny.yaml", "scratch.resolution=64")
    network = initial_network(config, None)
    rates = {}
    for group in parameter_groups(network, config.optimizer):
        rates |= dict.fromkeys(group["names"], (group["initial_lr"], group["weight_decay"]))
    learning = {name.split(".")[0] for name in rates}
    if parts == "lora":
        assert all(name.endswith(("lora_A", "lora_B")) for name in rates)
        assert set(rates.values()) == {(1e-4, 0.0)}
        assert learning == {"image_encoder", "memory_attention", "sam_mask_decoder"}
    else:
        assert ("image_encoder" in learning) == (parts == "full")
        assert rates["memory_attention.layers.0.linear1.weight"] == (5e-6 if parts == "full" else 1e-5, 0.1)
    assert build_optimizer(network, config.optimizer, next(network.parameters()).device)


def test_the_command_line_and_a_recipe_of_ones_own_win_over_groups(tmp_path: Path) -> None:
    config = composed("parts=lora", "model=t", "model.lora.rank=4", "scratch.num_frames=2", "model.name=l")
    assert (config.model.lora.rank, config.model.lora.alpha) == (4, 16.0)  # type: ignore[union-attr]
    assert (config.dataset.num_frames, config.model.name) == (2, "l")
    assert composed("parts=lora", "dataset.num_frames=2").dataset.num_frames == 2
    assert composed("parts=lora", "model.trainable_modules=decoder").model.learning_modules == ("decoder",)
    own = tmp_path / "own.yaml"
    own.write_text(
        "defaults:\n  - /sam2.1_training/custom_finetune@_here_\n  - override /parts: lora\n  - override /model: s\n"
        "  - _self_\nscratch: {num_frames: 3}\nmodel: {lora: {rank: 2}}\n"
    )
    found = composed(recipe=str(own))
    assert (found.model.name, found.dataset.num_frames) == ("sam2.1_hiera_s", 3)
    assert found.model.lora == LoraConfig(rank=2)


def test_lora_can_be_switched_on_by_one_key_and_off_again() -> None:
    assert composed("model.lora.rank=4").model.lora == LoraConfig(rank=4)
    assert composed("model.lora={}").model.lora == LoraConfig()
    assert composed("parts=lora", "model.lora=null").model.lora is None


def test_values_in_braces_are_no_choice_of_a_group() -> None:
    config = composed("model={image_size: 96, name: t}")
    assert (config.model.image_size, config.model.name) == (96, "t")


def test_the_recipe_frozen_encoder_is_the_group() -> None:
    assert as_dict(composed(recipe="frozen_encoder")) == as_dict(composed("parts=frozen_encoder"))
