"""Parameter groups: the learning rate and weight decay of each parameter, chosen by globs of names."""

from __future__ import annotations

import difflib
import fnmatch
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from sam2_training.core.errors import ConfigError
from sam2_training.engine.optimizer_config import OptimizerConfig


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Groups for torch.optim, one for each pair of learning rate and weight decay that occurs.

    A group is {"params", "names", "lr", "initial_lr", "weight_decay"}: lr and initial_lr are the group's rate at the
    start of the schedule, layer decay included; names are the parameters' names in `model`, in the order of "params".
    Frozen parameters are in no group. The order follows `model.named_parameters()` and so never changes.

    Raises ConfigError, with all problems at once, when a pattern or module class matches nothing in the model (frozen
    parameters count as a match), when layer decay is asked for on a module that the model lacks, or when nothing
    learns.
    """
    names = [name for name, _ in model.named_parameters()]
    problems = _unmatched_patterns(model, names, config)
    exempt_classes, class_problems = _module_classes(model, config.no_weight_decay_modules)
    scales, scale_problems = _layer_scales(model, names, config)
    if problems := problems + class_problems + scale_problems:
        raise ConfigError(problems)

    exempt_ids = {
        id(parameter)
        for module in model.modules()
        if type(module) in exempt_classes
        for parameter in module.parameters(recurse=False)
    }
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        lr = _learning_rate(name, config) * scales.get(name, 1.0)
        exempt = id(parameter) in exempt_ids or _matches_any(name, config.no_weight_decay)
        weight_decay = 0.0 if exempt else config.weight_decay
        fresh = {"params": [], "names": [], "lr": lr, "initial_lr": lr, "weight_decay": weight_decay}
        group = groups.setdefault((lr, weight_decay), fresh)
        group["params"].append(parameter)
        group["names"].append(name)
    if not groups:
        raise ConfigError(
            f"all {len(names)} parameters of the model are frozen, so nothing would learn: name modules to train in "
            "model.trainable_modules, or set it to null to train everything"
        )
    return list(groups.values())


def _learning_rate(name: str, config: OptimizerConfig) -> float:
    """The rate before layer decay: the last matching entry of optimizer.lr_groups, else optimizer.lr."""
    for group in reversed(config.lr_groups):
        if fnmatch.fnmatchcase(name, group.pattern):
            return group.lr
    return config.lr


def _layer_scales(
    model: nn.Module, names: Iterable[str], config: OptimizerConfig
) -> tuple[dict[str, float], list[str]]:
    """Factors {name: decay ** (number of layers + 1 - layer)} of the trunk's parameters, and problems.

    Layers are counted from the input, by the trunk's own get_num_layers and get_layer_id; the first matching entry of
    optimizer.layer_decay_overrides replaces a parameter's factor. (Bao et al., "BEiT", 2022, appendix; layer_decay.)
    """
    prefix = config.layer_decay_module
    modules = dict(model.named_modules())
    trunk: Any = modules.get(prefix)
    wanted = config.layer_decay != 1 or any(override.value != 1 for override in config.layer_decay_overrides)
    if not wanted:
        return {}, []
    if trunk is None:
        return {}, [
            f"optimizer.layer_decay_module={prefix!r}: the model has no such module{_nearest(prefix, modules)}; "
            "name another, or set optimizer.layer_decay=1 and optimizer.layer_decay_overrides=[]"
        ]
    if not (hasattr(trunk, "get_layer_id") and hasattr(trunk, "get_num_layers")):
        return {}, [
            f"optimizer.layer_decay_module={prefix!r} is a {type(trunk).__name__}, which does not number its layers "
            "(get_layer_id, get_num_layers); set optimizer.layer_decay=1 and optimizer.layer_decay_overrides=[]"
        ]
    inside = [name for name in names if name.startswith(f"{prefix}.")]
    problems = [
        f"optimizer.layer_decay_overrides: {override.pattern!r} matches no parameter of {prefix}"
        + _nearest(override.pattern, _pattern_candidates(inside))
        for override in config.layer_decay_overrides
        if not fnmatch.filter(inside, override.pattern)
    ]
    depth = int(trunk.get_num_layers()) + 1
    scales = {name: config.layer_decay ** (depth - int(trunk.get_layer_id(name))) for name in inside}
    for override in reversed(config.layer_decay_overrides):
        scales.update({name: override.value for name in inside if fnmatch.fnmatchcase(name, override.pattern)})
    return scales, problems


def _module_classes(model: nn.Module, class_names: Sequence[str]) -> tuple[set[type], list[str]]:
    """The classes of that name that the model is made of, and a problem for each name that finds none."""
    in_model = {type(module) for module in model.modules()}
    found: set[type] = set()
    problems: list[str] = []
    for class_name in class_names:
        package, _, short_name = class_name.rpartition(".")
        # Looked up among what is imported already: a name in a YAML file must not cause an import.
        named = getattr(sys.modules.get(package), short_name, None)
        matching = {cls for cls in in_model if cls is named}
        found |= matching
        if not matching:
            spellings = {cls.__name__: _public_name(cls) for cls in in_model}
            close = difflib.get_close_matches(short_name, spellings, n=1, cutoff=0.4)
            hint = f"; did you mean {spellings[close[0]]}?" if close else ""
            problems.append(f"optimizer.no_weight_decay_modules: no module of the model is a {class_name}{hint}")
    return found, problems


def _public_name(cls: type) -> str:
    in_torch = getattr(nn, cls.__name__, None) is cls
    return f"torch.nn.{cls.__name__}" if in_torch else f"{cls.__module__}.{cls.__qualname__}"


def _unmatched_patterns(model: nn.Module, names: list[str], config: OptimizerConfig) -> list[str]:
    """A sentence for each glob that matches no parameter at all."""
    patterns = [("optimizer.no_weight_decay", pattern) for pattern in config.no_weight_decay]
    patterns += [("optimizer.lr_groups", group.pattern) for group in config.lr_groups]
    return [
        f"{key}: {pattern!r} matches no parameter of the model{_nearest(pattern, _pattern_candidates(names))}"
        for key, pattern in patterns
        if not fnmatch.filter(names, pattern)
    ]


def _matches_any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _pattern_candidates(names: Iterable[str]) -> list[str]:
    """Names, and the globs people write: one below each module, one around each word of a name."""
    candidates: dict[str, None] = {}
    for name in names:
        words = name.split(".")
        candidates[name] = None
        candidates.update((".".join(words[:i]) + ".*", None) for i in range(1, len(words)))
        candidates.update((f"*{word}*", None) for word in words if not word.isdigit())
    return list(candidates)


def _nearest(text: str, candidates: Iterable[str]) -> str:
    close = difflib.get_close_matches(text, list(candidates), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
