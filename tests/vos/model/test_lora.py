"""LoRA: nothing at first, low rank afterwards, through every way a layer is used, and gone when it is merged."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sam2_training.core.errors import ConfigError
from sam2_training.engine.task import StepContext
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.config import LoraConfig, ModelConfig
from sam2_training.vos.model.freezing import freeze
from sam2_training.vos.model.lora import (
    AdaptedConv2d,
    AdaptedLinear,
    adapted_layers,
    adapter_weights,
    add_lora,
    describe_lora,
    merged_state_dict,
)
from sam2_training.vos.model.prompts_config import PromptsConfig
from sam2_training.vos.model.step import ClipStep
from sam2_training.vos.model.tracker import TrainableSAM2
from torch import Tensor, nn

from tests.vos.moving_clips import make_batch

EVERYWHERE = LoraConfig(targets=("image_encoder", "memory_attention", "memory_encoder", "sam_mask_decoder", "obj_ptr*"))


@pytest.fixture
def network(network: TrainableSAM2) -> TrainableSAM2:
    """Under whose weights objects are present."""
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
    return network


def adapted(network: TrainableSAM2, config: LoraConfig = EVERYWHERE, learned: bool = True) -> TrainableSAM2:
    """The network with adapters and nothing else that learns; learned: B is not 0 any more."""
    freeze(network, ())
    add_lora(network, config)
    if learned:
        for _, layer in adapted_layers(network):
            nn.init.normal_(layer.lora_B, std=0.02)
    return network


def tracked(network: TrainableSAM2) -> list[Tensor]:
    """Logits of the frames that are tracked, those without a prompt."""
    network.eval()
    network.prompts = PromptsConfig(0.0, 0.0, num_init_cond_frames=1)
    with torch.no_grad():
        (found,) = network(make_batch(3), np.random.default_rng(0))
    masks = [frame.steps[-1].low_res_masks for frame in found.outputs[1:]]
    assert all(bool(mask.isfinite().all()) and float(mask.std()) > 0 for mask in masks)
    return masks


def merged(network: TrainableSAM2) -> TrainableSAM2:
    """A plain network with the merged weights."""
    plain = build_network(ModelConfig(name="architecture/tiny.yaml", image_size=64))
    plain.load_state_dict(merged_state_dict(network), strict=True)
    return plain


def test_adapters_change_nothing_at_first_and_something_when_they_learned(network: TrainableSAM2) -> None:
    before = tracked(network)
    adapted(network, learned=False)
    assert all(torch.equal(one, other) for one, other in zip(before, tracked(network), strict=True))
    for _, layer in adapted_layers(network):
        nn.init.normal_(layer.lora_B, std=0.02)
    assert not any(torch.equal(one, other) for one, other in zip(before, tracked(network), strict=True))


def test_merged_weights_have_stocks_names_and_give_the_same_masks(network: TrainableSAM2) -> None:
    names = list(network.state_dict())
    adapted(network)
    assert sorted(merged_state_dict(network)) == sorted(names)
    for one, other in zip(tracked(network), tracked(merged(network)), strict=True):
        assert torch.equal(one, other), "the same sums in the same order: not a bit differs on a CPU"


def test_the_update_is_alpha_by_rank_times_b_a(network: TrainableSAM2) -> None:
    before = copy.deepcopy(network.state_dict())
    adapted(network, replace(EVERYWHERE, rank=3, alpha=12.0))
    found, adapters = merged_state_dict(network), adapter_weights(network)
    kinds = set()
    for name, layer in adapted_layers(network):
        up, down = adapters[f"{name}.lora_B"].double(), adapters[f"{name}.lora_A"].double()
        assert down.shape[0] == up.shape[1] == 3
        expected = before[f"{name}.weight"].double() + 4 * (up @ down).view_as(before[f"{name}.weight"])
        assert torch.allclose(found[f"{name}.weight"].double(), expected, atol=1e-6)
        kinds.add(type(layer))
    assert kinds == {AdaptedLinear, AdaptedConv2d}
    others = [name for name in found if name.removesuffix(".weight") not in dict(adapted_layers(network))]
    assert all(torch.equal(found[name], before[name]) for name in others)


@pytest.mark.parametrize(
    ("target", "adapted_one", "stranger"),
    [
        (
            "image_encoder.trunk.blocks.*.attn",
            "image_encoder.trunk.blocks.0.attn.qkv",
            "image_encoder.trunk.blocks.0.mlp",
        ),
        ("*.q_proj", "memory_attention.layers.0.self_attn.q_proj", "memory_attention.layers.0.self_attn.k_proj"),
        ("memory", "memory_encoder.fuser.layers.0.pwconv1", "sam_mask_decoder"),
        ("image_encoder.neck", "image_encoder.neck.convs.0.conv", "image_encoder.trunk"),
    ],
)
def test_targets_are_names_globs_and_presets(
    network: TrainableSAM2, target: str, adapted_one: str, stranger: str
) -> None:
    adapted(network, LoraConfig(targets=(target,)))
    names = [name for name, _ in adapted_layers(network)]
    assert adapted_one in names
    assert not any(name.startswith(stranger) for name in names)


def test_a_convolution_with_a_wider_kernel_is_left_alone(network: TrainableSAM2) -> None:
    adapted(network, LoraConfig(targets=("memory_encoder",)))
    assert not isinstance(network.memory_encoder.fuser.layers[0].dwconv, AdaptedConv2d)
    with pytest.raises(ConfigError, match="holds no layer that can be adapted"):
        add_lora(network, LoraConfig(targets=("memory_encoder.fuser.layers.0.dwconv",)))


def test_a_target_without_layers_is_answered_with_the_nearest(network: TrainableSAM2) -> None:
    with pytest.raises(ConfigError) as caught:
        add_lora(network, LoraConfig(targets=("memory_atention", "sam_mask_decoder", "no_obj_ptr")))
    assert len(caught.value.problems) == 2
    assert "did you mean memory_attention?" in caught.value.problems[0]
    assert not list(adapted_layers(network)), "a refused call must change nothing"


def test_gradients_of_adapters_are_those_of_the_weights_times_the_other_factor(network: TrainableSAM2) -> None:
    """Also where the forward pass reads weights itself: windows.py, neck.py, shared_attention.py."""
    adapted(network)
    freeze(network, ("all",))
    step = ClipStep(network, LossConfig()).eval()  # eval: without dropout on attention weights
    step(make_batch(3), 2.0, StepContext(3, 0))["total"].backward()
    reached = set()
    for name, layer in adapted_layers(network):
        gradient = layer._parameters["weight"].grad
        if gradient is not None and gradient.any():
            reached.add(".".join(name.split(".")[:2]))
            gradient = gradient.flatten(1) * layer.lora_scale
            assert torch.allclose(layer.lora_B.grad, gradient @ layer.lora_A.T, rtol=1e-3, atol=1e-6), name
            assert torch.allclose(layer.lora_A.grad, layer.lora_B.T @ gradient, rtol=1e-3, atol=1e-6), name
    assert {"image_encoder.trunk", "image_encoder.neck", "memory_attention.layers"} <= reached


def test_without_other_names_only_adapters_get_a_gradient(network: TrainableSAM2) -> None:
    step = ClipStep(adapted(network), LossConfig()).train()
    step(make_batch(3), 2.0, StepContext(3, 0))["total"].backward()
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == name.endswith(("lora_A", "lora_B")), name
        assert parameter.requires_grad or parameter.grad is None, name
    assert all(network.get_parameter(f"{n}.lora_A").grad is not None for n in ("obj_ptr_tpos_proj",))


def test_parts_with_adapters_are_in_training_mode_and_others_rest(network: TrainableSAM2) -> None:
    adapted(network, LoraConfig(targets=("memory_attention.layers.0",)))
    network.train()
    assert network.memory_attention.layers[0].dropout1.training
    assert not network.memory_attention.layers[1].dropout1.training
    assert not network.image_encoder.training


def test_dropout_leaves_out_inputs_of_the_adapter_in_training_only(network: TrainableSAM2) -> None:
    adapted(network, LoraConfig(targets=("obj_ptr_proj",), dropout=0.25))
    layer = network.obj_ptr_proj.layers[0]
    base, whole = layer._parameters["weight"], layer.merged_weight()
    network.train()
    torch.manual_seed(3)
    drawn = [(layer.weight - base).detach() for _ in range(40)]
    left_out = torch.stack([~update.any(0) for update in drawn]).float().mean()
    assert float(left_out) == pytest.approx(0.25, abs=0.03)
    kept = drawn[0].any(0)
    assert torch.allclose(drawn[0][:, kept], (whole - base)[:, kept] / 0.75, atol=1e-6)
    assert torch.equal(layer.merged_weight(), whole)
    network.eval()
    assert torch.equal(layer.weight, whole)


def test_a_copy_is_independent(network: TrainableSAM2) -> None:
    twin = copy.deepcopy(adapted(network))
    nn.init.zeros_(next(adapted_layers(twin))[1].lora_B)
    assert torch.equal(tracked(network)[0], tracked(merged(network))[0])
    assert not torch.equal(tracked(network)[0], tracked(twin)[0])


def test_the_update_keeps_its_precision_under_autocast(network: TrainableSAM2) -> None:
    adapted(network)
    _, layer = next(adapted_layers(network))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.weight, layer.merged_weight())
        assert layer.weight.dtype == torch.float32


def test_the_banner_says_what_was_added(network: TrainableSAM2) -> None:
    config = LoraConfig(targets=("obj_ptr_proj.layers.0",), rank=2, alpha=5, dropout=0.1)
    adapted(network, config)
    assert describe_lora(network, config) == [
        "LoRA: rank 2, alpha 5, dropout 0.1: 512 parameters beside 1 layer(s)",
    ]
    assert describe_lora(network, None) == []


def test_with_lora_null_means_that_adapters_alone_learn() -> None:
    assert ModelConfig().learning_modules == ("all",)
    assert ModelConfig(lora=LoraConfig()).learning_modules == ()
    assert ModelConfig(lora=LoraConfig(), trainable_modules=("decoder",)).learning_modules == ("decoder",)
    assert not list(ModelConfig(lora=LoraConfig(), trainable_modules=()).problems("model"))
    assert list(ModelConfig(trainable_modules=()).problems("model"))
    assert list(LoraConfig(targets=()).problems("model.lora"))
