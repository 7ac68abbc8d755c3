"""Weights in and out: strict, safe, and with a message that says what to do."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from sam2_training.core.errors import CheckpointError
from sam2_training.vos.model.names import PUBLISHED, resolve_network
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.model.weights import clean_state_dict, load_weights
from torch import Tensor, nn

NORM = "memory_attention.norm.weight"


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in clean_state_dict(model).items()}


def saved(content: object, folder: Path) -> str:
    path = folder / "weights.pt"
    torch.save(content, path)
    return str(path)


def refusal(model: nn.Module, path: str) -> str:
    """The message with which a file is refused; the model must stay as it was."""
    before = copies(model)
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in clean_state_dict(model).items())
    assert path in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_published_and_bare_dictionaries_load_exactly(
    network: TrainableSAM2, tmp_path: Path, prefix: str, wrapped: bool
) -> None:
    wanted = {name: torch.randn_like(tensor) for name, tensor in clean_state_dict(network).items()}
    bare = {prefix + name: tensor for name, tensor in wanted.items()}
    load_weights(network, saved({"model": bare} if wrapped else bare, tmp_path))
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in network.state_dict().items())


def test_names_are_bare_inside_any_wrapper_and_memory_is_shared(network: TrainableSAM2) -> None:
    bare = list(network.state_dict())
    wrapper = nn.Module()
    wrapper.module = nn.Module()
    wrapper.module._orig_mod = network
    network.image_encoder.trunk = torch.compile(network.image_encoder.trunk)
    assert any("trunk._orig_mod." in name for name in network.state_dict())
    clean = clean_state_dict(wrapper)
    assert sorted(clean) == sorted(bare)
    assert clean[NORM].data_ptr() == network.memory_attention.norm.weight.data_ptr()
    assert not clean[NORM].requires_grad


def test_missing_unexpected_and_reshaped_tensors_are_all_named(network: TrainableSAM2, tmp_path: Path) -> None:
    content = copies(network)
    del content[NORM]
    content["no_obj_ptr"] = torch.zeros(1, 7)
    content["surplus"] = torch.zeros(1)
    message = refusal(network, saved({"model": content}, tmp_path))
    assert f"1 missing ({NORM})" in message
    assert "1 unexpected (surplus)" in message
    assert "1 of another shape (no_obj_ptr [1, 7] instead of [1, 128])" in message


@pytest.mark.parametrize("key", PUBLISHED)
def test_weights_of_another_network_name_the_one_they_fit(network: TrainableSAM2, tmp_path: Path, key: str) -> None:
    trunk = OmegaConf.load(resolve_network(key).yaml_path).model.image_encoder.trunk
    stages = trunk.get("stages", [2, 3, 16, 3])  # Hiera's default
    content = {f"image_encoder.trunk.blocks.{n}.norm1.weight": torch.zeros(1) for n in range(sum(stages))}
    content["image_encoder.trunk.patch_embed.proj.weight"] = torch.zeros(trunk.get("embed_dim", 96), 3, 7, 7)
    of_first_release = saved({"model": content}, tmp_path)
    assert "It fits" not in refusal(network, of_first_release)
    content["no_obj_embed_spatial"] = torch.zeros(1, 64)
    assert f"It fits model.name={key}." in refusal(network, saved({"model": content}, tmp_path))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(network: TrainableSAM2, tmp_path: Path, value: float) -> None:
    content = copies(network)
    content[NORM][3] = value
    message = refusal(network, saved({"model": content}, tmp_path))
    assert f"1 of {len(content)} tensors" in message
    assert NORM in message


def test_a_malicious_file_is_refused_by_the_name_of_what_it_would_call(network: TrainableSAM2, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    content = {**copies(network), "payload": Malicious(trace)}
    assert "posix.system" in refusal(network, saved({"model": content}, tmp_path))
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(Malicious(trace)))
    assert "posix.system" in refusal(network, str(plain))
    assert not trace.exists()


@pytest.mark.parametrize("damage", ["empty", "text", "half"])
def test_a_file_that_is_no_checkpoint_is_named(network: TrainableSAM2, tmp_path: Path, damage: str) -> None:
    path = Path(saved({"model": copies(network)}, tmp_path))
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"<html>404</html>", "half": whole[: len(whole) // 2]}[damage])
    assert "is damaged, or is not a checkpoint" in refusal(network, str(path))


@pytest.mark.parametrize("content", [{}, {"model": {}}, [1, 2], {"epoch": 3}, {"model": {"a": 1}}])
def test_a_file_without_weights_is_refused(network: TrainableSAM2, tmp_path: Path, content: object) -> None:
    assert "holds no network weights" in refusal(network, saved(content, tmp_path))


def test_a_missing_published_file_shows_how_to_fetch_it(network: TrainableSAM2, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "sam2.1_hiera_tiny.pt"
    assert f"checkpoints/download.sh --folder {path.parent} sam2.1_hiera_tiny.pt" in refusal(network, str(path))
    message = refusal(network, str(tmp_path / "mine.pt"))
    assert "does not exist" in message
    assert "download" not in message
