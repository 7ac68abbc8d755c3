"""Recipes: finding the YAML file that a name means, and composing it with overrides through Hydra."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sam2_training.core.aliases import Aliases, alias_sections, canonical, names_of
from sam2_training.core.errors import ConfigError
from sam2_training.core.places import CONFIG_ROOT
from sam2_training.core.schema import flatten


@dataclass(frozen=True)
class Recipe:
    """A recipe composed with overrides; `values` gives what it says."""

    file_name: str
    config: Any
    """The DictConfig, interpolations not yet resolved."""
    weights: dict[str, int]
    """{key that the file itself or the command line writes: how much that counts}; what is inherited counts 0."""

    def get(self, key: str, default: Any) -> Any:
        """The value of a top-level key. Raises ConfigError if it cannot be resolved."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        try:
            return OmegaConf.select(self.config, key, default=default)
        except OmegaConfBaseException as error:
            raise _refused(self.file_name, error) from error

    def to_yaml(self) -> str:
        """As composed, interpolations not yet resolved; a recipe in itself."""
        from omegaconf import OmegaConf

        return OmegaConf.to_yaml(self.config)


@dataclass(frozen=True)
class Values:
    """What a recipe says."""

    nested: dict[str, Any]
    """{section: {key: value}}, aliases replaced by the keys they stand for, interpolations resolved."""
    written: dict[str, str]
    """{key: the alias that was written for it}."""
    problems: list[str]


def read_yaml(file_path: Path) -> object:
    """What a YAML file says, as it stands there. Raises ConfigError if it cannot be read."""
    import yaml

    try:
        return yaml.safe_load(file_path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _refused(file_path.name, error) from error


def compose_recipe(file_path: Path, overrides: Sequence[str]) -> Recipe:
    """The YAML file composed with what it builds on and with overrides. Raises ConfigError."""
    # Hydra and OmegaConf take 0.2 s to import, and only composing needs them.
    from omegaconf import OmegaConf

    config = _compose(file_path, [_with_plus(override) for override in overrides])
    OmegaConf.set_struct(config, False)
    own: Any = OmegaConf.to_container(OmegaConf.load(file_path))
    weights = dict.fromkeys(flatten(own), 1)
    for position, override in enumerate(overrides):
        weights.update(dict.fromkeys(_keys_written(override), 2 + position))
    return Recipe(file_path.name, config, weights)


def resolve(recipe: Recipe, aliases: Aliases, keys: Collection[str]) -> Values:
    """The values of a recipe, each key under its own name. Raises ConfigError for what OmegaConf refuses.

    A key may be written under any of its names: the command line counts more than the recipe, the recipe more than
    what it builds on, and interpolations find the winner under every name that is written. Two values that count the
    same are a problem. keys: all keys there are.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        raw, dotted = _without_dotted(cast(dict[str, Any], OmegaConf.to_container(recipe.config)))
        winners, problems = _unify(recipe, raw, aliases)
        resolved: Any = OmegaConf.to_container(recipe.config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise _refused(recipe.file_name, error) from error
    problems += [f"unknown key {key!r}: in a file, write sections with keys, not dots" for key in dotted]
    values = _leaves(raw, resolved)
    nested: dict[str, Any] = {}
    former_sections = alias_sections(aliases, keys)
    # What counts most comes last, and a section after the null that it fills.
    for name in sorted(winners, key=lambda name: (recipe.weights.get(name, 0), values[name] is not None)):
        value = values[name]
        if name in former_sections:
            problems.append(f"{name} must be a section with keys, found {value!r}")
        elif isinstance(value, dict) and name in keys:  # a section that refers to another one
            for inner, inner_value in flatten(value, name).items():
                _put(nested, canonical(inner, aliases).split("."), inner_value)
        else:
            _put(nested, canonical(name, aliases).split("."), value)
    for name in _empty_sections(raw):
        path = canonical(name, aliases).split(".")
        if not _stands_in(nested, path):
            _put(nested, path, {})
    return Values(nested, _written(winners, aliases), problems)


def _written(winners: list[str], aliases: Aliases) -> dict[str, str]:
    """{key: the name that its user wrote}, for all keys that are not named by themselves."""
    written = {canonical(name, aliases): name for name in winners if canonical(name, aliases) != name}
    for alias, key in aliases.items():
        own = {name: name for name in winners if name.startswith(f"{key}.")}
        if any(name.startswith(f"{alias}.") for name in winners):
            written |= {key: alias, **own}  # keys of the section that are not written follow its alias
        elif own:
            written.pop(key, None)
    return written


def _unify(recipe: Recipe, raw: dict[str, Any], aliases: Aliases) -> tuple[list[str], list[str]]:
    """(the name that counts of each key that is written, problems); makes the other names refer to it."""
    from omegaconf import OmegaConf

    text = recipe.to_yaml()
    names: dict[str, list[str]] = {}
    for name in flatten(raw):
        names.setdefault(canonical(name, aliases), []).append(name)
    winners, problems = [], []
    for key, written in names.items():
        written.sort(key=lambda name: -recipe.weights.get(name, 0))
        winner = written[0]
        winners.append(winner)
        for other in written[1:]:
            value, lost = OmegaConf.select(recipe.config, winner), OmegaConf.select(recipe.config, other)
            if value == lost:
                continue
            if recipe.weights.get(winner, 0) == recipe.weights.get(other, 0):
                problems.append(f"{winner}={value} and {other}={lost} are one setting under two names: write it once")
            OmegaConf.update(recipe.config, other, f"${{{winner}}}", merge=False)
        for other in names_of(key, aliases):
            if other not in written and f"${{{other}}}" in text:
                OmegaConf.update(recipe.config, other, f"${{{winner}}}", merge=False)
    return winners, problems


def _keys_written(override: str) -> Iterator[str]:
    """The keys that an override of values (not of a group) sets."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(override)
    if parsed.is_delete():
        return
    value = parsed.value()
    if not _is_group(parsed.key_or_group, value):
        yield from flatten({parsed.key_or_group: value} if value != {} else {})


def _without_dotted(raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values, without keys that have a dot in them, and these keys."""
    kept: dict[str, Any] = {}
    dotted: list[str] = []
    for key, value in raw.items():
        if "." in str(key):
            dotted.append(str(key))
        elif isinstance(value, dict):
            kept[key], inside = _without_dotted(value)
            dotted += inside
        else:
            kept[key] = value
    return kept, dotted


def _leaves(raw: dict[str, Any], resolved: dict[str, Any], path: str = "") -> dict[str, Any]:
    """{full name: resolved value} of every value that stands in `raw`, such as an interpolation of a whole section."""
    found: dict[str, Any] = {}
    for key, value in raw.items():
        name = f"{path}.{key}" if path else str(key)
        found.update(_leaves(value, resolved[key], name) if isinstance(value, dict) else {name: resolved[key]})
    return found


def _empty_sections(raw: dict[str, Any], path: str = "") -> Iterator[str]:
    """Full names of sections without keys, such as an optional one that is switched on with its defaults."""
    for key, value in raw.items():
        name = f"{path}.{key}" if path else str(key)
        if value == {}:
            yield name
        elif isinstance(value, dict):
            yield from _empty_sections(value, name)


def _stands_in(nested: Any, path: list[str]) -> bool:
    for part in path:
        if not isinstance(nested, dict) or part not in nested:
            return False
        nested = nested[part]
    return True


def _put(nested: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        if not isinstance(nested.get(part), dict):
            nested[part] = {}
        nested = nested[part]
    nested[path[-1]] = value


def _refused(file_name: str, error: Exception) -> ConfigError:
    return ConfigError(f"{file_name}: {str(error).splitlines()[0]}")


def find_recipe(name: str) -> Path:
    """The YAML file that a recipe's name or path means. Raises ConfigError naming the nearest recipe."""
    as_path = Path(name)
    if as_path.suffix in (".yaml", ".yml") and as_path.is_file():
        if as_path.suffix == ".yml":
            raise ConfigError(f"{name}: Hydra reads .yaml files only; rename it to {as_path.stem}.yaml")
        return as_path.resolve()
    bare = name.removeprefix("configs/").removeprefix(f"{CONFIG_ROOT.name}/").removesuffix(".yaml").removesuffix(".yml")
    recipes = [run_name(path) for path in sorted(CONFIG_ROOT.glob("*_training/*.yaml"))]
    for candidate in (bare, *(recipe for recipe in recipes if recipe.split("/")[1] == bare)):
        if (CONFIG_ROOT / f"{candidate}.yaml").is_file():
            return CONFIG_ROOT / f"{candidate}.yaml"
    close = difflib.get_close_matches(bare, recipes + [r.split("/")[1] for r in recipes], n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ConfigError(f"no recipe or file {name!r}; {hint}recipes: {', '.join(recipes)}")


def run_name(file_path: Path) -> str:
    """The name of a recipe, <folder>/<stem>; that of a file outside the recipes' folders is its stem."""
    inside = file_path.is_relative_to(CONFIG_ROOT)
    return file_path.relative_to(CONFIG_ROOT).with_suffix("").as_posix() if inside else file_path.stem


def _with_plus(override: str) -> str:
    """Adds ++ to an override of a key: Hydra then takes any key, and `parse_section` names the nearest valid one."""
    if "=" not in override or override.startswith("="):
        raise ConfigError(f"{override!r} is not an override; write key=value, such as seed=7")
    key, value = override.split("=", 1)
    if key.lstrip("+").split(".")[0] == "hydra":
        raise ConfigError(f"unknown key {key.lstrip('+')}: Hydra only composes here, and has no settings of its own")
    if key.startswith(("+", "~")) or _is_group(key, {} if value.lstrip().startswith(("{", "$")) else value):
        return override
    return f"++{override}"


def _compose_groups(compose: Callable[[list[str]], Any], overrides: list[str]) -> Any:
    """What Hydra composes; a group that the recipe does not mention is added to it."""
    from hydra.errors import HydraException

    while True:
        try:
            return compose(overrides)
        except HydraException as error:
            unmentioned = re.match(r"Could not override '([^'@]+)'", str(error))
            given = [override for override in overrides if unmentioned and override.startswith(f"{unmentioned[1]}=")]
            if not given:
                raise
            overrides = [f"+{override}" if override in given else override for override in overrides]


def _is_group(key: str, value: object) -> bool:
    """Whether an override chooses files of a group in sam2_configs.

    Of a section that is also a group, {key: value} are values, and a word is a choice; so does Hydra take them.
    """
    return (CONFIG_ROOT / key).is_dir() and isinstance(value, str | list) and value != "null"


def _compose(file_path: Path, overrides: list[str]) -> Any:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    # The recipe's own folder is Hydra's root, so that the recipe stays outside any package; groups come from ours.
    groups = f"hydra.searchpath=[file://{CONFIG_ROOT}]"
    # A package that initializes Hydra for the whole process relies on its state: save it, and restore it below.
    others = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(file_path.parent), version_base="1.3", job_name="train"):
            return _compose_groups(lambda given: compose(file_path.stem, overrides=[groups, *given]), overrides)
    except OverrideParseException as error:
        raise ConfigError(
            f"{error.override.removeprefix('++')!r} cannot be read: quote a value with = ~ , or brackets in it, "
            "and quote that for the shell: 'key=\"value\"'"
        ) from error
    except (HydraException, OmegaConfBaseException, YAMLError, OSError) as error:
        reason = str(error).split("Config search path")[0].strip()
        raise ConfigError(f"{file_path.name}: {reason}") from error
    finally:
        GlobalHydra.instance().hydra = others
