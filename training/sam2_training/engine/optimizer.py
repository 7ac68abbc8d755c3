"""The optimizer: any class of torch.optim by name, with its state kept by parameter name."""

from __future__ import annotations

import difflib
import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.core.text import some
from sam2_training.engine.optimizer_config import OptimizerConfig
from sam2_training.engine.param_groups import parameter_groups

UNSUITED = {
    "LBFGS": "it evaluates the loss several times a step",
    "SparseAdam": "it takes sparse gradients only",
    "Optimizer": "it is the base class",
}
"""Classes of torch.optim that this loop cannot drive, with the reason."""

FUSED = ("Adam", "AdamW", "SGD")
"""Classes with fused kernels on CPU and CUDA in every supported version of torch."""


def build_optimizer(model: nn.Module, config: OptimizerConfig, device: torch.device) -> torch.optim.Optimizer:
    """The optimizer over the model's trainable parameters, grouped by `parameter_groups`.

    Uses torch's fused kernels where the class has them: one pass over memory (on CPU 2.7 times faster than the loop
    over parameters), and they can skip a step without waiting for the device (`GuardedStep`).
    Raises ConfigError for an unknown class, or an option that the class does not have.
    """
    cls = _optimizer_class(config.type)
    accepted = inspect.signature(cls).parameters
    default = OptimizerConfig()
    options: dict[str, Any] = {}
    problems = []
    for key in ("betas", "eps"):
        value = getattr(config, key)
        if value is not None and key in accepted:
            options[key] = value
        elif value not in (None, getattr(default, key)):
            problems.append(f"torch.optim.{config.type} takes no {key}: leave optimizer.{key} out")
    if config.weight_decay and "weight_decay" not in accepted:
        problems.append(f"torch.optim.{config.type} takes no weight_decay: set optimizer.weight_decay=0")
    problems += option_problems(
        "optimizer", config.type, config.options, accepted, own=("params", "lr", *vars(default))
    )
    if problems:
        raise ConfigError(problems)
    options |= config.options
    if config.type in FUSED and device.type in ("cpu", "cuda"):
        options["fused"] = True
    groups = parameter_groups(model, config)
    try:
        optimizer: torch.optim.Optimizer = cls(groups, lr=config.lr, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"torch.optim.{config.type} refuses its options or parameters: {error}") from error
    return optimizer


def _optimizer_class(name: str) -> Any:
    classes = {
        key: value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and key not in UNSUITED
    }
    if name in UNSUITED:
        raise ConfigError(
            f"optimizer.type={name!r} does not work here, because {UNSUITED[name]}; use one of {', '.join(classes)}"
        )
    if name not in classes:
        close = difflib.get_close_matches(name, classes, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ConfigError(f"optimizer.type={name!r} is not in torch.optim; {hint}there are {', '.join(classes)}")
    return classes[name]


def option_problems(
    section: str, class_name: str, options: Mapping[str, Any], accepted: Iterable[str], own: Iterable[str]
) -> list[str]:
    """A sentence for each of a section's options that torch's class does not take, or that has a key of its own.

    accepted: names of the class's arguments; own: names that are not given as options.
    """
    own = set(own)
    names = [name for name in accepted if name not in own]
    problems = []
    for name in options:
        if name in own:
            problems.append(
                f"{section}.options.{name} has a key of its own, or is set by the run: see {section}.{name}"
            )
        elif name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            problems.append(
                f"{section}.options.{name}: {class_name} takes no {name}; {hint}there are {', '.join(names)}"
            )
    return problems


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """{"type", "names", "state": {parameter name: {key: tensor or number}}}, plain types only.

    Tensors are the optimizer's own, not copies: save or clone them before the next step. Learning rates are not in it,
    because they follow from the configuration and the step. A parameter that never had a gradient has no state.
    """
    state = {
        name: dict(optimizer.state[parameter])
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        if parameter in optimizer.state
    }
    return {"type": type(optimizer).__name__, "names": _names(optimizer), "state": state}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Puts a state of `optimizer_state` back, bit for bit, on the parameters' devices; the given tensors are copied.

    Raises CheckpointError when it belongs to an optimizer of another class or of other parameters.
    """
    kind = type(optimizer).__name__
    if state["type"] != kind:
        raise CheckpointError(
            f"the checkpoint holds the state of a {state['type']} optimizer, this run uses {kind}: "
            f"set optimizer.type={state['type']}"
        )
    saved_names, names = set(state["names"]), _names(optimizer)
    missing, surplus = sorted(set(names) - saved_names), sorted(saved_names - set(names))
    if missing or surplus:
        raise CheckpointError(
            "the checkpoint's optimizer state belongs to other parameters than this run trains\n"
            f"  trained here, not in the checkpoint  {some(missing, 3)}\n"
            f"  in the checkpoint, not trained here  {some(surplus, 3)}\n"
            "Set model.name, model.trainable_modules and model.lora as in the run that made it."
        )
    # torch's own method moves each value to where this optimizer needs it, and identifies parameters by position.
    by_position = {
        position: {key: _copy(value) for key, value in state["state"][name].items()}
        for position, name in enumerate(names)
        if name in state["state"]
    }
    optimizer.load_state_dict({"state": by_position, "param_groups": optimizer.state_dict()["param_groups"]})


class OptimizerState:
    """An optimizer's state by parameter name, to be saved and restored."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        """See `optimizer_state`."""
        return optimizer_state(self.optimizer)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `load_optimizer_state`."""
        load_optimizer_state(self.optimizer, state)


def describe_groups(optimizer: torch.optim.Optimizer) -> list[str]:
    """Lines for the start banner: the class, then size, rates and weight decay of the parts of the network.

    Parts (the first word of a parameter's name) that are treated alike share a line.
    """
    sizes: dict[str, int] = defaultdict(int)
    undecayed: dict[str, int] = defaultdict(int)
    rates: dict[str, set[float]] = defaultdict(set)
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            part = name.split(".")[0]
            sizes[part] += parameter.numel()
            rates[part].add(group["initial_lr"])
            undecayed[part] += parameter.numel() if not group["weight_decay"] else 0
    alike: dict[tuple[float, float], list[str]] = defaultdict(list)
    for part in sorted(sizes, key=lambda part: -sizes[part]):
        alike[min(rates[part]), max(rates[part])].append(part)
    labels = {parts[0]: _label(parts) if len(alike) > 1 else "all" for parts in alike.values()}
    width = max(map(len, labels.values()))
    decay = max(group["weight_decay"] for group in optimizer.param_groups)
    fused = " (fused)" if optimizer.defaults.get("fused") else ""
    lines = [f"{type(optimizer).__name__}{fused}, {len(optimizer.param_groups)} parameter groups"]
    for (low, high), parts in alike.items():
        size, spared = (sum(counts[part] for part in parts) for counts in (sizes, undecayed))
        lr = f"lr {high:.2e}" if low == high else f"lr {low:.2e} to {high:.2e}"
        lines.append(
            f"{labels[parts[0]]:<{width}}  {count_text(size):>7}  {lr:<23}  {_decay_text(decay, size, spared)}"
        )
    return lines


def _label(parts: list[str]) -> str:
    """Names of parts, in short."""
    if len(parts) <= 2:
        return ", ".join(parts)
    return f"{parts[0]} and {len(parts) - 1} other parts"


def _decay_text(decay: float, size: int, spared: int) -> str:
    """Weight decay of a part of `size` parameters, `spared` of which have none."""
    if spared == size:
        return "no weight decay"
    return f"weight decay {decay:g}" + (f" ({count_text(spared)} without)" if spared else "")


def count_text(number: int) -> str:
    """A count in short: 80.8 M, 31.2 k, 512."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {letter}"
    return str(number)


def _names(optimizer: torch.optim.Optimizer) -> list[str]:
    return [name for group in optimizer.param_groups for name in group["names"]]


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
