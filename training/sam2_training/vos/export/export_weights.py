"""Export: writes a slim file of weights for stock sam2, and verifies it before it gets its name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.core.files import replacing
from sam2_training.vos.clips.config import TransformsConfig
from sam2_training.vos.config import VosConfig
from sam2_training.vos.export.stock_comparison import (
    Tracked,
    comparison_clip,
    track_with_ours,
    track_with_stock,
)
from sam2_training.vos.model.adapter_files import load_result
from sam2_training.vos.model.build import build_for_inference
from sam2_training.vos.model.names import resolve_network
from sam2_training.vos.model.weights import (
    SAFETENSORS_SUFFIX,
    clean_state_dict,
    file_sha256,
    load_weights,
    require_safetensors,
)

FP16_IOU = 0.98
"""Mean IoU with the masks of the full-precision weights that fp16 weights must reach. fp16 keeps 11 bits, a relative
error of at most 2^-11: only pixels on a mask's border may change."""
FP16_LARGEST = 65504.0


@dataclass(frozen=True)
class Exported:
    """A written file."""

    path: Path
    bytes_before: int
    bytes_after: int
    sha256: str
    num_tensors: int
    iou_with_checkpoint: float
    """Mean IoU of its masks with those of the checkpoint on the comparison clip: 1 unless rounded to fp16."""


def check_format(checkpoint: str, output: Path, safetensors: bool) -> None:
    """Raises ConfigError for a file name whose suffix does not match the format, or that is the checkpoint itself."""
    if safetensors:
        require_safetensors("--safetensors")
    if safetensors != (output.suffix == SAFETENSORS_SUFFIX):
        expected = SAFETENSORS_SUFFIX if safetensors else f".pt (or add --safetensors for {SAFETENSORS_SUFFIX})"
        raise ConfigError(f"--output {output}: its name must end with {expected}")
    if output.exists() and Path(checkpoint).exists() and output.samefile(checkpoint):
        raise ConfigError(f"--output {output} is the checkpoint itself, and would replace it; give another name")
    if output.is_dir():
        raise ConfigError(f"--output {output} is a folder; give a file name")


def export_weights(config: VosConfig, checkpoint: str, output: Path, fp16: bool, safetensors: bool) -> Exported:
    """Writes the weights of a checkpoint under stock's names, verifies the file, and gives it its name.

    Stock sam2 loads the unfinished file strictly and tracks a small clip; its masks and presence logits must equal
    ours with the same weights bit for bit. fp16 weights must also agree with the checkpoint's masks to a mean IoU
    of `FP16_IOU`. Raises CheckpointError if they do not, and for a checkpoint that does not fit; no file is left then.
    """
    if config.model.use_obj_ptrs_in_encoder is False:
        raise ConfigError(
            "model.use_obj_ptrs_in_encoder=false: stock sam2 has no such network (it reads no_obj_ptr, which it then "
            "lacks), so there is no file that it could track with"
        )
    model = build_for_inference(config)
    load_result(model, checkpoint, config.model)
    model.use_stock_image_encoder()
    weights = {name: tensor.clone() for name, tensor in clean_state_dict(model).items()}
    weights = _as_fp16(weights, checkpoint) if fp16 else weights
    with replacing(output, f".tmp{output.suffix}") as unfinished:
        _write(unfinished, weights, safetensors)
        network = resolve_network(config.model.name)
        with comparison_clip() as clip:
            ours = before = track_with_ours(model, clip)
            if fp16:  # rounded weights have masks of their own
                load_weights(model, str(unfinished))
                ours = track_with_ours(model, clip)
            stock = track_with_stock(unfinished, network, config.model, clip)
        _require_equal(ours, stock, config)
        iou = before.mean_iou(stock)
        if iou < FP16_IOU:
            raise CheckpointError(
                f"the masks of the weights in fp16 agree with the checkpoint's to a mean IoU of {iou:.4f} only, "
                f"expected at least {FP16_IOU}; nothing was written. Export without --fp16."
            )
        sha256 = file_sha256(str(unfinished))
    before_size = Path(checkpoint).stat().st_size
    return Exported(output, before_size, output.stat().st_size, sha256, len(weights), iou)


def _write(path: Path, weights: dict[str, Tensor], safetensors: bool) -> None:
    if safetensors:
        import_module("safetensors.torch").save_file(weights, str(path), metadata={"format": "pt"})
    else:
        with path.open("wb") as file:  # an open file: torch would write the unfinished file's name into it
            torch.save({"model": weights}, file)


def _as_fp16(weights: dict[str, Tensor], checkpoint: str) -> dict[str, Tensor]:
    """The weights rounded to fp16. Raises CheckpointError for numbers outside its range."""
    large = [n for n, tensor in weights.items() if tensor.is_floating_point() and tensor.abs().max() > FP16_LARGEST]
    if large:
        raise CheckpointError(
            f"{checkpoint}: {len(large)} tensors hold numbers above {FP16_LARGEST:g}, fp16's largest, such as "
            f"{large[0]}. Export without --fp16."
        )
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def _require_equal(ours: Tracked, stock: Tracked, config: VosConfig) -> None:
    different = int(np.count_nonzero(ours.masks != stock.masks))
    if not different and np.array_equal(ours.presence, stock.presence):
        return
    ours_says, stock_says = _normalization(config.transforms), _normalization(TransformsConfig())
    cause = "This is a bug in the export: please report it."
    if ours_says != stock_says:
        cause = (
            f"This recipe normalizes pixels by {ours_says}, stock always by {stock_says}: weights that were trained so "
            "cannot be used with stock sam2."
        )
    raise CheckpointError(
        f"stock sam2 does not give the same masks with the exported weights: {different} of {ours.masks.size} pixels "
        f"differ, presence logits by up to {np.abs(ours.presence - stock.presence).max():.2g}; nothing was written. "
        f"{cause}"
    )


def _normalization(transforms: TransformsConfig) -> str:
    return f"transforms.mean={list(transforms.mean)} and transforms.std={list(transforms.std)}"
