"""Layers that do the same with less work: windowed attention without padding, dropout with 16 random bits."""

from __future__ import annotations

import copy

import pytest
import torch
from sam2.modeling.backbones.hieradet import MultiScaleBlock
from sam2_training.vos.sam2.dropout import BitDropout, use_bit_dropout
from sam2_training.vos.sam2.windows import UnpaddedBlock, skip_window_padding
from torch import nn


@pytest.mark.parametrize("size", [(8, 8), (6, 10), (9, 7), (3, 3)])
@pytest.mark.parametrize(("window", "stride"), [(0, None), (4, None), (4, (2, 2))])
def test_lean_blocks_equal_stocks_in_value_and_gradient(
    size: tuple[int, int], window: int, stride: tuple[int, int] | None
) -> None:
    if stride and size[0] % 2:
        pytest.skip("stock does not pool odd sizes either")
    dim_out = 32 if stride else 16
    stock = MultiScaleBlock(16, dim_out, 2, q_stride=stride, window_size=window).double()
    lean = nn.Sequential(copy.deepcopy(stock))
    skip_window_padding(lean)
    assert type(lean[0]) is UnpaddedBlock
    x = torch.randn(2, *size, 16, dtype=torch.float64)
    results = []
    for block in (stock, lean):
        given = x.clone().requires_grad_()
        out = block(given)
        out.square().sum().backward()
        results.append([out.detach(), given.grad, *(p.grad for p in block.parameters())])
    for expected, found in zip(*results, strict=True):
        assert expected is not None
        assert found is not None
        assert torch.allclose(expected, found, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_the_fraction_and_keeps_the_mean(p: float) -> None:
    """A million elements: the fraction's standard error is below 0.0005."""
    out = BitDropout(p)(torch.ones(1000, 1001))
    assert float((out == 0).float().mean()) == pytest.approx(p, abs=0.002)
    assert torch.allclose(out[out != 0], torch.tensor(1 / (1 - p)), rtol=1e-4)


def test_dropouts_gradient_is_its_own_mask() -> None:
    x = torch.ones(7, 5, requires_grad=True)
    out = BitDropout(0.5)(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_dropout_is_nothing_in_eval_mode_and_everything_at_one() -> None:
    x = torch.randn(3, 5)
    assert torch.equal(BitDropout(0.5).eval()(x), x)
    assert torch.equal(BitDropout(0.0)(x), x)
    assert not BitDropout(1.0)(x).any()


def test_dropout_follows_torchs_seed_and_takes_any_size_and_type() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for shape in ((0,), (1,), (3, 1, 5)):
            x = torch.ones(shape, dtype=dtype)
            torch.manual_seed(1)
            first = BitDropout(0.4)(x)
            torch.manual_seed(1)
            assert torch.equal(BitDropout(0.4)(x), first)
            assert (first.dtype, first.shape) == (dtype, x.shape)


def test_only_plain_dropout_is_replaced() -> None:
    module = nn.Sequential(nn.Dropout(0.3), nn.Dropout2d(0.3), nn.Sequential(nn.Dropout(0.2)))
    use_bit_dropout(module)
    assert [type(module[0]), type(module[1]), type(module[2][0])] == [BitDropout, nn.Dropout2d, BitDropout]
    assert module[0].p == 0.3
