"""Where the recipe lies that a stock recipe was converted to, and what its user is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from sam2_training.core.errors import ConfigError
from sam2_training.core.files import write_text
from sam2_training.core.rank_variables import rank_numbers
from sam2_training.core.terminal import say
from sam2_training.core.text import shown_lines
from sam2_training.vos.stock.convert import Conversion, convert, weights_name
from sam2_training.vos.stock.values import read_values

SPARE_FOLDER = Path("sam2_logs") / "converted"
"""For recipes in folders that cannot be written, or that belong to an installed package."""
ROOT_TARGET = "sam2.modeling.sam2_base.SAM2Base"


def converted_recipe(path: Path) -> Path:
    """The recipe of this project that a training recipe of the sam2 repository says; written beside it.

    With a network that is not a published one, its architecture lies there too. What has no counterpart is shown, and
    stands at the head of the file. Raises ConfigError where a file of that name has been changed since.
    """
    import yaml

    conversion = convert(read_values(path), path.name)
    folder = _folder(path)
    target = folder / f"{path.stem}_converted.yaml"
    recipe = dict(conversion.recipe)
    recipe["model"] = _network(conversion, folder / f"{path.stem}_architecture.yaml", path) | recipe["model"]
    recipe["model"]["checkpoint"] = _weights(recipe["model"])
    body = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=120)
    _write(target, _head(path, conversion) + body, path)
    if rank_numbers() is None:
        for line in _summary(path, target, conversion):
            say(shown_lines(line), sys.stderr)
    return target


def _folder(path: Path) -> Path:
    is_packaged = "site-packages" in path.parts
    return path.parent if os.access(path.parent, os.W_OK) and not is_packaged else SPARE_FOLDER.absolute()


def _network(conversion: Conversion, architecture: Path, source: Path) -> dict[str, Any]:
    """model.name: a published network where that is the same, else an architecture's file, which is written."""
    import yaml

    from sam2_training.vos.model.names import PUBLISHED, resolve_network

    wanted = {name: value for name, value in conversion.network.items() if value is not None}
    for name in PUBLISHED:
        found = read_values(resolve_network(name).yaml_path)["model"]
        if _comparable(found) == _comparable(wanted):
            return {"name": name}
    content = {"model": {"_target_": ROOT_TARGET, **wanted}}
    _write(architecture, yaml.safe_dump(content, sort_keys=False), source)
    return {"name": str(architecture)}


def _comparable(network: dict[str, Any]) -> dict[str, Any]:
    """Without what training sets by itself: the input's size, which also fixes the rotary encodings' extents."""
    skipped = ("_target_", "image_size", "compile_image_encoder", "feat_sizes")

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items() if key not in skipped or key == "_target_"}
        return value

    return {key: plain(value) for key, value in network.items() if key not in skipped}


def _weights(model: dict[str, Any]) -> str | None:
    """The file where it is there; else the published one of that name where it belongs to the network."""
    from sam2_training.vos.model.names import PUBLISHED, resolve_network

    found: str | None = model["checkpoint"]
    if found is None or Path(found).is_file() or model["name"] not in PUBLISHED:
        return found
    return "auto" if resolve_network(model["name"]).checkpoint_name == weights_name(found) else found


def _head(source: Path, conversion: Conversion) -> str:
    lines = [f"Converted from {source.name}, a training recipe of the sam2 repository."]
    lines += ["Without a counterpart here:", *(f"  {line}" for line in conversion.left)] if conversion.left else []
    return "".join(f"# {line}\n" for line in lines)


def _summary(source: Path, target: Path, conversion: Conversion) -> list[str]:
    lines = [f"{source.name} is a training recipe of the sam2 repository: converted to {target}"]
    if conversion.left:
        lines += ["  without a counterpart here:", *(f"    {line}" for line in conversion.left)]
    return lines


def _write(path: Path, text: str, source: Path) -> None:
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise ConfigError(
                f"{path} differs from what {source.name} is converted to: if you changed it, train with -c {path}; "
                "if not, remove it, and it is written anew"
            )
        return
    try:
        write_text(path, text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}): {source.name} is converted to it") from error
