"""From an architecture's YAML to a network that can be trained."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import replace

from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from iopath.common.file_io import g_pathmgr
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from sam2.modeling.sam2_base import SAM2Base
from yaml import YAMLError

from sam2_training.core.errors import ConfigError
from sam2_training.core.vocabulary import nearest
from sam2_training.vos.clips.config import TransformsConfig
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.config import ARCHITECTURE_KEYS, ModelConfig
from sam2_training.vos.model.names import Network, resolve_network
from sam2_training.vos.model.prompts_config import PromptsConfig
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.sam2.neck import feature_stride

ROOT_TARGET = "sam2.modeling.sam2_base.SAM2Base"
"""The class that an architecture's YAML must name at its root; training puts its own subclass there."""


def build_network(
    config: ModelConfig,
    prompts: PromptsConfig | None = None,
    transforms: TransformsConfig | None = None,
) -> TrainableSAM2:
    """The network that `config` names, with random weights, on the CPU, everything trainable.

    The image size and the extents of the rotary position encodings are those of config.image_size. prompts: how prompts
    are simulated (default: as published). transforms: gives mean and std of the pixel values. Parameter names and
    shapes are those of stock `build_sam2`. Hydra's global state is neither read nor changed. Random weights come from
    torch's global generator.
    Raises ConfigError for an unknown name, a YAML that is no SAM 2, or a `_target_` outside the package sam2.
    """
    network = resolve_network(config.name)
    architecture = read_architecture(network)
    _override(architecture, config)
    _set_resolution(architecture, config.image_size)
    _check_combination(architecture)
    parts = _instantiate_parts(architecture, network)
    _check_stride(parts)
    model = TrainableSAM2(prompts or PromptsConfig(), transforms or TransformsConfig(), parts)
    if config.compile:
        model.compile_parts()
    return model


def build_for_inference(config: VosConfig) -> TrainableSAM2:
    """The configured network in eval mode, with random weights, on the CPU.

    Not compiled: each video would compile it again for its number of objects.
    """
    model = replace(config.model, compile=False)
    network = build_network(model, config.prompts, config.transforms)
    network.eval()
    return network


def architecture_fingerprint(name: str) -> str:
    """SHA-256 (hex) of the content of the architecture that model.name names, wherever its file lies."""
    content = OmegaConf.to_container(read_architecture(resolve_network(name)))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_architecture(network: Network) -> DictConfig:
    """The `model` section of an architecture's YAML, interpolations resolved, every `_target_` checked."""
    where = f"architecture {network.yaml_path}"
    try:
        with g_pathmgr.open(str(network.yaml_path)) as file:
            whole = OmegaConf.create(file.read())
        OmegaConf.resolve(whole)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} cannot be read: {str(error).splitlines()[0]}") from error
    section = whole.get("model") if isinstance(whole, DictConfig) else None
    if not isinstance(section, DictConfig):
        raise ConfigError(f"{where} has no section `model` as the published YAMLs of sam2 have")
    # An open `_target_` would run any code that the YAML's author names.
    foreign = [f"{path}={target!r}" for path, target in _targets(section, "model") if not _is_sam2(target)]
    if foreign:
        raise ConfigError(
            f"{where}: only classes of the package sam2 may be named as _target_, found {'; '.join(foreign)}"
        )
    if section.get("_target_") != ROOT_TARGET:
        raise ConfigError(f"{where}: model._target_ must be {ROOT_TARGET}, found {section.get('_target_')!r}")
    arguments = inspect.signature(SAM2Base.__init__).parameters
    required = [name for name, argument in arguments.items() if name != "self" and argument.default is argument.empty]
    missing = [f"model.{name}" for name in required if name not in section]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}, which SAM2Base needs")
    known = ("_target_", *arguments)
    names = [str(key) for key in section]
    unknown = [f"model.{name}{nearest(name, known)}" for name in names if name not in known]
    if unknown:
        raise ConfigError(f"{where}: SAM2Base does not take {'; '.join(unknown)}")
    return section


def _is_sam2(target: object) -> bool:
    """Whether `target` names a class that the package sam2 defines (and not, say, sam2.build_sam.os.system)."""
    if not isinstance(target, str) or not target.startswith("sam2."):
        return False
    try:
        return str(get_class(target).__module__).startswith("sam2.")
    except (ImportError, ValueError):
        return False


def _targets(node: object, path: str) -> Iterator[tuple[str, object]]:
    """(dotted path, value) of every `_target_` below a plain or OmegaConf container."""
    values: object = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
    if isinstance(values, dict):
        for key, value in values.items():
            if key == "_target_":
                yield f"{path}._target_", value
            else:
                yield from _targets(value, f"{path}.{key}")
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from _targets(value, f"{path}[{index}]")


def _set_resolution(architecture: DictConfig, resolution: int) -> None:
    extent = resolution // int(architecture.get("backbone_stride", 16))
    architecture.image_size = resolution
    for attention in ("self_attention", "cross_attention"):
        layer = OmegaConf.select(architecture, f"memory_attention.layer.{attention}")
        if layer is not None and "feat_sizes" in layer:
            layer.feat_sizes = [extent, extent]


def _override(architecture: DictConfig, config: ModelConfig) -> None:
    """Applies the keys of `config` that replace the architecture's own."""
    if config.attention_dropout is not None:
        for attention in ("self_attention", "cross_attention"):
            OmegaConf.update(
                architecture, f"memory_attention.layer.{attention}.dropout", config.attention_dropout, force_add=True
            )
    if config.drop_path_rate is not None:
        OmegaConf.update(architecture, "image_encoder.trunk.drop_path_rate", config.drop_path_rate, force_add=True)
    for name, value in config.replaced_arguments().items():
        OmegaConf.update(architecture, name, value, force_add=True)


def _check_combination(architecture: DictConfig) -> None:
    """Raises ConfigError for arguments that SAM2Base does not take together, or that would have no effect."""
    own = inspect.signature(SAM2Base.__init__).parameters
    value = {name: architecture.get(name, own[name].default) for name in ARCHITECTURE_KEYS}
    if value["proj_tpos_enc_in_obj_ptrs"] and not value["add_tpos_enc_to_obj_ptrs"]:
        raise ConfigError(
            "model.add_tpos_enc_to_obj_ptrs=false, but the architecture projects what it adds: set "
            "model.proj_tpos_enc_in_obj_ptrs=false too"
        )


def _check_stride(parts: dict[str, object]) -> None:
    """Raises ConfigError if backbone_stride is not the stride of the image encoder's features."""
    found, stated = feature_stride(parts["image_encoder"]), parts.get("backbone_stride", 16)
    if stated != found:
        raise ConfigError(
            f"model.backbone_stride={stated}, but this image encoder's features have stride {found}: set it to {found} "
            "or null, or give an architecture YAML with another encoder as model.name"
        )


def _instantiate_parts(architecture: DictConfig, network: Network) -> dict[str, object]:
    """The constructor arguments of SAM2Base: modules built, everything else plain."""
    parts: dict[str, object] = {}
    try:
        for key, value in architecture.items():
            if key == "_target_":
                continue
            is_module = isinstance(value, DictConfig) and "_target_" in value
            parts[str(key)] = instantiate(value) if is_module else _plain(value)
    except InstantiationException as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ConfigError(f"architecture {network.yaml_path}: a part cannot be built: {reason}") from error
    return parts


def _plain(value: object) -> object:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
