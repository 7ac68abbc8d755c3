"""The kinds of training: the configuration class of each, and its task, imported when it is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sam2_training.core.aliases import in_written_words
from sam2_training.core.errors import ConfigError
from sam2_training.core.recipes import compose_recipe, find_recipe, read_yaml, resolve, run_name
from sam2_training.core.schema import parse_section
from sam2_training.core.settings import alias_table, keys_of, value_problems
from sam2_training.core.vocabulary import Vocabulary
from sam2_training.engine.config import LoadedConfig, RunConfig
from sam2_training.vos.config import VosConfig
from sam2_training.vos.foreign_files import foreign_recipe, is_stock_recipe
from sam2_training.vos.stock.files import converted_recipe

if TYPE_CHECKING:
    from sam2_training.engine.run import TaskFactory  # imports torch


@dataclass(frozen=True)
class Registration:
    """A kind of training."""

    config_class: type[RunConfig]
    task: str
    """Where its task is, as module:class; imported only when a run begins, since it needs torch."""
    check: str = ""
    """What finds all that a run would refuse before its first step, as module:function; "": nothing beside the
    configuration. Takes the configuration, whether to open the data, and what describes the model for the engine; gives
    lines for the terminal."""


TASKS = {"vos": Registration(VosConfig, "sam2_training.vos.task:VosTask", "sam2_training.vos.check:check_start")}
"""{name in a recipe: kind of training}."""

DEFAULT_TASK = "vos"
"""What a recipe without `task` trains."""

ConfigT = TypeVar("ConfigT", bound=RunConfig)


@overload
def load_config(name: str, overrides: Sequence[str] = ()) -> LoadedConfig[RunConfig]:
    """The configuration of a recipe of any task."""


@overload
def load_config(name: str, overrides: Sequence[str], wanted: type[ConfigT]) -> LoadedConfig[ConfigT]:
    """The configuration of a recipe of a task whose configuration is a `wanted`."""


def load_config(name: str, overrides: Sequence[str] = (), wanted: type[RunConfig] = RunConfig) -> LoadedConfig[Any]:
    """The checked configuration of a recipe.

    name: a recipe (sam2.1_training/custom_finetune, custom_finetune, configs/sam2.1_training/custom_finetune.yaml) or
    the path of a YAML file. overrides: key=value or ++key=value; group=choice for the groups in sam2_configs. wanted:
    the class of configurations that the caller works with; RunConfig: that of any task.
    Raises ConfigError with every problem found. Does not import torch.
    """
    file_path = find_recipe(name)
    content = read_yaml(file_path)
    if (foreign := foreign_recipe(file_path.name, content)) is not None:
        raise ConfigError(foreign)
    if is_stock_recipe(content):
        file_path = converted_recipe(file_path)
    recipe = compose_recipe(file_path, overrides)
    task = recipe.get("task", DEFAULT_TASK)
    config_class = registered(task).config_class
    if not issubclass(config_class, wanted):
        names = [name for name, kind in TASKS.items() if issubclass(kind.config_class, wanted)]
        raise ConfigError(f"task={task}: this command needs a recipe of the task {' or '.join(names)}")
    keys, aliases = [key.path for key in keys_of(config_class)], alias_table(config_class)
    values = resolve(recipe, aliases, keys)
    found: list[str] = []
    config: RunConfig = parse_section(
        config_class, values.nested, "", found, Vocabulary([*keys, *aliases], config_class.foreign_keys)
    )
    across_sections = [] if found else config.problems()
    found = [*found, *value_problems(config), *config.metric_problems(), *across_sections]
    if problems := values.problems + [in_written_words(problem, values.written) for problem in found]:
        raise ConfigError(list(dict.fromkeys(problems)))
    return LoadedConfig(config, run_name(file_path), recipe.to_yaml(), values.written)


def registered(task: object) -> Registration:
    """The kind of training of that name. Raises ConfigError naming the nearest."""
    if task in TASKS:
        return TASKS[str(task)]
    close = difflib.get_close_matches(str(task), TASKS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ConfigError(f"task={task!r} is not a kind of training; {hint}there are: {', '.join(TASKS)}")


def task_class(config: RunConfig) -> TaskFactory[Any, Any, Any]:
    """The class of the task that a configuration is for; imports torch."""
    found: TaskFactory[Any, Any, Any] = _imported(registered(config.task).task)
    return found


def check_start(config: RunConfig, with_data: bool) -> Iterator[str]:
    """Lines on what a run of this configuration would start from; imports torch. Raises what the run would raise."""
    import torch

    from sam2_training.engine.optimizer import build_optimizer, describe_groups

    def optimizer_lines(model: torch.nn.Module) -> list[str]:
        return ["# optimizer", *describe_groups(build_optimizer(model, config.optimizer, torch.device("cpu")))]

    check = registered(config.task).check
    if check:
        yield from _imported(check)(config, with_data, optimizer_lines)


def _imported(place: str) -> Any:
    """What module:name names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
