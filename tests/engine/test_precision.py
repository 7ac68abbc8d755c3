"""Number formats, and the optimizer step that is left out when something is not finite."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.core.distributed import Ranks, process_group
from training.core.errors import ConfigError
from training.engine.precision import MAX_OVERFLOWS, GuardedStep, Precision

CPU = torch.device("cpu")
ONE = Ranks()


def make(kind: str = "AdamW", precision: Precision | None = None, clip: float | None = None, ranks: Ranks = ONE):
    torch.manual_seed(0)
    network = nn.Linear(4, 1)
    options = {"fused": True} if kind in ("AdamW", "SGD") else {}
    optimizer = getattr(torch.optim, kind)(network.parameters(), lr=0.1, **options)
    return network, GuardedStep(optimizer, precision or Precision("32", CPU), clip, ranks)


def backward(network: nn.Linear, precision: Precision, factor: float = 1.0) -> Tensor:
    loss = network(torch.arange(8.0).reshape(2, 4)).square().mean() * factor
    network.zero_grad()
    precision.scale(loss).backward()
    return loss.detach()


def weights(network: nn.Linear) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


def test_auto_means_fp32_on_a_cpu():
    precision = Precision("auto", CPU)
    assert (precision.name, precision.scaler) == ("32", None)
    with precision.autocast():
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32


def test_bf16_works_on_a_cpu():
    with Precision("bf16-mixed", CPU).autocast():
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.bfloat16


def test_fp16_on_a_cpu_is_refused_with_the_cure():
    with pytest.raises(ConfigError, match="bf16-mixed or 32"):
        Precision("16-mixed", CPU)


@pytest.mark.parametrize("kind", ["AdamW", "SGD", "Adagrad"])
def test_a_finite_step_is_the_optimizers_own_after_clipping(kind):
    network, guard = make(kind, clip=0.5)
    loss = backward(network, Precision("32", CPU))
    reference, _ = make(kind)
    backward(reference, Precision("32", CPU))
    expected_norm = nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
    getattr(torch.optim, kind)(reference.parameters(), lr=0.1).step()
    assert torch.equal(guard.step(loss), expected_norm)
    assert torch.allclose(weights(network), weights(reference), rtol=1e-6)
    assert guard.non_finite_since() is None


@pytest.mark.parametrize("kind", ["AdamW", "SGD", "Adagrad"])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_r15_nothing_moves_from_the_first_non_finite_step_on(kind, where):
    precision = Precision("32", CPU)
    network, guard = make(kind, clip=0.1)
    guard.step(backward(network, precision))
    before = weights(network)
    loss = backward(network, precision)
    if where == "loss":
        loss = loss * float("nan")
    else:
        network.weight.grad[0, 1] = float("inf")
    norm = guard.step(loss)
    assert guard.non_finite_since() == 2
    guard.step(backward(network, precision))  # a late check: good steps follow the bad one
    assert torch.equal(weights(network), before)
    assert guard.non_finite_since() == 2
    assert torch.isfinite(norm) == (where == "loss")


def test_a_step_without_any_gradient_is_harmless():
    network, guard = make(clip=0.1)
    before = weights(network)
    assert guard.step(torch.tensor(1.0)) == 0
    assert torch.equal(weights(network), before)


def with_scaler() -> Precision:
    """The fp16 rules, with the scaler that torch has for CPUs too."""
    precision = Precision("32", CPU)
    precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    return precision


@pytest.mark.parametrize("kind", ["AdamW", "Adagrad"])
def test_an_fp16_overflow_leaves_one_step_out_and_lowers_the_scale(kind):
    precision = with_scaler()
    network, guard = make(kind, precision, clip=0.1)
    guard.step(backward(network, precision))
    before, scale = weights(network), precision.scaler.get_scale()
    loss = backward(network, precision)
    network.weight.grad[0, 0] = float("inf")
    guard.step(loss)
    assert torch.equal(weights(network), before)
    assert precision.scaler.get_scale() == scale / 2
    assert guard.non_finite_since() is None
    guard.step(backward(network, precision))
    assert not torch.equal(weights(network), before)


@pytest.mark.parametrize("kind", ["AdamW", "Adagrad"])
def test_r15_a_non_finite_loss_stops_fp16_training_too(kind):
    precision = with_scaler()
    network, guard = make(kind, precision)
    guard.step(backward(network, precision))
    before = weights(network)
    guard.step(backward(network, precision) * float("nan"))  # only the loss that is told: the gradient is finite
    guard.step(backward(network, precision))
    assert torch.equal(weights(network), before)
    assert guard.non_finite_since() == 2


def test_r15_endless_fp16_overflow_is_an_error():
    precision = with_scaler()
    network, guard = make("AdamW", precision)
    for _ in range(MAX_OVERFLOWS):
        assert guard.non_finite_since() is None
        loss = backward(network, precision)
        network.weight.grad.fill_(float("inf"))
        guard.step(loss)
    assert guard.non_finite_since() == MAX_OVERFLOWS


def test_r02_the_loss_scale_survives_a_resume():
    precision = with_scaler()
    network, guard = make("AdamW", precision)
    for factor in (1.0, float("inf"), 1.0):
        loss = backward(network, precision)
        network.weight.grad.mul_(factor)
        guard.step(loss)
    other = with_scaler()
    _, resumed = make("AdamW", other)
    resumed.load_state_dict(guard.state_dict())
    assert other.scaler.state_dict() == precision.scaler.state_dict()
    assert other.scaler.get_scale() == 2.0**15


def nan_on_rank_one(rank: int, store: str, results) -> None:
    import os

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=store, RANK=str(rank), WORLD_SIZE="2")
    ranks = Ranks(rank, rank, 2)
    with process_group(ranks, 60):
        network, guard = make(ranks=ranks)
        before = weights(network)
        loss = backward(network, Precision("32", CPU))
        guard.step(loss * float("nan") if rank == 1 else loss)
        results[rank] = (guard.non_finite_since(), torch.equal(weights(network), before))


def test_r15_nan_on_one_rank_holds_all_ranks_back():
    import socket

    with socket.socket() as free, torch.multiprocessing.Manager() as manager:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        results = manager.dict()
        torch.multiprocessing.spawn(nan_on_rank_one, (port, results), nprocs=2)
        assert dict(results) == {0: (1, True), 1: (1, True)}
