"""A network with a checkpoint's weights, ready for inference, and what identifies the file."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from iopath.common.file_io import g_pathmgr
from torch import Tensor

from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.core.files import sha256_of
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.model.weights import clean_state_dict, load_weights

SAFETENSORS_SUFFIX = ".safetensors"


def unloaded_network(config: VosConfig) -> TrainableSAM2:
    """The configured network in evaluation mode, with random weights, on the CPU.

    It is not compiled: every video would compile it anew for its number of objects.
    """
    model = replace(config.model, compile=False)
    network = build_network(model, config.scratch.resolution, config.prompts, config.transforms)
    network.eval()
    return network


def load_checkpoint(model: TrainableSAM2, path: str) -> None:
    """Loads a published file, a training's checkpoint or an exported file (.pt, .safetensors) into the network.

    Raises CheckpointError as `load_weights` does, ConfigError for safetensors without the package.
    """
    if not path.endswith(SAFETENSORS_SUFFIX):
        load_weights(model, path)
        return
    weights = read_safetensors(path)
    expected = clean_state_dict(model)
    wrong = [name for name in weights.keys() | expected.keys() if not _same_shape(weights, expected, name)]
    if wrong:
        raise CheckpointError(
            f"{path} holds weights of another network than the one in model.name: {len(wrong)} of {len(expected)} "
            f"tensors are missing, unexpected or of another shape, such as {min(wrong)}. "
            "Give the model.name that these weights were trained with."
        )
    broken = sorted(name for name, tensor in weights.items() if not tensor.isfinite().all())
    if broken:
        raise CheckpointError(f"{path}: {len(broken)} tensors hold NaN or infinite values, such as {broken[0]}")
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(weights[name])


def read_safetensors(path: str) -> dict[str, Tensor]:
    """{name: tensor} of a safetensors file. Raises CheckpointError for a missing or damaged one."""
    require_safetensors(f"{path} is a safetensors file")
    if not g_pathmgr.isfile(path):
        raise CheckpointError(f"the checkpoint {path} does not exist. Check the path.")
    safetensors = import_module("safetensors")
    try:
        weights: dict[str, Tensor] = import_module("safetensors.torch").load_file(g_pathmgr.get_local_path(path))
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged, or is not a safetensors file ({error}). Copy it again.") from error
    return weights


def require_safetensors(what: str) -> None:
    """Raises ConfigError, which begins with `what`, when the package safetensors is not installed."""
    if find_spec("safetensors") is None:
        raise ConfigError(
            f"{what}, and the package safetensors is not installed: install it "
            "(pip install safetensors), or use a .pt file"
        )


def file_sha256(path: str) -> str:
    """SHA-256 (hex) of a file's bytes. Raises CheckpointError if there is no such file."""
    if not g_pathmgr.isfile(path):
        raise CheckpointError(f"the checkpoint {path} does not exist. Check the path.")
    return sha256_of(Path(g_pathmgr.get_local_path(path)))


def _same_shape(weights: dict[str, Tensor], expected: dict[str, Tensor], name: str) -> bool:
    return name in weights and name in expected and weights[name].shape == expected[name].shape
