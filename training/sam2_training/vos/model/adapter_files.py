"""Adapters as files: what learned beside frozen weights, a few MB, and the way back to whole weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sam2_training.core.errors import CheckpointError
from sam2_training.core.files import replacing
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.lora import DOWN, UP, adapted_layers, low_rank_sum, merged_state_dict
from sam2_training.vos.model.published import initial_checkpoint
from sam2_training.vos.model.weights import (
    ADAPTERS,
    holds_adapters_alone,
    put_weights,
    read_content,
    read_weights,
    weights_in,
)


def network_as_saved(config: ModelConfig) -> Callable[[nn.Module], dict[str, Any]]:
    """A function that gives what files of a run hold of its network: {"model": {name: tensor}}.

    With LoRA the adapters are merged there, and "adapters" stands beside it: {"weights": {name: tensor} of all that
    learns, "scale": {layer: factor of B A}, "base_sha256": of what is frozen}.
    """
    if config.lora is None:
        return lambda model: {"model": model.state_dict()}
    base_sha256 = ""

    def with_adapters(model: nn.Module) -> dict[str, Any]:
        nonlocal base_sha256
        learning = {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.requires_grad}
        if not base_sha256:  # what is frozen never changes
            base_sha256 = sha256_of_weights({n: t for n, t in model.state_dict().items() if n not in learning})
        scale = {name: layer.lora_scale for name, layer in adapted_layers(model)}
        adapters = {"weights": learning, "scale": scale, "base_sha256": base_sha256}
        return {"model": merged_state_dict(model), ADAPTERS: adapters}

    return with_adapters


def load_result(model: nn.Module, path: str, config: ModelConfig) -> None:
    """`load_weights` for a file with whole weights, or for one with adapters alone (see `write_adapters`).

    The base of adapters is what config.checkpoint names. Raises as `load_weights`, and CheckpointError for adapters of
    another base.
    """
    content = read_content(path)
    if not holds_adapters_alone(content):
        put_weights(model, weights_in(content, path), path)
        return
    base = initial_checkpoint(config)
    if base is None:
        raise CheckpointError(
            f"{path} holds adapters alone, and model.checkpoint is null: set model.checkpoint to the weights that the "
            "adapters were trained on"
        )
    put_weights(model, _merged(read_weights(base), content[ADAPTERS], path, base), path)


def write_adapters(checkpoint: str, output: Path) -> int:
    """Writes the adapters of a run's checkpoint, or of its best weights, to a file of their own; their number.

    Raises CheckpointError for a checkpoint without adapters.
    """
    content = read_content(checkpoint)
    if not isinstance(content, dict) or ADAPTERS not in content:
        raise CheckpointError(
            f"{checkpoint} holds no adapters: a run with model.lora writes them into checkpoint.pt and best_*.pt"
        )
    # Copies: what is saved of a view is the whole of what it looks at.
    adapters = {**content[ADAPTERS], "weights": {n: t.clone() for n, t in content[ADAPTERS]["weights"].items()}}
    with replacing(output, ".tmp.pt") as unfinished, unfinished.open("wb") as file:
        torch.save({ADAPTERS: adapters}, file)
    return len(adapters["scale"])


def sha256_of_weights(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over names, types, shapes and bytes of tensors, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _merged(base: dict[str, Tensor], adapters: Mapping[str, Any], path: str, base_path: str) -> dict[str, Tensor]:
    """Whole weights from those of the base and what learned beside them."""
    learned: dict[str, Tensor] = adapters["weights"]
    frozen = {name: tensor for name, tensor in base.items() if name not in learned}
    if sha256_of_weights(frozen) != adapters["base_sha256"]:
        raise CheckpointError(
            f"{path} holds adapters of other weights than {base_path}: set model.checkpoint to the file that the run "
            "started from"
        )
    merged = {name: learned.get(name, tensor) for name, tensor in base.items()}
    for layer, scale in adapters["scale"].items():
        name = f"{layer}.weight"
        merged[name] = low_rank_sum(merged[name], learned[f"{layer}.{DOWN}"], learned[f"{layer}.{UP}"], scale)
    return merged
