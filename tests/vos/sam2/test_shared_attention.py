"""Memory attention with a shared start equals stock's, and shares only where all objects see one image."""

from __future__ import annotations

import copy

import pytest
import torch
from sam2.modeling.memory_attention import MemoryAttention
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.sam2 import shared_attention
from torch import Tensor

NUM_OBJECTS, EXTENT, POINTER_TOKENS = 3, 4, 4


@pytest.fixture(scope="module")
def ours() -> MemoryAttention:
    torch.manual_seed(0)
    return build_network(
        ModelConfig(name="architecture/tiny.yaml", attention_dropout=0.0, image_size=64)
    ).memory_attention


@pytest.fixture(scope="module")
def stock(ours: MemoryAttention) -> MemoryAttention:
    module = copy.deepcopy(ours)
    module.__class__ = MemoryAttention
    return module


def inputs(one_image: bool) -> tuple[Tensor, ...]:
    """(features, memory, position, memory position), sequence first."""
    generator = torch.Generator().manual_seed(1)
    tokens = EXTENT * EXTENT
    curr = torch.randn(tokens, 1 if one_image else NUM_OBJECTS, 128, generator=generator)
    memory, memory_position = torch.randn(2, 2 * tokens + POINTER_TOKENS, NUM_OBJECTS, 64, generator=generator)
    position = torch.randn(tokens, 1, 128, generator=generator)
    return curr.requires_grad_(), memory.requires_grad_(), position, memory_position


def run(module: MemoryAttention, one_image: bool) -> tuple[Tensor, list[Tensor]]:
    """The output, and gradients of features, memory and every parameter."""
    curr, memory, position, memory_position = inputs(one_image)
    expanded = curr.expand(-1, NUM_OBJECTS, -1)
    output = module([expanded], memory, [position], memory_position, num_obj_ptr_tokens=POINTER_TOKENS)
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    return output, list(torch.autograd.grad((output * weights).sum(), [curr, memory, *module.parameters()]))


@pytest.mark.parametrize("one_image", [True, False])
def test_values_and_gradients_equal_stocks(ours: MemoryAttention, stock: MemoryAttention, one_image: bool) -> None:
    output, gradients = run(ours.eval(), one_image)
    expected, expected_gradients = run(stock.eval(), one_image)
    assert torch.allclose(output, expected, rtol=1e-5, atol=1e-5)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert torch.allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("dropout", "one_image", "shared"), [(0.0, True, True), (0.1, True, False), (0.0, False, False)]
)
def test_the_start_is_shared_only_where_it_is_the_same_for_all(
    ours: MemoryAttention, monkeypatch: pytest.MonkeyPatch, dropout: float, one_image: bool, shared: bool
) -> None:
    calls = []
    original = shared_attention._first_self_attention
    monkeypatch.setattr(
        shared_attention, "_first_self_attention", lambda *given: (calls.append(1), original(*given))[1]
    )
    monkeypatch.setattr(ours.layers[0].self_attn, "dropout_p", dropout)
    run(ours.train(), one_image)
    assert bool(calls) == shared


def test_each_object_keeps_a_dropout_of_its_own(ours: MemoryAttention) -> None:
    curr, memory, position, memory_position = inputs(one_image=True)
    same = memory[:, :1].expand(-1, NUM_OBJECTS, -1)
    expanded = curr.expand(-1, NUM_OBJECTS, -1)
    same_position = memory_position[:, :1].expand_as(same)
    output = ours.train()([expanded], same, [position], same_position, num_obj_ptr_tokens=POINTER_TOKENS)
    assert not torch.allclose(output[:, 0], output[:, 1])
