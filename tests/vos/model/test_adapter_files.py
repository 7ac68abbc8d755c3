"""Files with adapters alone: what learned, and with the right base the whole network again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sam2_training.core.errors import CheckpointError
from sam2_training.vos.model.adapter_files import load_result, network_as_saved, write_adapters
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.config import LoraConfig, ModelConfig
from sam2_training.vos.model.freezing import freeze
from sam2_training.vos.model.lora import add_lora
from sam2_training.vos.model.weights import load_weights
from torch import nn

TINY = ModelConfig(name="architecture/tiny.yaml", image_size=64)
LORA = ModelConfig(
    name=TINY.name,
    image_size=64,
    lora=LoraConfig(targets=("memory_attention",), rank=2),
    trainable_modules=("obj_ptr_proj", "memory_attention.layers.0.self_attn.q_proj"),
)


def learned(folder: Path) -> nn.Module:
    """A network on base.pt, with adapters and other modules that learned; saved as run.pt and as adapters.pt."""
    network = build_network(LORA)
    torch.save({"model": network.state_dict()}, folder / "base.pt")
    freeze(network, LORA.learning_modules)
    assert LORA.lora is not None
    add_lora(network, LORA.lora)
    as_saved = network_as_saved(LORA)
    for _ in range(2):  # the frozen weights are looked at once
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        torch.save(as_saved(network), folder / "run.pt")
    assert write_adapters(str(folder / "run.pt"), folder / "adapters.pt") == 20
    return network


def config(folder: Path, name: str = "base.pt") -> ModelConfig:
    return ModelConfig(name=TINY.name, image_size=64, checkpoint=str(folder / name))


def test_adapters_with_their_base_are_the_merged_network_bit_for_bit(tmp_path: Path) -> None:
    learned(tmp_path)
    merged, expected = build_network(TINY), build_network(TINY)
    load_result(merged, str(tmp_path / "adapters.pt"), config(tmp_path))
    load_weights(expected, str(tmp_path / "run.pt"))
    for name, tensor in merged.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name]), name
    base = torch.load(tmp_path / "base.pt", weights_only=True)["model"]
    changed = {name for name, tensor in merged.state_dict().items() if not torch.equal(tensor, base[name])}
    assert {name.split(".")[0] for name in changed} == {"memory_attention", "obj_ptr_proj"}


def test_the_file_holds_what_learned_and_nothing_else(tmp_path: Path) -> None:
    network = learned(tmp_path)
    content = torch.load(tmp_path / "adapters.pt", weights_only=True)
    assert list(content) == ["adapters"]
    learning = {name: tensor for name, tensor in network.named_parameters() if tensor.requires_grad}
    assert content["adapters"]["weights"].keys() == learning.keys()
    num_bytes = sum(4 * tensor.numel() for tensor in learning.values())
    assert (tmp_path / "adapters.pt").stat().st_size == pytest.approx(num_bytes, abs=60_000)


def test_another_base_is_refused_though_its_names_and_shapes_fit(tmp_path: Path) -> None:
    learned(tmp_path)
    content = torch.load(tmp_path / "base.pt", weights_only=True)
    content["model"]["memory_attention.norm.bias"][3] += 1e-3
    torch.save(content, tmp_path / "other.pt")
    network = build_network(TINY)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"adapters of other weights than .*other\.pt"):
        load_result(network, str(tmp_path / "adapters.pt"), config(tmp_path, "other.pt"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_base_that_learned_besides_may_differ_where_it_is_replaced(tmp_path: Path) -> None:
    """What the file itself holds is not compared: it takes the place of the base's."""
    learned(tmp_path)
    content = torch.load(tmp_path / "base.pt", weights_only=True)
    content["model"]["obj_ptr_proj.layers.0.bias"] += 1.0
    torch.save(content, tmp_path / "other.pt")
    network, expected = build_network(TINY), build_network(TINY)
    load_result(network, str(tmp_path / "adapters.pt"), config(tmp_path, "other.pt"))
    load_weights(expected, str(tmp_path / "run.pt"))
    assert torch.equal(network.obj_ptr_proj.layers[0].bias, expected.obj_ptr_proj.layers[0].bias)


def test_without_a_base_and_as_weights_to_start_from_it_is_said_what_to_do(tmp_path: Path) -> None:
    learned(tmp_path)
    network = build_network(TINY)
    with pytest.raises(CheckpointError, match="holds adapters alone, and model"):
        load_result(network, str(tmp_path / "adapters.pt"), ModelConfig(name=TINY.name, checkpoint=None))
    with pytest.raises(CheckpointError, match="merge them first"):
        load_weights(network, str(tmp_path / "adapters.pt"))
    with pytest.raises(CheckpointError, match="holds no adapters"):
        write_adapters(str(tmp_path / "base.pt"), tmp_path / "more.pt")
    assert not (tmp_path / "more.pt").exists()


def test_without_lora_files_hold_the_network_as_it_is() -> None:
    network = build_network(TINY)
    saved = network_as_saved(TINY)(network)
    assert list(saved) == ["model"]
    assert saved["model"].keys() == network.state_dict().keys()
