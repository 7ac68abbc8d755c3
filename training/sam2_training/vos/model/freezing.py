"""Freezes parameters by name or glob, and shows which are trainable as a table."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from sam2_training.core.errors import ConfigError

OWN_PARAMETERS = "(embeddings)"
"""Row of the table for parameters that belong to no part, such as no_obj_ptr."""
MEMORY_PARTS = (
    *("memory_attention", "memory_encoder", "maskmem_tpos_enc", "obj_ptr_proj", "obj_ptr_tpos_proj"),
    *("mask_downsample", "no_mem_pos_enc", "no_obj_ptr", "no_obj_embed_spatial"),
)
"""Parts of SAM2Base that only frames after a clip's first one use."""
ENCODER, DECODER = "image_encoder", "sam_mask_decoder"


@dataclass(frozen=True)
class Preset:
    """A name for several parts of the network."""

    meaning: str
    includes: Callable[[str], bool]
    """Whether a part, the first word of a parameter's name, is one of them."""


PRESETS = {
    "all": Preset("everything", lambda part: True),
    "frozen_encoder": Preset("all but the image encoder", lambda part: part != ENCODER),
    "memory": Preset("memory attention, memory encoder, object pointers", lambda part: part in MEMORY_PARTS),
    "decoder": Preset("the mask decoder", lambda part: part == DECODER),
    "memory+decoder": Preset(
        "memory attention, memory encoder, object pointers, mask decoder",
        lambda part: part in MEMORY_PARTS or part == DECODER,
    ),
}
"""What model.trainable_modules takes besides names and globs."""


def freeze(model: nn.Module, trainable_modules: tuple[str, ...]) -> None:
    """Leaves only the named modules and parameters trainable.

    trainable_modules: names or globs of modules or parameters, such as memory_attention, image_encoder.neck.* or
    no_obj_ptr, and names of `PRESETS`; a module's name stands for all its parameters. The others get
    requires_grad=False, and parts in which nothing learns go to eval mode and stay there (see TrainableSAM2.train): no
    dropout, no drop path.
    Raises ConfigError for every name that matches no parameter, with the nearest that does.
    """
    names = [name for name, _ in model.named_parameters()]
    unmatched = [pattern for pattern in trainable_modules if not any(matches(name, pattern) for name in names)]
    if unmatched:
        raise ConfigError([_no_match(pattern, names) for pattern in unmatched])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(matches(name, pattern) for pattern in trainable_modules))
    model.train(model.training)


def matches(name: str, pattern: str) -> bool:
    """Whether `pattern` is a preset with the parameter or module, or matches it or a module that contains it."""
    if pattern in PRESETS:
        return PRESETS[pattern].includes(name.split(".")[0])
    return any(fnmatchcase(prefix, pattern) for prefix in _prefixes(name))


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _no_match(pattern: str, parameter_names: list[str]) -> str:
    known = list(dict.fromkeys(prefix for name in parameter_names for prefix in _prefixes(name)))
    close = difflib.get_close_matches(pattern, [*PRESETS, *known], n=1, cutoff=0.5)
    parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in parameter_names))
    hint = f"did you mean {close[0]}? " if close else ""
    presets = ", ".join(PRESETS)
    return f"model.trainable_modules: {pattern!r} matches no parameter; {hint}Parts: {parts}. Presets: {presets}"


def explained_presets(trainable_modules: tuple[str, ...]) -> list[str]:
    """A line for the start banner on each preset that is used."""
    used = [pattern for pattern in trainable_modules if pattern in PRESETS]
    return [f"model.trainable_modules: {pattern} = {PRESETS[pattern].meaning}" for pattern in used]


def memory_remark(model: nn.Module, num_frames: int) -> list[str]:
    """A line for the start banner if trainable parameters have no gradient because clips have one frame only."""
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    idle = [name for name in names if name.split(".")[0] in MEMORY_PARTS]
    if num_frames > 1 or not idle:
        return []
    parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in idle))
    return [
        "WARNING: memory does not learn: a clip of one frame (dataset.num_frames=1) has no earlier frame to remember. "
        f"{len(idle)} of {len(names)} trainable tensors get no gradient ({parts}). For videos: scratch.num_frames=8"
    ]


def trainable_table(model: nn.Module) -> list[str]:
    """Lines for the start banner: parameters, trainable ones and their share, for each part and in all."""
    counts: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        part = name.split(".")[0] if "." in name else OWN_PARAMETERS
        row = counts.setdefault(part, [0, 0])
        row[0] += parameter.numel()
        row[1] += parameter.numel() if parameter.requires_grad else 0
    counts["total"] = [sum(row[column] for row in counts.values()) for column in (0, 1)]
    width = max(len(part) for part in counts)
    lines = [f"{'part':<{width}}  {'parameters':>12}  {'trainable':>12}       "]
    for part, (total, trainable) in counts.items():
        lines.append(f"{part:<{width}}  {total:>12,}  {trainable:>12,}  {trainable / max(total, 1):>5.0%}")
    return [line.rstrip() for line in lines]
