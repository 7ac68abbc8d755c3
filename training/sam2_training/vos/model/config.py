"""Configuration of the network: which one, from which weights, and which part of it learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sam2_training.core.settings import setting


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

    name: str = setting("sam2.1_hiera_b+", free=True)
    """A published network in any usual spelling (sam2.1_hiera_b+, base_plus, b+, configs/sam2.1/sam2.1_hiera_b+.yaml,
    ...), or the path of an architecture YAML of your own (its `_target_`s must start with `sam2.`). A resume compares
    the file's content, not its name."""
    image_size: int = setting(1024, multiple_of=32, unit="pixels", aliases=("scratch.resolution",))
    """Side of the square network input; a multiple of Hiera's strides."""
    checkpoint: str | None = setting("auto", free=True)
    """Weights to start from: a file, "auto" (the published file of this network in checkpoints/), or null: random."""
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

    @property
    def learning_modules(self) -> tuple[str, ...]:
        """`trainable_modules`, with what null means."""
        if self.trainable_modules is not None:
            return self.trainable_modules
        return ("all",) if self.lora is None else ()
