"""The guarded step on a GPU: same rules as on a CPU, and no waiting for the device."""

from __future__ import annotations

import pytest
import torch
from sam2_training.core.ranks import Ranks
from sam2_training.engine.precision import GuardedStep, Precision
from torch import Tensor, nn

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda", 0)


def failed_step(guard: GuardedStep) -> int | None:
    guard.newly_left_out()
    return guard.non_finite_since()


def make(setting: str, kind: str = "AdamW") -> tuple[nn.Module, Precision, GuardedStep]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 1)).to(CUDA)
    options = {"fused": True} if kind in ("AdamW", "SGD") else {}
    optimizer = getattr(torch.optim, kind)(network.parameters(), lr=0.01, **options)
    precision = Precision(setting, CUDA)
    return network, precision, GuardedStep(optimizer, precision, 0.1, Ranks(device=CUDA))


def backward(network: nn.Module, precision: Precision) -> Tensor:
    network.zero_grad()
    with precision.autocast():
        loss = network(torch.ones(8, 64, device=CUDA)).float().square().mean()
    precision.scale(loss).backward()
    return loss.detach()


def weights(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


def test_auto_means_bf16_on_a_gpu():
    assert Precision("auto", CUDA).name == "bf16-mixed"


@pytest.mark.parametrize("setting", ["32", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("kind", ["AdamW", "SGD", "RMSprop"])
def test_r15_nothing_moves_from_the_first_non_finite_loss_on(setting, kind):
    network, precision, guard = make(setting, kind)
    for number in range(1, 21):  # fp16 may need some steps to find its scale
        guard.step(backward(network, precision), number)
    assert failed_step(guard) is None
    before = weights(network)
    guard.step(backward(network, precision) * float("nan"), 21)
    guard.step(backward(network, precision), 22)
    assert torch.equal(weights(network), before)
    assert failed_step(guard) == 21


@pytest.mark.parametrize("setting", ["32", "bf16-mixed"])
def test_r15_nothing_moves_from_the_first_non_finite_gradient_on(setting):
    network, precision, guard = make(setting)
    guard.step(backward(network, precision), 1)
    before = weights(network)
    loss = backward(network, precision)
    network[0].weight.grad[0, 0] = float("nan")
    guard.step(loss, 2)
    guard.step(backward(network, precision), 3)
    assert torch.equal(weights(network), before)
    assert failed_step(guard) == 2


def test_fp16_overflow_leaves_one_step_out_and_lowers_the_scale():
    network, precision, guard = make("16-mixed")
    for number in range(1, 21):
        guard.step(backward(network, precision), number)
    before, scale = weights(network), precision.scaler.get_scale()
    loss = backward(network, precision)
    network[0].weight.grad[0, 0] = float("inf")
    guard.step(loss, 21)
    assert torch.equal(weights(network), before)
    assert precision.scaler.get_scale() == scale / 2
    guard.step(backward(network, precision), 22)
    assert failed_step(guard) is None
    assert not torch.equal(weights(network), before)


@pytest.mark.parametrize("setting", ["32", "bf16-mixed", "16-mixed"])
def test_a_fused_step_does_not_wait_for_the_device(setting):
    network, precision, guard = make(setting)
    guard.step(backward(network, precision), 1)
    loss = backward(network, precision)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        guard.step(loss, 2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert failed_step(guard) is None
