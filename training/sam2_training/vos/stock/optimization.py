"""How a stock recipe trains: epochs, optimizer, parameter groups, schedule, precision."""

from __future__ import annotations

from typing import Any

from sam2_training.core.errors import ConfigError
from sam2_training.vos.stock.values import Taken

OPTIONS, MODIFIERS = "trainer.optim.options", "trainer.optim.param_group_modifiers"
SCHEDULES = {
    "CosineParamScheduler": ("cosine", "start_value", "end_value"),
    "LinearParamScheduler": ("linear", "start_value", "end_value"),
    "ConstantParamScheduler": ("constant", "value", "value"),
}
"""{class of fvcore: (the shape here, where its first and its last value stand)}."""
DIGITS = 12
"""Significant enough for a quotient of two rates that were written in decimals."""


def optimization(values: Taken, file_name: str) -> dict[str, Any]:
    """The sections trainer, optimizer and scheduler. Raises ConfigError for a schedule that has no counterpart."""
    phases = values.look("trainer.data.train.phases_per_epoch", 1)
    epochs = values.take("trainer.max_epochs", 1) // phases
    optimizer, scheduler = _rates(values, file_name)
    return {
        "trainer": {
            "max_epochs": epochs,
            "precision": _precision(values),
            "gradient_clip_val": _clip_value(values),
        },
        "optimizer": {**_class(values), **optimizer, **_weight_decay(values), **_layer_decay(values)},
        "scheduler": scheduler,
    }


def _precision(values: Taken) -> str:
    amp = values.take("trainer.optim.amp") or {}
    if not amp.get("enabled", False):
        return "32"
    return "16-mixed" if amp.get("amp_dtype") == "float16" else "auto"  # bfloat16 on a GPU


def _clip_value(values: Taken) -> float | None:
    if values.look("trainer.optim.gradient_clip.norm_type", 2) != 2:
        return None  # stays in the list of what has no counterpart
    clip = values.take("trainer.optim.gradient_clip") or {}
    bound: float | None = clip.get("max_norm")
    return bound


def _class(values: Taken) -> dict[str, Any]:
    arguments = dict(values.take("trainer.optim.optimizer") or {})
    name = str(arguments.pop("_target_", "torch.optim.AdamW")).rsplit(".", 1)[-1]
    arguments.pop("_partial_", None)
    own = {key: arguments.pop(key) for key in ("betas", "eps") if key in arguments}
    rest = {key: value for key, value in arguments.items() if key not in ("lr", "weight_decay")}
    return {"type": name, **own, "options": rest}


def _rates(values: Taken, file_name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(rates of all parameters and of groups, the schedule that all of them follow)."""
    optimizer: dict[str, Any] = {"lr_groups": []}
    shapes = set()
    for number in range(values.count(f"{OPTIONS}.lr")):
        path = f"{OPTIONS}.lr.{number}"
        name = values.target(f"{path}.scheduler")
        if name not in SCHEDULES:
            raise ConfigError(f"{file_name}: the learning rate follows {name}, for which there is no counterpart here")
        shape, first, last = SCHEDULES[name]
        rate, end = (float(values.take(f"{path}.scheduler.{key}")) for key in (first, last))
        shapes.add((shape, round(end / rate, DIGITS) if rate else 1.0))
        patterns = values.take(f"{path}.param_names")
        if patterns is None:
            optimizer["lr"] = rate
        for pattern in patterns or ():
            is_vision = pattern == "image_encoder.*"
            optimizer |= {"vision_lr": rate} if is_vision else {}
            optimizer["lr_groups"].append({"pattern": pattern, "lr": "${optimizer.vision_lr}" if is_vision else rate})
    if len(shapes) != 1 or "lr" not in optimizer:
        raise ConfigError(
            f"{file_name}: {OPTIONS}.lr must give a rate for all parameters, and one schedule for all rates "
            f"(found {sorted(shapes) or 'none'})"
        )
    shape, factor = shapes.pop()
    return optimizer, {"type": shape} if shape == "constant" else {"type": shape, "end_factor": factor}


def _weight_decay(values: Taken) -> dict[str, Any]:
    decay: dict[str, Any] = {"weight_decay": 0.0, "no_weight_decay": [], "no_weight_decay_modules": []}
    for number in range(values.count(f"{OPTIONS}.weight_decay")):
        path = f"{OPTIONS}.weight_decay.{number}"
        section = values.look(path)
        if values.look(f"{path}.scheduler.value") is None:
            continue  # it changes over the run: listed
        names, modules = section.get("param_names"), section.get("module_cls_names")
        if names is None and modules is None:
            decay["weight_decay"] = values.take(f"{path}.scheduler")["value"]
        elif section["scheduler"]["value"] == 0:
            values.take(path)
            decay["no_weight_decay"] += names or []
            decay["no_weight_decay_modules"] += modules or []
    return decay


def _layer_decay(values: Taken) -> dict[str, Any]:
    for number in range(values.count(MODIFIERS)):
        path = f"{MODIFIERS}.{number}"
        if str(values.look(f"{path}._target_")).endswith(".layer_decay_param_modifier"):
            found = values.take(path)
            return {
                "layer_decay": found["layer_decay_value"],
                "layer_decay_module": found["apply_to"],
                "layer_decay_overrides": found.get("overrides") or [],
            }
    return {"layer_decay": 1.0}
