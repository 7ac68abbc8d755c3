"""Weights in and out: strict, safe loading of SAM 2 checkpoints, and the names that stock code reads."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from iopath.common.file_io import g_pathmgr
from torch import Tensor, nn

from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.core.files import sha256_of
from sam2_training.core.safe_load import load_safely
from sam2_training.core.text import some
from sam2_training.vos.foreign_files import OTHER_SAM, foreign_weights
from sam2_training.vos.model.names import PUBLISHED
from sam2_training.vos.model.published import download_command, published_files

ADAPTERS = "adapters"
"""Key of what a run with model.lora saves of its adapters; a file without "model" holds them alone."""

SAFETENSORS_SUFFIX = ".safetensors"
WRAPPER_PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put into parameter names."""

_TRUNK_SHAPES = {(96, 12): PUBLISHED[0], (96, 16): PUBLISHED[1], (112, 24): PUBLISHED[2], (144, 48): PUBLISHED[3]}
"""(width of the first layer, number of blocks) of the image encoder -> published network."""

_DECIDED_BY = {
    "maskmem_tpos_enc": "model.num_maskmem",
    "obj_ptr_tpos_proj.": "model.proj_tpos_enc_in_obj_ptrs",
    **dict.fromkeys(("obj_ptr_proj.", "mask_downsample.", "no_obj_ptr"), "model.use_obj_ptrs_in_encoder"),
}
"""{how names of parameters begin: the key that decides whether the network has them, or their shape}."""

_PUBLISHED_FILE = "sam2.1_hiera_base_plus.pt"
_SHOWN = 3
"""Names that a message lists; further ones are only counted."""


def load_weights(model: nn.Module, path: str) -> None:
    """Loads a checkpoint into `model`: every name and shape must match, and every number must be finite.

    path: anything iopath can open: a published file, a checkpoint of a run, an exported file. It holds {"model": {name:
    tensor}} or the bare {name: tensor}; .safetensors or whatever torch.save wrote.
    Raises CheckpointError for a missing file, a file that is not a checkpoint, one that would run code when unpickled,
    weights of another network, and weights that are not finite; ConfigError for safetensors without the package.
    `model` is unchanged then.
    """
    put_weights(model, read_weights(path), path)


def put_weights(model: nn.Module, weights: dict[str, Tensor], path: str) -> None:
    """`load_weights` with weights that were read already; path: where from, for messages."""
    expected = clean_state_dict(model)
    if weights.keys() != expected.keys() or any(weights[name].shape != expected[name].shape for name in expected):
        raise CheckpointError(_mismatch(weights, expected, path))
    broken = [n for n, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{path}: {len(broken)} of {len(weights)} tensors hold NaN or infinite values, such as {broken[0]}; "
            "use an earlier checkpoint"
        )
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(weights[name])


def clean_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights under the names that stock `sam2` knows: without module. or _orig_mod.

    The tensors share the model's memory.
    """
    return {_clean(name): tensor.detach() for name, tensor in model.state_dict().items()}


def _clean(name: str) -> str:
    for prefix in WRAPPER_PREFIXES:
        name = name.replace(f".{prefix}", ".").removeprefix(prefix)
    return name


def read_weights(path: str) -> dict[str, Tensor]:
    """{name: tensor} of a checkpoint, names as in `clean_state_dict`. Raises as `load_weights`."""
    return weights_in(read_content(path), path)


def read_content(path: str) -> Any:
    """What a checkpoint holds, tensors on the CPU. Raises as `load_weights`."""
    return _read_safetensors(path) if path.endswith(SAFETENSORS_SUFFIX) else load_safely(_local(path), path)


def holds_adapters_alone(content: object) -> bool:
    """Whether what `read_content` found are adapters without the weights that they belong to."""
    return isinstance(content, dict) and isinstance(content.get(ADAPTERS), dict) and "model" not in content


def weights_in(content: Any, path: str) -> dict[str, Tensor]:
    """{name: tensor} of what `read_content` found, names as in `clean_state_dict`. Raises as `load_weights`."""
    if holds_adapters_alone(content):
        raise CheckpointError(
            f"{path} holds adapters alone, not whole weights: merge them first, with the command export and "
            "model.checkpoint=<the weights they were trained on>"
        )
    weights = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(weights, dict) or not weights or not all(isinstance(v, Tensor) for v in weights.values()):
        keys = f"a dictionary with keys {sorted(map(str, content))[:6]}" if isinstance(content, dict) else type(content)
        raise CheckpointError(
            f"{path} holds no network weights: expected {{'model': {{name: tensor}}}} or {{name: tensor}}, found {keys}"
        )
    return {_clean(str(name)): tensor for name, tensor in weights.items()}


def file_sha256(path: str) -> str:
    """SHA-256 (hex) of a checkpoint's bytes. Raises CheckpointError if there is no such file."""
    return sha256_of(_local(path))


def require_safetensors(what: str) -> None:
    """Raises ConfigError, which begins with `what`, when the package safetensors is not installed."""
    if find_spec("safetensors") is None:
        raise ConfigError(
            f"{what}, and the package safetensors is not installed: install it "
            "(pip install safetensors), or use a .pt file"
        )


def _local(path: str) -> Path:
    """The file on this machine. Raises CheckpointError if there is none."""
    if not g_pathmgr.isfile(path):
        name, folder = Path(path).name, Path(path).parent
        cure = f"Download it:\n  {download_command(name, folder)}" if name in published_files() else "Check the path."
        raise CheckpointError(f"the checkpoint {path} does not exist. {cure}")
    return Path(g_pathmgr.get_local_path(path))


def _read_safetensors(path: str) -> dict[str, Tensor]:
    # Not torch.load: torch 2.11, which this project still supports, does not read this format.
    require_safetensors(f"{path} is a safetensors file")
    safetensors = import_module("safetensors")
    try:
        weights: dict[str, Tensor] = import_module("safetensors.torch").load_file(_local(path))
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged, or is not a safetensors file ({error}). Copy it again.") from error
    return weights


def _mismatch(weights: dict[str, Tensor], expected: dict[str, Tensor], path: str) -> str:
    """A sentence on how the weights differ from the network, and which network they fit."""
    other = foreign_weights(weights)
    if other is not None:
        return f"{path} holds weights of {other}, and {OTHER_SAM}: give a published file such as {_PUBLISHED_FILE}"
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    reshaped = [
        f"{name} {list(weights[name].shape)} instead of {list(expected[name].shape)}"
        for name in expected
        if name in weights and weights[name].shape != expected[name].shape
    ]
    groups = {"of another shape": reshaped, "missing": missing, "unexpected": unexpected}
    details = "; ".join(f"{len(names)} {what} ({some(names, _SHOWN)})" for what, names in groups.items() if names)
    differing = [*missing, *unexpected, *(line.split()[0] for line in reshaped)]
    keys = {key for name in differing for start, key in _DECIDED_BY.items() if name.startswith(start)}
    fits = _network_of(weights)
    cure = f"It fits model.name={fits}." if fits else "Give the model.name that these weights were trained with."
    if all(name.startswith(tuple(_DECIDED_BY)) for name in differing):
        cure = f"Set {' and '.join(sorted(keys))} as these weights were trained; null fits published ones."
    return f"{path} holds weights of another network than the one in model.name: {details}. {cure}"


def _network_of(weights: dict[str, Tensor]) -> str | None:
    """The published network that weights belong to, by the image encoder's shape; None for others."""
    first = weights.get("image_encoder.trunk.patch_embed.proj.weight")
    if first is None:
        return None
    blocks = {name.split(".")[3] for name in weights if name.startswith("image_encoder.trunk.blocks.")}
    return _TRUNK_SHAPES.get((int(first.shape[0]), len(blocks)))
