"""Building an optimizer from the config, and its state by parameter name."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.engine.optimizer import (
    build_optimizer,
    count_text,
    describe_groups,
    load_optimizer_state,
    optimizer_state,
)
from sam2_training.engine.optimizer_config import LrGroupConfig, OptimizerConfig

from tests.engine.small_network import Network

CPU = torch.device("cpu")
CONFIG = OptimizerConfig(lr=1e-2, layer_decay=0.9, layer_decay_module="image_encoder.trunk")


def train(network: Network, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        optimizer.zero_grad()
        network(torch.randn(2, 3, generator=torch.Generator().manual_seed(step))).square().backward()
        optimizer.step()


def through_a_file(state: dict) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kind", ["AdamW", "SGD", "RMSprop", "NAdam", "Adafactor"])
def test_r02_training_continues_bit_for_bit_from_a_saved_state(kind):
    options = {"AdamW": {}, "NAdam": {}, "SGD": {"betas": None, "eps": None}}.get(kind, {"betas": None})
    config = replace(CONFIG, type=kind, **options)
    if kind == "Adafactor":
        config = replace(config, eps=None)
    torch.manual_seed(0)
    network = Network()
    optimizer = build_optimizer(network, config, CPU)
    train(network, optimizer, 3)
    saved = through_a_file({"model": network.state_dict(), "optimizer": optimizer_state(optimizer)})
    train(network, optimizer, 3, first=3)

    resumed = Network()
    resumed.load_state_dict(saved["model"])
    other = build_optimizer(resumed, config, CPU)
    load_optimizer_state(other, saved["optimizer"])
    train(resumed, other, 3, first=3)
    for name, value in network.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    again = optimizer_state(other)["state"]
    for name, values in optimizer_state(optimizer)["state"].items():
        assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(again[name][k])) for k, v in values.items())


def test_loaded_state_is_a_copy():
    network, other = Network(), Network()
    first, second = (build_optimizer(net, CONFIG, CPU) for net in (network, other))
    train(network, first, 1)
    state = optimizer_state(first)
    before = state["state"]["head.1.weight"]["exp_avg"].clone()
    load_optimizer_state(second, state)
    train(other, second, 1)
    assert torch.equal(state["state"]["head.1.weight"]["exp_avg"], before)


def test_state_goes_by_name_not_by_position():
    torch.manual_seed(0)
    network = Network()
    plain = build_optimizer(network, CONFIG, CPU)
    train(network, plain, 2)
    regrouped = build_optimizer(network, replace(CONFIG, lr_groups=(LrGroupConfig("head.*", 0.1),)), CPU)
    load_optimizer_state(regrouped, optimizer_state(plain))
    for name, parameter in network.named_parameters():
        assert torch.equal(regrouped.state[parameter]["exp_avg"], plain.state[parameter]["exp_avg"]), name
    assert {group["lr"] for group in regrouped.param_groups} >= {0.1}


def test_a_parameter_without_gradient_has_no_state_and_needs_none():
    network = Network()
    optimizer = build_optimizer(network, CONFIG, CPU)
    network.head[1].weight.sum().backward()
    optimizer.step()
    state = optimizer_state(optimizer)
    assert list(state["state"]) == ["head.1.weight"]
    load_optimizer_state(build_optimizer(Network(), CONFIG, CPU), state)


def test_state_of_other_parameters_is_refused_by_name():
    frozen = Network()
    frozen.image_encoder.requires_grad_(False)
    state = optimizer_state(build_optimizer(frozen, CONFIG, CPU))
    with pytest.raises(CheckpointError, match=r"image_encoder\.neck\.bias.*\n.*none"):
        load_optimizer_state(build_optimizer(Network(), CONFIG, CPU), state)


def test_state_of_another_optimizer_is_refused():
    sgd = replace(CONFIG, type="SGD", betas=None, eps=None)
    state = optimizer_state(build_optimizer(Network(), sgd, CPU))
    with pytest.raises(CheckpointError, match=r"optimizer\.type=SGD"):
        load_optimizer_state(build_optimizer(Network(), CONFIG, CPU), state)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "AdamV"}, "did you mean Adam"),
        ({"type": "LBFGS"}, "several times a step"),
        ({"type": "SGD", "betas": (0.5, 0.9)}, "takes no betas: leave optimizer.betas out"),
        ({"type": "SGD", "eps": 1e-3}, "takes no eps"),
        ({"type": "Rprop"}, "optimizer.weight_decay=0"),
        ({"options": {"momentun": 0.9}, "type": "SGD"}, "did you mean momentum"),
        ({"options": {"lr": 0.9}}, "has a key of its own, or is set by the run: see optimizer.lr"),
        ({"options": {"amsgrad": "a"}, "type": "SGD"}, "SGD takes no amsgrad"),
        ({"options": {"momentum": -1}, "type": "SGD"}, "refuses"),
        ({"betas": (1.5, 0.9)}, "refuses"),
    ],
)
def test_an_optimizer_that_cannot_work_is_a_config_error(changes, message):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        build_optimizer(Network(), replace(CONFIG, **changes), CPU)


def test_options_reach_the_optimizer():
    optimizer = build_optimizer(Network(), replace(CONFIG, betas=(0.8, 0.95), eps=1e-6), CPU)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["betas"] == (0.8, 0.95)
    assert optimizer.defaults["eps"] == 1e-6
    assert optimizer.defaults["fused"] is True


def test_options_of_a_class_reach_it_and_defaults_that_it_does_not_take_are_left_out():
    config = replace(CONFIG, type="SGD", options={"momentum": 0.9, "nesterov": True})
    optimizer = build_optimizer(Network(), config, CPU)
    assert (optimizer.defaults["momentum"], optimizer.defaults["nesterov"]) == (0.9, True)
    assert "betas" not in optimizer.defaults


def test_banner_lines_show_each_part_with_its_rates_and_alike_ones_together():
    lines = describe_groups(build_optimizer(Network(), CONFIG, CPU))
    assert lines[0] == "AdamW (fused), 10 parameter groups"
    assert [line.split()[0] for line in lines[1:]] == ["image_encoder", "head"]
    assert "lr 6.56e-03 to 1.00e-02  weight decay 0.1 (" in lines[1]
    assert "lr 1.00e-02 " in lines[2]
    (all_alike,) = describe_groups(build_optimizer(Network(), OptimizerConfig(lr=1e-2), CPU))[1:]
    assert all_alike.startswith("all ")
    assert count_text(80_800_000) == "80.8 M"
