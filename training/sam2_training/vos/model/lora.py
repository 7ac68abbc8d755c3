"""LoRA: low-rank updates of layers' weights, which learn while the weights themselves stay frozen."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2_training.core.errors import ConfigError
from sam2_training.vos.model.config import LoraConfig
from sam2_training.vos.model.freezing import matches

DOWN, UP = "lora_A", "lora_B"
"""Names of an adapter's parameters, beside the weight of its layer."""


class Adapted(nn.Module):
    """A layer whose weight is W + alpha / rank * B A. W keeps its name `weight` among parameters and in state_dict.

    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, eq. 3. `layer.weight` gives the sum, so it
    also holds where a forward pass reads the weight itself, as in vos/sam2/windows.py and neck.py.
    """

    lora_A: nn.Parameter
    """A, [rank, inputs]"""
    lora_B: nn.Parameter
    """B, [outputs, rank]; 0 at the start, so that the layer begins as it was."""
    lora_scale: float
    lora_dropout: float

    @property
    def weight(self) -> Tensor:
        """The weight with the adapter; in training mode the adapter leaves out inputs at random."""
        down: Tensor = self.lora_A
        if self.training and self.lora_dropout:
            down = down * F.dropout(torch.ones_like(down[0]), self.lora_dropout)
        return self._sum(down)

    def merged_weight(self) -> Tensor:
        """The weight with the whole adapter, in any mode; without a graph."""
        with torch.no_grad():
            return self._sum(self.lora_A)

    def _sum(self, down: Tensor) -> Tensor:
        base = self._parameters["weight"]
        assert base is not None
        return low_rank_sum(base, down, self.lora_B, self.lora_scale)


class AdaptedLinear(Adapted, nn.Linear):  # type: ignore[override]
    """nn.Linear with an adapter."""


class AdaptedConv2d(Adapted, nn.Conv2d):  # type: ignore[override]
    """A 1x1 nn.Conv2d with an adapter."""


def low_rank_sum(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """weight + scale * (up @ down), in the shape of `weight`."""
    # Under autocast too: a small update of a weight needs the weight's own precision.
    with torch.autocast(weight.device.type, enabled=False):
        return weight + (scale * (up @ down)).view_as(weight)


def add_lora(model: nn.Module, config: LoraConfig) -> None:
    """Adds adapters to the layers that config.targets names, in place; the results stay what they were, bit for bit.

    Adapters learn; whether anything else does stays as it is. A is drawn from torch's global generator, as weights of
    a linear layer are. Raises ConfigError for every target without a layer that can be adapted.
    """
    layers = {name: module for name, module in model.named_modules() if _is_adaptable(module)}
    unmatched = [target for target in config.targets if not any(matches(name, target) for name in layers)]
    if unmatched:
        raise ConfigError([_no_match(target, list(layers)) for target in unmatched])
    for name, layer in layers.items():
        if any(matches(name, target) for target in config.targets):
            _adapt(layer, config)
    model.train(model.training)  # what is frozen in eval mode is decided anew


def adapted_layers(model: nn.Module) -> Iterator[tuple[str, Adapted]]:
    """Every layer with an adapter, by name."""
    yield from ((name, module) for name, module in model.named_modules() if isinstance(module, Adapted))


def merged_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights as stock has them: adapters added to the weights of their layers, without their own names.

    Tensors of other layers share the model's memory.
    """
    adapters = adapter_weights(model)
    weights = {name: tensor for name, tensor in model.state_dict().items() if name not in adapters}
    weights.update({f"{name}.weight": layer.merged_weight() for name, layer in adapted_layers(model)})
    return weights


def adapter_weights(model: nn.Module) -> dict[str, Tensor]:
    """{name: tensor} of the adapters; they share the model's memory."""
    return {
        f"{name}.{part}": getattr(layer, part).detach() for name, layer in adapted_layers(model) for part in (DOWN, UP)
    }


def describe_lora(model: nn.Module, config: LoraConfig | None) -> list[str]:
    """A line for the start banner; none without LoRA."""
    if config is None:
        return []
    layers, size = len(list(adapted_layers(model))), sum(tensor.numel() for tensor in adapter_weights(model).values())
    dropout = f", dropout {config.dropout:g}" if config.dropout else ""
    return [f"LoRA: rank {config.rank}, alpha {config.alpha:g}{dropout}: {size:,} parameters beside {layers} layer(s)"]


def _is_adaptable(module: nn.Module) -> bool:
    if type(module) is nn.Conv2d:
        return tuple(module.kernel_size) == (1, 1) and module.groups == 1
    return type(module) is nn.Linear


def _adapt(layer: nn.Module, config: LoraConfig) -> None:
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    outputs, inputs = weight.shape[:2]
    down = torch.empty(config.rank, inputs, dtype=weight.dtype, device=weight.device)
    nn.init.kaiming_uniform_(down, a=math.sqrt(5))
    layer.register_parameter(DOWN, nn.Parameter(down))
    layer.register_parameter(UP, nn.Parameter(weight.new_zeros(outputs, config.rank)))
    layer.lora_scale, layer.lora_dropout = config.alpha / config.rank, config.dropout  # type: ignore[assignment]
    layer.__class__ = AdaptedConv2d if isinstance(layer, nn.Conv2d) else AdaptedLinear


def _no_match(target: str, layers: list[str]) -> str:
    parts = [
        ".".join(words[:end]) for words in (name.split(".") for name in layers) for end in range(1, len(words) + 1)
    ]
    close = difflib.get_close_matches(target, list(dict.fromkeys(parts)), n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    return (
        f"model.lora.targets: {target!r} holds no layer that can be adapted (nn.Linear, or nn.Conv2d with a 1x1 kernel)"
        f"{hint}"
    )
