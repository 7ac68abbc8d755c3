"""Which learning rate and weight decay each parameter gets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sam2_training.core.errors import ConfigError
from sam2_training.engine.optimizer_config import LayerDecayOverrideConfig, LrGroupConfig, OptimizerConfig
from sam2_training.engine.param_groups import parameter_groups

from tests.engine.small_network import Network

PLAIN = OptimizerConfig(
    lr=1.0,
    weight_decay=0.1,
    no_weight_decay=("*bias*",),
    no_weight_decay_modules=("torch.nn.LayerNorm",),
    layer_decay_module="image_encoder.trunk",
)


def by_name(network: Network, config: OptimizerConfig) -> dict[str, tuple[float, float]]:
    return {
        name: (group["lr"], group["weight_decay"])
        for group in parameter_groups(network, config)
        for name in group["names"]
    }


def test_every_trainable_parameter_is_in_exactly_one_group_under_its_own_name():
    network = Network()
    groups = parameter_groups(network, PLAIN)
    pairs = [pair for group in groups for pair in zip(group["names"], group["params"], strict=True)]
    assert len(pairs) == len(list(network.parameters()))
    assert all(dict(network.named_parameters())[name] is parameter for name, parameter in pairs)
    assert all(group["initial_lr"] == group["lr"] for group in groups)


def test_frozen_parameters_are_in_no_group_and_still_count_as_matching():
    network = Network()
    network.image_encoder.requires_grad_(False)
    config = replace(PLAIN, lr_groups=(LrGroupConfig("image_encoder.*", 0.5),))
    assert all(name.startswith("head.") for name in by_name(network, config))


def test_weight_decay_spares_biases_and_norms_only():
    decays = {name: decay for name, (_, decay) in by_name(Network(), PLAIN).items()}
    assert decays["head.0.weight"] == decays["head.1.bias"] == decays["image_encoder.trunk.blocks.0.norm.weight"] == 0
    assert decays["head.1.weight"] == decays["image_encoder.trunk.pos_embed"] == 0.1


def test_later_lr_groups_win():
    config = replace(PLAIN, lr_groups=(LrGroupConfig("image_encoder.*", 0.5), LrGroupConfig("*neck*", 0.25)))
    rates = by_name(Network(), config)
    assert rates["image_encoder.neck.weight"][0] == 0.25
    assert rates["image_encoder.trunk.patch_embed.weight"][0] == 0.5
    assert rates["head.1.weight"][0] == 1.0


def test_layer_decay_counts_from_the_output_and_overrides_replace_it():
    config = replace(
        PLAIN,
        lr_groups=(LrGroupConfig("image_encoder.*", 2.0),),
        layer_decay=0.5,
        layer_decay_overrides=(LayerDecayOverrideConfig("*pos_embed*", 1.0),),
    )
    rates = {name: lr for name, (lr, _) in by_name(Network(), config).items()}
    assert rates["image_encoder.trunk.patch_embed.weight"] == 2.0 * 0.5**4
    assert [rates[f"image_encoder.trunk.blocks.{i}.proj.weight"] for i in range(3)] == [0.25, 0.5, 1.0]
    assert rates["image_encoder.trunk.pos_embed"] == 2.0
    assert rates["image_encoder.neck.weight"] == 2.0
    assert rates["head.1.weight"] == 1.0


def test_first_matching_override_wins():
    overrides = (LayerDecayOverrideConfig("*pos_embed*", 0.3), LayerDecayOverrideConfig("*embed*", 0.7))
    rates = by_name(Network(), replace(PLAIN, layer_decay_overrides=overrides))
    assert rates["image_encoder.trunk.pos_embed"][0] == 0.3
    assert rates["image_encoder.trunk.patch_embed.weight"][0] == 0.7


def test_order_is_the_same_every_time():
    config = replace(PLAIN, layer_decay=0.9)
    first, second = (parameter_groups(Network(), config) for _ in range(2))
    assert [group["names"] for group in first] == [group["names"] for group in second]


@pytest.mark.parametrize(
    ("changes", "key", "nearest"),
    [
        ({"no_weight_decay": ("*biass*",)}, "optimizer.no_weight_decay", "*bias*"),
        ({"lr_groups": (LrGroupConfig("image_encodr.*", 1.0),)}, "optimizer.lr_groups", "image_encoder.*"),
        (
            {"layer_decay_overrides": (LayerDecayOverrideConfig("*pos_embedd*", 0.5),)},
            "optimizer.layer_decay_overrides",
            "*pos_embed*",
        ),
        (
            {"layer_decay": 0.9, "layer_decay_module": "image_encoder.trnk"},
            "layer_decay_module",
            "image_encoder.trunk",
        ),
        ({"no_weight_decay_modules": ("torch.nn.LayerNrm",)}, "no_weight_decay_modules", "torch.nn.LayerNorm"),
        ({"no_weight_decay_modules": ("torch.nn.BatchNorm2d",)}, "no_weight_decay_modules", "torch.nn"),
    ],
)
def test_a_name_that_matches_nothing_is_an_error_with_the_nearest(changes, key, nearest):
    with pytest.raises(ConfigError) as caught:
        parameter_groups(Network(), replace(PLAIN, **changes))
    (problem,) = caught.value.problems
    assert key in problem
    assert nearest in problem


def test_all_problems_are_reported_together():
    config = replace(PLAIN, no_weight_decay=("*nothing*",), no_weight_decay_modules=("a.B",), layer_decay_module="x")
    with pytest.raises(ConfigError) as caught:
        parameter_groups(Network(), replace(config, layer_decay=0.9))
    assert len(caught.value.problems) == 3


def test_a_network_without_the_trunk_works_without_layer_decay_only():
    head = Network().head
    parameter_groups(head, replace(PLAIN, layer_decay=1.0))
    with pytest.raises(ConfigError, match="layer_decay=1"):
        parameter_groups(head, replace(PLAIN, layer_decay=0.9))


def test_nothing_to_train_is_an_error():
    with pytest.raises(ConfigError, match="trainable_modules"):
        parameter_groups(Network().requires_grad_(False), PLAIN)
