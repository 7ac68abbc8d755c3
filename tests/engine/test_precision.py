"""Number formats, and the optimizer step that is left out when something is not finite."""

from __future__ import annotations

import pytest
import torch
from sam2_training.core.errors import ConfigError
from sam2_training.core.ranks import Ranks
from sam2_training.engine.precision import MAX_OVERFLOWS, GuardedStep, Precision
from torch import Tensor, nn

CPU = torch.device("cpu")
ONE = Ranks()


def make(
    kind: str = "AdamW",
    precision: Precision | None = None,
    clip: float | None = None,
    ranks: Ranks = ONE,
    budget: int = 0,
):
    torch.manual_seed(0)
    network = nn.Linear(4, 1)
    options = {"fused": True} if kind in ("AdamW", "SGD") else {}
    optimizer = getattr(torch.optim, kind)(network.parameters(), lr=0.1, **options)
    return network, GuardedStep(optimizer, precision or Precision("32", CPU), clip, ranks, budget)


def backward(network: nn.Linear, precision: Precision, factor: float = 1.0) -> Tensor:
    loss = network(torch.arange(8.0).reshape(2, 4)).square().mean() * factor
    network.zero_grad()
    precision.scale(loss).backward()
    return loss.detach()


def failed_step(guard: GuardedStep) -> int | None:
    guard.newly_left_out()
    return guard.non_finite_since()


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
    assert torch.equal(guard.step(loss, 1), expected_norm)
    assert torch.allclose(weights(network), weights(reference), rtol=1e-6)
    assert failed_step(guard) is None


@pytest.mark.parametrize("kind", ["AdamW", "SGD", "Adagrad"])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_r15_nothing_moves_from_the_first_non_finite_step_on(kind, where):
    precision = Precision("32", CPU)
    network, guard = make(kind, clip=0.1)
    guard.step(backward(network, precision), 41)
    before = weights(network)
    loss = backward(network, precision)
    if where == "loss":
        loss = loss * float("nan")
    else:
        network.weight.grad[0, 1] = float("inf")
    norm = guard.step(loss, 42)
    guard.step(backward(network, precision), 43)  # a late check: good steps follow the bad one
    assert torch.equal(weights(network), before)
    assert failed_step(guard) == 42
    assert torch.isfinite(norm) == (where == "loss")


def test_a_step_without_any_gradient_is_harmless():
    network, guard = make(clip=0.1)
    before = weights(network)
    assert guard.step(torch.tensor(1.0), 1) == 0
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
    guard.step(backward(network, precision), 1)
    before, scale = weights(network), precision.scaler.get_scale()
    loss = backward(network, precision)
    network.weight.grad[0, 0] = float("inf")
    guard.step(loss, 2)
    assert torch.equal(weights(network), before)
    assert precision.scaler.get_scale() == scale / 2
    assert failed_step(guard) is None
    guard.step(backward(network, precision), 3)
    assert not torch.equal(weights(network), before)


@pytest.mark.parametrize("kind", ["AdamW", "Adagrad"])
def test_r15_a_non_finite_loss_stops_fp16_training_too(kind):
    precision = with_scaler()
    network, guard = make(kind, precision)
    guard.step(backward(network, precision), 1)
    before = weights(network)
    guard.step(backward(network, precision) * float("nan"), 2)  # only the loss that is told: the gradient is finite
    guard.step(backward(network, precision), 3)
    assert torch.equal(weights(network), before)
    assert failed_step(guard) == 2


def test_r15_endless_fp16_overflow_is_an_error():
    precision = with_scaler()
    network, guard = make("AdamW", precision)
    for number in range(1, MAX_OVERFLOWS + 1):
        assert failed_step(guard) is None
        loss = backward(network, precision)
        network.weight.grad.fill_(float("inf"))
        guard.step(loss, number)
    assert failed_step(guard) == MAX_OVERFLOWS


def test_r02_the_loss_scale_survives_a_resume():
    precision = with_scaler()
    network, guard = make("AdamW", precision)
    for number, factor in enumerate((1.0, float("inf"), 1.0), start=1):
        loss = backward(network, precision)
        network.weight.grad.mul_(factor)
        guard.step(loss, number)
    other = with_scaler()
    _, resumed = make("AdamW", other)
    resumed.load_state_dict(guard.state_dict())
    assert other.scaler.state_dict() == precision.scaler.state_dict()
    assert other.scaler.get_scale() == 2.0**15


class OtherRankFailsAtStepTwo(Ranks):
    """This rank among two, as it sees them: the other one's flag arrives through the exchange alone."""

    exchanges = 0

    def max_tensor(self, values: Tensor) -> Tensor:
        type(self).exchanges += 1
        return torch.ones_like(values) if self.exchanges >= 2 else values


def test_r15_nan_on_another_rank_holds_this_one_back():
    network, guard = make(ranks=OtherRankFailsAtStepTwo())
    precision = Precision("32", CPU)
    start = weights(network)
    guard.step(backward(network, precision), 1)
    before = weights(network)
    assert not torch.equal(before, start)
    guard.step(backward(network, precision), 2)
    assert torch.equal(weights(network), before)
    assert failed_step(guard) == 2


@pytest.mark.parametrize("kind", ["AdamW", "SGD", "Adagrad"])
def test_r15_so_many_steps_are_left_out_and_one_more_stops_all_later_ones(kind):
    network, guard = make(kind, clip=0.1, budget=2)
    reference, other = make(kind, clip=0.1)
    precision = Precision("32", CPU)
    bad = {2, 4, 6}
    for number in range(1, 6):
        guard.step(backward(network, precision, float("nan") if number in bad else 1.0), number)
        if number not in bad:
            other.step(backward(reference, precision), number)
    assert guard.newly_left_out() == [2, 4]
    assert (guard.non_finite_since(), guard.left_out.item()) == (None, 2)
    assert torch.equal(weights(network), weights(reference)), "a step that is left out leaves no trace"
    for number in (6, 7, 8):
        guard.step(backward(network, precision, float("nan") if number in bad else 1.0), number)
    assert guard.newly_left_out() == [6]
    assert (guard.non_finite_since(), guard.left_out.item()) == (6, 3)
    assert torch.equal(weights(network), weights(reference))


def test_r15_the_count_of_left_out_steps_survives_a_resume_and_its_budget_may_change():
    precision = Precision("32", CPU)
    network, guard = make(budget=2)
    guard.step(backward(network, precision, float("nan")), 1)
    resumed_network, resumed = make(budget=1)
    resumed.load_state_dict(guard.state_dict())
    resumed.step(backward(resumed_network, precision), 2)
    assert failed_step(resumed) is None
    resumed.step(backward(resumed_network, precision, float("nan")), 3)
    assert failed_step(resumed) == 3
    assert guard.state_dict() == {"left_out": 1}
