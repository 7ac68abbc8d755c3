"""R18 and the configuration's own promises: all problems at once, nearest key, before torch, within 2 s."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from sam2_training.core.errors import ConfigError
from sam2_training.core.schema import as_dict, fingerprint, flatten
from sam2_training.core.settings import value_problems
from sam2_training.engine.config import RunConfig
from sam2_training.tasks import TASKS, Registration, load_config, task_class
from sam2_training.vos.config import VosConfig

from tests.places import REPOSITORY

RECIPE = "sam2.1_training/custom_finetune"


def child_cpu_seconds() -> float:
    """CPU time of all processes this one has waited for: on a busy machine the wall clock says nothing."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def problems_of(*overrides: str, recipe: str = RECIPE) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_config(recipe, overrides)
    return raised.value.problems


def own_recipe(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_custom_finetune_has_the_documented_defaults() -> None:
    config = load_config(RECIPE).config
    assert (config.model.image_size, config.loader.batch_size, config.loader.num_workers) == (1024, 1, 2)
    assert (config.dataset.num_frames, config.dataset.max_num_objects, config.trainer.max_epochs) == (1, 3, 10)
    assert (config.optimizer.lr, config.optimizer.vision_lr) == (5.0e-6, 3.0e-6)
    assert (config.dataset.img_folder, config.dataset.gt_folder) == (
        "/workspace/dataset/images",
        "/workspace/dataset/masks",
    )
    assert (config.loss.loss_mask, config.loss.loss_dice) == (20, 1)
    assert (config.loss.loss_iou, config.loss.loss_class) == (1, 1)
    assert config.optimizer.lr_groups[0].lr == config.optimizer.vision_lr
    assert (config.optimizer.layer_decay, config.trainer.gradient_clip_val) == (0.9, 0.1)
    assert (config.scheduler.type, config.scheduler.end_factor) == ("cosine", 0.1)
    assert (config.launcher.gpus_per_node, config.launcher.num_nodes) == (1, 1)


@pytest.mark.parametrize(
    "spelling", ["custom_finetune", "configs/sam2.1_training/custom_finetune.yaml", f"{RECIPE}.yaml"]
)
def test_a_recipe_has_several_spellings_and_one_run_folder(spelling: str) -> None:
    loaded = load_config(spelling)
    assert loaded.name == RECIPE
    assert loaded.log_dir == Path("sam2_logs/sam2.1_training/custom_finetune")


def test_overrides_with_and_without_plus_mean_the_same() -> None:
    plain = load_config(RECIPE, ["scratch.resolution=512", "checkpoint.every_n_steps=7"]).config
    plus = load_config(RECIPE, ["++scratch.resolution=512", "++checkpoint.every_n_steps=7"]).config
    assert plain == plus
    assert plain.model.image_size == 512
    assert plain.checkpoint.every_n_steps == 7  # a key that the recipe does not name


def test_later_interpolations_follow_an_override() -> None:
    assert load_config(RECIPE, ["scratch.vision_lr=0.5"]).config.optimizer.lr_groups[0].lr == 0.5


def test_a_group_exchanges_several_keys() -> None:
    config = load_config(RECIPE, ["prompts=mask", "transforms=none", "scratch.num_frames=4"]).config
    assert config.prompts.prob_to_use_pt_input == 0
    assert config.transforms.horizontal_flip_prob == 0
    assert config.transforms.affine.scale is None


def test_a_clip_that_leaves_nothing_to_learn_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to learn"):
        load_config(RECIPE, ["prompts=mask", "scratch.num_frames=1"])


def test_all_problems_are_reported_at_once() -> None:
    found = problems_of(
        "scratch.resolutoin=512",
        "scratch.num_frames=many",
        "dataset.short_videos=ignore",
        "trainer.max_steps=0",
        "dataset.frame_interval=[3,1]",
    )
    text = "\n".join(found)
    assert len(found) == 5, text
    assert "unknown key scratch.resolutoin; did you mean scratch.resolution?" in text
    assert "scratch.num_frames='many' must be a whole number" in text
    assert "dataset.short_videos='ignore' must be one of error, skip, repeat_last" in text
    assert "trainer.max_steps=0" in text
    assert "dataset.frame_interval=[3, 1]" in text


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("scratch.num_epoch=3", "scratch.num_epochs"),
        ("dataset.image_folder=x", "dataset.img_folder"),
        ("resolution=512", "scratch.resolution"),
        ("optimizer.weigth_decay=0", "optimizer.weight_decay"),
        ("trainer.gt_folder=x", "dataset.gt_folder"),
        ("Seed=1", "seed"),
    ],
)
def test_an_unknown_key_names_the_nearest_valid_one(given: str, nearest: str) -> None:
    assert problems_of(given) == [f"unknown key {given.split('=')[0]}; did you mean {nearest}?"]


def test_an_unknown_key_inside_a_list_is_found() -> None:
    assert "optimizer.lr_groups[0].lrr" in problems_of("optimizer.lr_groups=[{pattern: a, lr: 1, lrr: 2}]")[0]


@pytest.mark.parametrize("resolution", [0, 31, 500, -32])
def test_resolution_must_be_a_multiple_of_32_and_the_nearest_are_named(resolution: int) -> None:
    (problem,) = problems_of(f"scratch.resolution={resolution}")
    assert "multiple of 32" in problem
    if resolution == 500:
        assert problem.endswith("nearest: 480 or 512")


@pytest.mark.parametrize("value", ["true", "1.5", "'12'", "[1]", "{a: 1}", "null"])
def test_wrong_types_are_not_bent_into_shape(value: str) -> None:
    (problem,) = problems_of(f"scratch.num_frames={value}")
    assert "scratch.num_frames" in problem


def test_a_mistyped_recipe_names_the_nearest() -> None:
    (problem,) = problems_of(recipe="sam2.1_training/custom_fintune")
    assert "did you mean sam2.1_training/custom_finetune?" in problem
    assert "mose_finetune" in problem


@pytest.mark.parametrize(
    "override",
    [
        "scratch.resolution",
        "=3",
        "scratch.resolution=[1",
        "a b=c d",
        "~seed",
        "dataset.img_folder=~/x",
        "dataset.img_folder=a,b",
        "dataset.img_folder=???",
        "prompts=nothing",
        "scratch=null",
        "scratch.base_lr=nan",
        "hydra.run.dir=x",
    ],
)
def test_what_is_no_override_is_a_sentence_not_a_traceback(override: str) -> None:
    assert problems_of(override)


def test_own_yaml_outside_the_repository_uses_our_groups(tmp_path: Path) -> None:
    path = own_recipe(tmp_path, "defaults: [/prompts: clicks, _self_]\ndataset: {img_folder: a, gt_folder: b}\n")
    loaded = load_config(str(path), ["scratch.num_epochs=2"])
    assert loaded.name == "mine"
    assert loaded.log_dir == Path("sam2_logs/mine")
    assert loaded.config.prompts.prob_to_use_pt_input == 1
    assert loaded.config.dataset.img_folder == "a"


def test_own_yaml_may_build_on_a_recipe(tmp_path: Path) -> None:
    path = own_recipe(
        tmp_path, "defaults: [/sam2.1_training/custom_finetune@_here_, _self_]\nscratch: {resolution: 512}\n"
    )
    config = load_config(str(path)).config
    assert config.model.image_size == 512
    assert config.optimizer.layer_decay == 0.9


@pytest.mark.parametrize(
    "text",
    [
        "scratch: [1, 2\n",
        "- a\n- b\n",
        "scratch: ${nowhere.at_all}\n",
        "defaults: [/prompts: nothing_of_the_kind]\n",
        "scratch: 5\n",
        "5\n",
        "1: 2\n",
        "model: {1: 2}\n",
        "scratch: {base_lr: '${optimizer.lr}'}\n",
    ],
)
def test_a_broken_yaml_is_a_sentence_not_a_traceback(tmp_path: Path, text: str) -> None:
    assert problems_of(recipe=str(own_recipe(tmp_path, text)))


def test_a_target_in_yaml_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    text = f"dataset: {{img_folder: a, gt_folder: b}}\nmodel: {{_target_: os.mkdir, path: {witness}}}\n"
    found = "\n".join(problems_of(recipe=str(own_recipe(tmp_path, text))))
    assert "model._target_" in found
    assert not witness.exists()


def test_a_yml_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = own_recipe(tmp_path, "seed: 1\n").rename(tmp_path / "mine.yml")
    assert "rename it to mine.yaml" in problems_of(recipe=str(path))[0]


def test_missing_folders_of_frames_and_masks_are_named(tmp_path: Path) -> None:
    found = problems_of(recipe=str(own_recipe(tmp_path, "seed: 1\n")))
    assert [problem.split(" ")[0] for problem in found] == ["dataset.img_folder", "dataset.gt_folder"]


def test_hydra_state_of_the_caller_is_untouched() -> None:
    from hydra import initialize
    from hydra.core.global_hydra import GlobalHydra

    former = GlobalHydra.instance().hydra  # other tests may have imported sam2, which initializes it
    try:
        GlobalHydra.instance().clear()
        load_config(RECIPE)
        assert not GlobalHydra.instance().is_initialized()
        with initialize(config_path=None, version_base="1.3"):
            loader = GlobalHydra.instance().hydra
            load_config(RECIPE)
            assert GlobalHydra.instance().hydra is loader
    finally:
        GlobalHydra.instance().hydra = former


def test_composed_yaml_keeps_interpolations_and_resolved_yaml_reproduces_the_run(tmp_path: Path) -> None:
    loaded = load_config(RECIPE, ["scratch.resolution=512", "prompts=clicks"])
    assert OmegaConf.is_interpolation(OmegaConf.create(loaded.composed_yaml).optimizer.lr_groups[0], "lr")
    again = load_config(str(own_recipe(tmp_path, loaded.resolved_yaml())))
    assert again.config == loaded.config
    assert fingerprint(again.config) == fingerprint(loaded.config)
    assert yaml.safe_load(loaded.resolved_yaml()) == as_dict(loaded.config)


def test_fingerprint_changes_with_any_key() -> None:
    base = load_config(RECIPE).config
    for override in ("seed=5", "loss.focal_gamma=1", "optimizer.betas=[0.9,0.99]"):
        assert fingerprint(load_config(RECIPE, [override]).config) != fingerprint(base)


def test_r11_differences_tell_changes_that_affect_results_from_others() -> None:
    old = as_dict(load_config(RECIPE).config)
    changed = ["scratch.base_lr=1", "scratch.num_train_workers=0", "checkpoint.keep_last=5", "seed=5"]
    matter, harmless = load_config(RECIPE, changed).differences_from(old)
    assert [line.split(":")[0] for line in matter] == ["scratch.base_lr", "seed"]
    assert [line.split(":")[0] for line in harmless] == ["checkpoint.keep_last", "scratch.num_train_workers"]
    assert "5e-06 -> 1.0" in matter[0]


def test_every_default_alone_is_a_valid_value() -> None:
    config = VosConfig()
    found = [*value_problems(config), *config.problems(), *config.metric_problems()]
    assert not [problem for problem in found if not problem.startswith("dataset.")]
    assert "model.image_size" in flatten(as_dict(config))


@dataclass(frozen=True)
class OtherConfig(RunConfig):
    task: str = "other"


def test_the_task_of_a_recipe_chooses_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "other", Registration(OtherConfig, "tests.test_tasks:OtherTask"))
    recipe = str(own_recipe(tmp_path, "task: other\nscratch: {num_epochs: 2}\n"))
    config = load_config(recipe).config
    assert type(config) is OtherConfig
    assert config.trainer.max_epochs == 2
    assert problems_of("scratch.resolution=64", recipe=recipe)[0].startswith("unknown key scratch.resolution")
    with pytest.raises(ConfigError, match="task=other: this command needs a recipe of the task vos"):
        load_config(recipe, (), VosConfig)


def test_a_task_declares_what_its_validation_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "other", Registration(OtherConfig, "tests.test_tasks:OtherTask"))
    monkeypatch.setattr(OtherConfig, "metrics", ("val_loss", "val_rmse_*"))
    recipe = str(own_recipe(tmp_path, "task: other\n"))
    assert load_config(recipe, ["checkpoint.monitor=[val_rmse_x]"]).config.checkpoint.monitor == ("val_rmse_x",)
    assert problems_of("early_stopping.monitor=val_j", recipe=recipe) == [
        "early_stopping.monitor=val_j is not measured; a validation gives val_loss, val_rmse_*"
    ]


def test_a_recipe_without_a_task_is_vos_and_an_unknown_one_names_the_nearest() -> None:
    assert load_config(RECIPE, ["task=vos"]).config == load_config(RECIPE).config
    assert problems_of("task=vso") == ["task='vso' is not a kind of training; did you mean vos? there are: vos"]


def test_every_registered_task_is_a_class_that_can_be_imported() -> None:
    assert [task_class(kind.config_class()).__name__ for kind in TASKS.values()] == ["VosTask"]


def test_r18_errors_come_within_2_seconds_without_importing_torch(
    check_delay: Callable[[str, float, float], None],
) -> None:
    program = (
        "import sys\n"
        "from sam2_training.tasks import load_config\n"
        "from sam2_training.core.errors import ConfigError\n"
        f"try: load_config({RECIPE!r}, ['scratch.resolution=500'])\n"
        "except ConfigError as error: print(error.exit_code, 'torch' in sys.modules, error)\n"
    )
    started = child_cpu_seconds()
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY / "training", capture_output=True, text=True, check=True
    )
    check_delay("a wrong setting is refused (CPU)", child_cpu_seconds() - started, 2)
    assert shown.stdout.startswith("2 False scratch.resolution=500")


def test_r18_the_command_ends_with_exit_code_2_before_anything_is_written(
    tmp_path: Path, check_delay: Callable[[str, float, float], None]
) -> None:
    command = [sys.executable, str(REPOSITORY / "training" / "train.py"), "-c", RECIPE]
    started = child_cpu_seconds()
    ended = subprocess.run(
        [*command, "scratch.resolution=500", "scratch.base_lrr=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    check_delay("a wrong setting is refused (CPU)", child_cpu_seconds() - started, 2)
    assert ended.returncode == 2
    assert "nearest: 480 or 512" in ended.stderr
    assert "did you mean scratch.base_lr?" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
