"""Keys with two names, in recipes, on the command line, in messages, and in checkpoints of before."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from sam2_training.core.errors import ConfigError
from sam2_training.core.schema import as_dict, flatten
from sam2_training.core.settings import alias_table, keys_of
from sam2_training.engine.config import LoadedConfig
from sam2_training.tasks import TASKS, load_config
from sam2_training.vos.config import VosConfig

from tests.places import REPOSITORY

RECIPE = "sam2.1_training/custom_finetune"
FORMER: dict[str, Any] = json.loads((REPOSITORY / "tests" / "former_config.json").read_text())
"""What a checkpoint of custom_finetune held before its keys moved to their owners."""


def load(*overrides: str, recipe: str = RECIPE) -> LoadedConfig[VosConfig]:
    return load_config(recipe, overrides, VosConfig)


def problems_of(*overrides: str, recipe: str = RECIPE) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(*overrides, recipe=recipe)
    return raised.value.problems


def own_recipe(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


FOLDERS = "dataset: {img_folder: a, gt_folder: b}\n"
BUILT_ON = "defaults: [/sam2.1_training/custom_finetune@_here_, _self_]\n"


def value_at(config: VosConfig, key: str) -> object:
    value: Any = as_dict(config)
    for part in key.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize("task", TASKS)
def test_no_two_keys_of_a_task_share_a_name(task: str) -> None:
    cls = TASKS[task].config_class
    assert set(alias_table(cls).values()) <= {key.path for key in keys_of(cls)}


@pytest.mark.parametrize("alias", [name for name in alias_table(VosConfig) if name.startswith("scratch.")])
@pytest.mark.parametrize("under", ["alias", "key"])
def test_the_command_line_wins_over_the_recipe_under_either_name(alias: str, under: str) -> None:
    key = alias_table(VosConfig)[alias]
    assert value_at(load(f"{alias if under == 'alias' else key}=64").config, key) == 64


def test_the_later_of_two_names_on_the_command_line_counts() -> None:
    assert load("scratch.resolution=64", "model.image_size=96").config.model.image_size == 96
    assert load("model.image_size=96", "scratch.resolution=64").config.model.image_size == 64
    assert load("scratch={resolution: 64}", "model={image_size: 96}").config.model.image_size == 96


@pytest.mark.parametrize("name", ["scratch.vision_lr", "optimizer.vision_lr"])
def test_interpolations_find_the_value_under_every_name(name: str, tmp_path: Path) -> None:
    assert load(f"{name}=0.5").config.optimizer.lr_groups[0].lr == 0.5
    section, key = name.split(".")
    text = f"defaults: [/optimizer: published, _self_]\n{FOLDERS}{section}: {{{key}: 0.25}}\n"
    assert load(recipe=own_recipe(tmp_path, text)).config.optimizer.lr_groups[0].lr == 0.25


def test_a_recipe_wins_over_what_it_builds_on_under_either_name(tmp_path: Path) -> None:
    recipe = own_recipe(tmp_path, f"{BUILT_ON}model: {{image_size: 64}}\noptimizer: {{lr: 1}}\n")
    config = load(recipe=recipe).config
    assert (config.model.image_size, config.optimizer.lr) == (64, 1.0)
    assert load("scratch.resolution=96", recipe=recipe).config.model.image_size == 96


def test_two_values_for_one_setting_in_a_file_are_refused_with_both_names(tmp_path: Path) -> None:
    recipe = own_recipe(tmp_path, f"{FOLDERS}scratch: {{resolution: 64}}\nmodel: {{image_size: 96}}\n")
    (problem,) = problems_of(recipe=recipe)
    assert "scratch.resolution=64" in problem
    assert "model.image_size=96" in problem
    assert "write it once" in problem
    assert load("model.image_size=32", recipe=recipe).config.model.image_size == 32  # the command line decides
    same = own_recipe(tmp_path, f"{FOLDERS}scratch: {{resolution: 64}}\nmodel: {{image_size: 64}}\n")
    assert load(recipe=same).config.model.image_size == 64


def test_what_is_composed_is_a_recipe_in_itself(tmp_path: Path) -> None:
    loaded = load("model.image_size=64", "optimizer.vision_lr=0.5", "checkpoint.monitor=[val_loss]")
    again = load(recipe=own_recipe(tmp_path, loaded.composed_yaml))
    assert again.config == loaded.config


def test_sections_that_became_part_of_others_still_work() -> None:
    config = load(
        "checkpointing.monitor=[val_loss]",
        "checkpointing.save_top_k=3",
        "checkpointing={mode: min, save_last: true, every_n_epochs: 2}",
        "evaluation.guard_dataset={img_folder: a, gt_folder: b}",
        "evaluation.guard_dataset.frame_interval=[2,2]",
    ).config
    kept = config.checkpoint
    assert (kept.monitor, kept.save_top_k, kept.mode, kept.save_last) == (("val_loss",), 3, "min", True)
    assert kept.every_n_epochs == 2
    assert config.evaluation.retention_dataset is not None
    assert config.evaluation.retention_dataset.frame_interval == (2, 2)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("scratch.resolution=500", "scratch.resolution=500 is not a multiple of 32; nearest: 480 or 512"),
        ("model.image_size=500", "model.image_size=500 is not a multiple of 32; nearest: 480 or 512"),
        ("scratch.num_frames=many", "scratch.num_frames='many' must be a whole number"),
        (
            "checkpointing.monitor=[val_x]",
            "checkpointing.monitor=val_x is not measured; a validation gives val_j",
        ),
        ("checkpoint.monitor=[val_x]", "checkpoint.monitor=val_x is not measured"),
        ("scratch.resolutoin=64", "unknown key scratch.resolutoin; did you mean scratch.resolution?"),
        ("checkpointing.save_topk=1", "unknown key checkpointing.save_topk; did you mean checkpointing.save_top_k?"),
        ("evaluation.guard_dataset={img_folder: a}", "evaluation.guard_dataset.gt_folder is not set"),
        ("evaluation.retention_dataset={img_folder: a}", "evaluation.retention_dataset.gt_folder is not set"),
        ("checkpointing=5", "checkpointing must be a section with keys, found 5"),
        ("checkpointing=null", "checkpointing must be a section with keys, found None"),
    ],
)
def test_messages_use_the_name_that_was_written(override: str, words: str) -> None:
    (problem,) = problems_of(override)
    assert problem.startswith(words)


def test_a_section_under_both_names_is_one_section_and_each_key_keeps_the_name_it_was_written_by(
    tmp_path: Path,
) -> None:
    validated = FOLDERS.replace("}", ", val_fraction: 0.1}")
    recipe = own_recipe(tmp_path, f"{validated}evaluation: {{guard_dataset: {{img_folder: a, gt_folder: b}}}}\n")
    config = load("evaluation.retention_dataset.gt_folder=c", recipe=recipe).config
    assert config.evaluation.retention_dataset is not None
    assert config.evaluation.retention_dataset.gt_folder == "c"
    assert load("evaluation.retention_dataset=null", recipe=recipe).config.evaluation.retention_dataset is None
    (problem,) = problems_of("evaluation.retention_dataset.gt_folder=null", recipe=recipe)
    assert problem.startswith("evaluation.retention_dataset.gt_folder is not set")
    former = own_recipe(tmp_path, f"{validated}evaluation: {{guard_dataset: null}}\n")
    (problem,) = problems_of("evaluation.retention_dataset.img_folder=a", recipe=former)
    assert problem.startswith("evaluation.retention_dataset.gt_folder is not set")


def test_a_message_of_several_sections_uses_the_names_that_were_written() -> None:
    (problem,) = problems_of("prompts=mask", "scratch.num_frames=1")
    assert problem.startswith("scratch.num_frames=1 with prompts.prob_to_use_pt_input=0")
    assert "set scratch.num_frames to 2 or more" in problem


def test_a_key_with_dots_in_a_file_is_not_taken_apart(tmp_path: Path) -> None:
    (problem,) = problems_of(recipe=own_recipe(tmp_path, f"{FOLDERS}scratch.resolution: 64\n"))
    assert "unknown key 'scratch.resolution'" in problem


def test_a_checkpoint_of_before_continues() -> None:
    # The format was chosen by its name before there was one that is told from the files.
    assert load("dataset.dataset_type=video").differences_from(FORMER) == ([], [])
    assert load().differences_from(FORMER) == ([], ["dataset.dataset_type: 'video' -> 'auto'"])


def test_a_change_from_a_checkpoint_of_before_is_found_under_its_new_key() -> None:
    former = copy.deepcopy(FORMER)
    former["scratch"] |= {"base_lr": 1.0, "num_train_workers": 7}
    former["checkpointing"]["save_top_k"] = 5
    matter, harmless = load("dataset.dataset_type=video").differences_from(former)
    assert matter == ["scratch.base_lr: 1.0 -> 5e-06"]
    assert harmless == ["checkpoint.save_top_k: 5 -> 1", "scratch.num_train_workers: 7 -> 2"]


def test_a_resolved_configuration_of_before_is_a_recipe(tmp_path: Path) -> None:
    again = load(recipe=own_recipe(tmp_path, yaml.safe_dump(FORMER)))
    assert again.config == load("dataset.dataset_type=video").config
    assert flatten(as_dict(again.config)).keys().isdisjoint({"scratch.resolution", "checkpointing.monitor"})
