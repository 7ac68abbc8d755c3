"""The recipes: all are documented, say what is measured, and small_data chooses what its page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from sam2_training.core.places import CONFIG_ROOT
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

from tests.places import REPOSITORY

RECIPES = sorted((CONFIG_ROOT / "sam2.1_training").glob("*.yaml"))
PAGE = (REPOSITORY / "docs" / "recipes.md").read_text()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_recipe_says_for_whom_it_is_what_is_measured_and_how_to_run_it(path: Path) -> None:
    header = [line for line in path.read_text().splitlines() if line.startswith("# ")]
    for number, word in enumerate(("For: ", "Measured: ", "Run: "), start=1):
        assert header[number].startswith(f"# {word}"), header
    assert f"| `{path.stem}` |" in PAGE, "docs/recipes.md lists it"


def test_small_data_is_for_few_clips_on_one_gpu() -> None:
    config = load_config("small_data", [], VosConfig).config
    assert config.model.trainable_modules == ("memory+decoder",)
    assert config.model.drop_path_rate == 0
    assert config.dataset.num_frames == 8
    assert config.optimizer.lr == 1e-5
    assert config.scheduler.warmup_fraction == 0.05
    assert config.loader.batch_size * config.trainer.accumulate_grad_batches == 4
    assert config.trainer.max_steps == 900
    assert (config.early_stopping.monitor, config.early_stopping.patience) == ("val_j_and_f", 3)
    assert config.dataset.val_fraction > 0, "otherwise there is no J&F to stop by"


def test_the_readme_begins_with_small_data() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    for start in ("SAM2_CONFIG=small_data ./run_training_docker.sh", "make train LOCAL=1", "sam2-training train -c"):
        (line,) = re.findall(rf"^.*{re.escape(start)}.*$", readme, re.M)
        assert "small_data" in line


def test_the_recipe_of_ones_own_on_the_page_is_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(# surf\.yaml\n.*?)```", PAGE, re.S)
    (tmp_path / "surf.yaml").write_text(text)
    config = load_config(str(tmp_path / "surf.yaml"), ["scratch.base_lr=2e-5"], VosConfig).config
    assert (config.dataset.num_frames, config.model.image_size, config.optimizer.lr) == (4, 512, 2e-5)
    assert config.trainer.max_steps == 900
    assert yaml.safe_load(text)["dataset"]["img_folder"] == config.dataset.img_folder
