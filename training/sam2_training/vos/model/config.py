"""Configuration of the network: which one, from which weights, and which part of it learns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sam2_training.core.settings import setting


def square_side(value: Any) -> Any:
    """512 for "512x512" and [512, 512]; what is not a pair stays as it is. Raises ValueError if it is no square."""
    sides = value
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)\s*[xX]\s*(\d+)", value.strip())):
        sides = [int(side) for side in match.groups()]
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return value
    if sides[0] != sides[1]:
        raise ValueError("must be a square, such as 512 or 512x512: the network's input has one side")
    return sides[0]


def no_file_is_auto(value: Any) -> Any:
    """ "auto" for an empty name of a weights file."""
    return "auto" if value == "" else value


@dataclass(frozen=True)
class LoraConfig:
    """Adapters beside layers whose own weights stay as they are: W + alpha / rank * B A, of which A and B learn."""

    targets: tuple[str, ...] = (
        "image_encoder.trunk.blocks.*.attn",
        "memory_attention.layers.*.self_attn",
        "memory_attention.layers.*.cross_attn_image",
        "sam_mask_decoder.transformer",
    )
    """Names or globs of modules, or presets as in model.trainable_modules: every linear layer and every 1x1 convolution
    in them gets an adapter."""
    rank: int = setting(8, at_least=1)
    """Rows of A and columns of B: how much an adapter can express, and its size."""
    alpha: float = setting(16.0, above=0)
    """The product B A counts alpha / rank times."""
    dropout: float = setting(0.0, at_least=0, below=1)
    """Fraction of a layer's inputs that its adapter leaves out, others each time that the layer is used in training."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        if not self.targets:
            yield f"{where}.targets is empty, so nothing would be adapted: name modules, or set {where}=null"


@dataclass(frozen=True)
class ModelConfig:
    """Which SAM 2 network, from which weights, and which part of it learns."""

    name: str = setting("sam2.1_hiera_b+", free=True, aliases=(".config_path", ".model_name"))
    """A published network in any usual spelling (sam2.1_hiera_b+, base_plus, b+, configs/sam2.1/sam2.1_hiera_b+.yaml,
    ...), or the path of an architecture YAML of your own (its `_target_`s must start with `sam2.`). A resume compares
    the file's content, not its name."""
    image_size: int = setting(
        1024,
        multiple_of=32,
        unit="pixels",
        read=square_side,
        aliases=("scratch.resolution", "dataset.image_size", "val_dataset.image_size"),
    )
    """Side of the square network input, as 512, 512x512 or [512, 512]; a multiple of Hiera's strides."""
    checkpoint: str | None = setting("auto", free=True, read=no_file_is_auto, aliases=(".checkpoint_path",))
    """Weights to start from: a file, "auto" or "" (the published file of this network in checkpoints/), or null:
    random."""
    trainable_modules: tuple[str, ...] | None = None
    """What learns: names or globs of modules and parameters, such as memory_attention or image_encoder.neck.*, and
    presets: all, frozen_encoder (all but the image encoder), memory (memory attention, memory encoder, object
    pointers), decoder (the mask decoder), memory+decoder. One name needs no brackets. Everything else is frozen: no
    gradient, no optimizer state, no dropout. null: everything learns; with model.lora, the adapters alone."""
    lora: LoraConfig | None = None
    """Adapters (LoRA) that learn besides model.trainable_modules; null: none. What a run saves has them merged: stock
    sam2 loads it."""
    attention_dropout: float | None = setting(None, at_least=0, below=1)
    """Dropout on the attention weights inside memory attention; null: as in the architecture (0.1). With 0 attention
    takes torch's fused kernels; the dropout on each layer's output stays as it is."""
    drop_path_rate: float | None = setting(None, at_least=0, below=1)
    """Stochastic depth in the image encoder's trunk: the last block is left out with this probability, earlier ones
    with less; null: as in the architecture (0). The published training recipe has 0.1."""
    num_maskmem: int | None = setting(None, at_least=1)
    """Frames whose memory a frame attends to, the first among them; null: as in the architecture (7). Another number
    does not fit published weights."""
    backbone_stride: int | None = setting(None, at_least=1, unit="pixels")
    """Stride of the image features that memory works on; null: as in the architecture (16). It must be that of the
    image encoder, which for Hiera is 16."""
    use_obj_ptrs_in_encoder: bool | None = None
    """Let memory attention attend to object pointers; null: as in the architecture (true). Without them the network
    lacks the layers that make them, so published weights do not fit."""
    max_obj_ptrs_in_encoder: int | None = setting(None, at_least=2)
    """Object pointers that a frame attends to, at most; null: as in the architecture (16)."""
    add_tpos_enc_to_obj_ptrs: bool | None = None
    """Add to each pointer how far away its frame is; null: as in the architecture (true)."""
    proj_tpos_enc_in_obj_ptrs: bool | None = None
    """Project that distance by a layer of its own, which published weights have; null: as in the architecture (true).
    Needs add_tpos_enc_to_obj_ptrs."""
    use_signed_tpos_enc_to_obj_ptrs: bool | None = None
    """Distances of pointers with a sign, so that frames before and after differ; null: as in the architecture
    (true)."""
    multimask_output_in_sam: bool | None = None
    """Predict three candidate masks for a single click on a conditioning frame, and keep the best; null: as in the
    architecture (true)."""
    multimask_output_for_tracking: bool | None = None
    """Predict three candidate masks on tracked frames too; null: as in the architecture (true). Needs
    multimask_output_in_sam."""
    compile: bool = False
    """torch.compile the image encoder and the memory attention (slow first step, then faster; needs a C compiler)."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        if not self.name:
            yield f"{where}.name is empty: give a network such as sam2.1_hiera_t"
        if self.trainable_modules == () and self.lora is None:
            yield (
                f"{where}.trainable_modules is empty, so nothing would learn: name modules, or null for all; or set "
                f"{where}.lora, so that adapters learn"
            )

        if self.proj_tpos_enc_in_obj_ptrs and self.add_tpos_enc_to_obj_ptrs is False:
            yield (
                f"{where}.proj_tpos_enc_in_obj_ptrs=true needs {where}.add_tpos_enc_to_obj_ptrs=true: there would be "
                "nothing to project"
            )
        if self.multimask_output_for_tracking and self.multimask_output_in_sam is False:
            yield (
                f"{where}.multimask_output_for_tracking=true has no effect with "
                f"{where}.multimask_output_in_sam=false; set both to the same"
            )

    def replaced_arguments(self) -> dict[str, Any]:
        """{argument of SAM2Base: value} for all that replaces the architecture's own."""
        found = {name: getattr(self, name) for name in ARCHITECTURE_KEYS if getattr(self, name) is not None}
        if self.use_obj_ptrs_in_encoder is False:
            found["fixed_no_obj_ptr"] = False  # which pointer stands for "no object"; SAM2Base refuses it without any
        return found

    @property
    def learning_modules(self) -> tuple[str, ...]:
        """`trainable_modules`, with what null means."""
        if self.trainable_modules is not None:
            return self.trainable_modules
        return ("all",) if self.lora is None else ()


ARCHITECTURE_KEYS = (
    *("num_maskmem", "backbone_stride", "use_obj_ptrs_in_encoder", "max_obj_ptrs_in_encoder"),
    *("add_tpos_enc_to_obj_ptrs", "proj_tpos_enc_in_obj_ptrs", "use_signed_tpos_enc_to_obj_ptrs"),
    *("multimask_output_in_sam", "multimask_output_for_tracking"),
)
"""Keys of ModelConfig that are arguments of SAM2Base, under its names."""
