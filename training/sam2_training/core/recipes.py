"""Recipes: finding the YAML file that a name means, and composing it with overrides through Hydra."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from sam2_training.core.errors import ConfigError
from sam2_training.core.places import CONFIG_ROOT


def compose_recipe(file_path: Path, overrides: Sequence[str]) -> Any:
    """The composed DictConfig of a YAML file, interpolations not yet resolved. Raises ConfigError."""
    return _compose(file_path, [_with_plus(override) for override in overrides])


def resolve(composed: Any, file_path: Path) -> dict[str, Any]:
    """The nested values of a composed recipe, interpolations resolved. Raises ConfigError."""
    # Hydra and OmegaConf take 0.2 s to import, and only composing needs them.
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{file_path.name}: {str(error).splitlines()[0]}") from error


def find_recipe(name: str) -> Path:
    """The YAML file that a recipe's name or path means. Raises ConfigError naming the nearest recipe."""
    as_path = Path(name)
    if as_path.suffix in (".yaml", ".yml") and as_path.is_file():
        if as_path.suffix == ".yml":
            raise ConfigError(f"{name}: Hydra reads .yaml files only; rename it to {as_path.stem}.yaml")
        return as_path.resolve()
    bare = name.removeprefix("configs/").removeprefix("sam2_configs/").removesuffix(".yaml").removesuffix(".yml")
    recipes = [run_name(path) for path in sorted(CONFIG_ROOT.glob("*_training/*.yaml"))]
    for candidate in (bare, *(recipe for recipe in recipes if recipe.split("/")[1] == bare)):
        if (CONFIG_ROOT / f"{candidate}.yaml").is_file():
            return CONFIG_ROOT / f"{candidate}.yaml"
    close = difflib.get_close_matches(bare, recipes + [r.split("/")[1] for r in recipes], n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ConfigError(f"no recipe or file {name!r}; {hint}recipes: {', '.join(recipes)}")


def run_name(file_path: Path) -> str:
    """The name of a recipe, such as a_training/recipe; that of a file elsewhere is its stem."""
    inside = file_path.is_relative_to(CONFIG_ROOT)
    return file_path.relative_to(CONFIG_ROOT).with_suffix("").as_posix() if inside else file_path.stem


def _with_plus(override: str) -> str:
    """An override in Hydra's words: ++ for keys, so that ours is the one place that knows the valid ones."""
    if "=" not in override or override.startswith("="):
        raise ConfigError(f"{override!r} is not an override; write key=value, such as seed=7")
    key = override.split("=", 1)[0]
    if key.lstrip("+").split(".")[0] == "hydra":
        raise ConfigError(f"unknown key {key.lstrip('+')}: Hydra only composes here, and has no settings of its own")
    if key.startswith(("+", "~")) or (CONFIG_ROOT / key).is_dir():
        return override
    return f"++{override}"


def _compose(file_path: Path, overrides: list[str]) -> Any:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    # The recipe's own folder is Hydra's root, so that the recipe stays outside any package; groups come from ours.
    groups = f"hydra.searchpath=[file://{CONFIG_ROOT}]"
    # Importing sam2 initializes Hydra for the whole process, and its users rely on that: it is lent and given back.
    others = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(file_path.parent), version_base="1.3", job_name="train"):
            return compose(file_path.stem, overrides=[groups, *overrides])
    except OverrideParseException as error:
        raise ConfigError(
            f"{error.override.removeprefix('++')!r} cannot be read: quote a value with = ~ , or brackets in it, "
            "and quote that for the shell: 'key=\"value\"'"
        ) from error
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        reason = str(error).split("Config search path")[0].strip()
        raise ConfigError(f"{file_path.name}: {reason}") from error
    finally:
        GlobalHydra.instance().hydra = others
