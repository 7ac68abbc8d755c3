"""The configuration of a run: Hydra composes YAML and overrides, dataclasses check and report all problems at once."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sam2_training.core.config_data import DatasetConfig, ScratchConfig, TransformsConfig
from sam2_training.core.config_model import LossConfig, ModelConfig, OptimizerConfig, PromptsConfig, SchedulerConfig
from sam2_training.core.config_run import CheckpointConfig, LauncherConfig, SubmititConfig, TrainerConfig
from sam2_training.core.config_validation import (
    CheckpointingConfig,
    EarlyStoppingConfig,
    EvaluationConfig,
    VisualizationConfig,
)
from sam2_training.core.errors import ConfigError
from sam2_training.core.places import CONFIG_ROOT
from sam2_training.core.schema import all_keys, parse_section

FREE_KEYS = (
    "scratch.num_train_workers",
    "scratch.train_batch_size",
    "trainer.accumulate_grad_batches",
    "trainer.log_every_n_steps",
    "trainer.enable_progress_bar",
    "trainer.collective_timeout_minutes",
    "trainer.accelerator",
    "trainer.val_check_interval",
    "trainer.check_val_every_n_epoch",
    "trainer.limit_val_batches",
    "trainer.num_sanity_val_steps",
    "trainer.validate_initial_weights",
    "early_stopping.*",
    "dataset.img_folder",
    "dataset.gt_folder",
    "dataset.file_list_txt",
    "model.checkpoint",
    "val_dataset.img_folder",
    "val_dataset.gt_folder",
    "val_dataset.file_list_txt",
    "evaluation.*",
    "visualization.*",
    "checkpointing.*",
    "checkpoint.*",
    "launcher.*",
    "submitit.*",
)
"""Keys that a resumed run may change freely. The two that size a batch are free because a resumed run keeps the
checkpoint's global batch, and files because their content is compared, not their place."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training depends on, besides code and data. Built by `load_config`; hashed by `fingerprint`."""

    seed: int = 123
    """All randomness of a run derives from it."""
    scratch: ScratchConfig = field(default_factory=ScratchConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    val_dataset: DatasetConfig | None = None
    """Videos that are evaluated and not trained on; the same keys as dataset. null: see dataset.val_fraction."""
    transforms: TransformsConfig = field(default_factory=TransformsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    visualization: VisualizationConfig = field(default_factory=VisualizationConfig)
    checkpointing: CheckpointingConfig = field(default_factory=CheckpointingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    submitit: SubmititConfig = field(default_factory=SubmititConfig)

    def problems(self) -> Iterator[str]:
        """A sentence for every value that cannot work."""
        if self.seed < 0:
            yield f"seed={self.seed} must be 0 or more"
        for section in dataclasses.fields(self):
            value = getattr(self, section.name)
            if section.name != "val_dataset" and hasattr(value, "problems"):
                yield from value.problems()
        validates = self.val_dataset is not None or self.dataset.val_fraction > 0
        if self.trainer.limit_train_batches == 0 and not (validates and self.trainer.limit_val_batches):
            yield (
                "trainer.limit_train_batches=0 trains nothing, and nothing is validated either: set val_dataset or "
                "dataset.val_fraction, and leave trainer.limit_val_batches above 0"
            )
        if self.val_dataset is not None:
            yield from self.val_dataset.problems_at("val_dataset")
        elif self.early_stopping.monitor is not None and not validates:
            yield (
                f"early_stopping.monitor={self.early_stopping.monitor}, but nothing is validated: set val_dataset or "
                "dataset.val_fraction"
            )
        if self.scratch.num_frames == 1 and self.prompts.prob_to_use_pt_input == 0:
            yield (
                "scratch.num_frames=1 with prompts.prob_to_use_pt_input=0: the only frame's mask is given, so there is "
                "nothing to learn; set scratch.num_frames to 2 or more, or train with clicks (prompts=published)"
            )
        synthetic = self.dataset.synthetic
        if self.dataset.dataset_type == "synthetic" and synthetic.num_frames < self.scratch.num_frames:
            yield (
                f"dataset.synthetic.num_frames={synthetic.num_frames} is less than "
                f"scratch.num_frames={self.scratch.num_frames}: a clip would not fit"
            )


@dataclass(frozen=True)
class LoadedConfig:
    """A checked configuration with where it came from."""

    config: TrainConfig
    name: str
    """The recipe's name, such as sam2.1_training/custom_finetune; names the run's folder."""
    composed_yaml: str
    """As composed, interpolations not yet resolved."""

    @property
    def log_dir(self) -> Path:
        """The run's folder."""
        return Path(self.config.launcher.experiment_log_dir or Path("sam2_logs") / self.name)

    def resolved_yaml(self) -> str:
        """Every key with its final value; a recipe in itself."""
        import yaml

        text: str = yaml.safe_dump(as_dict(self.config), sort_keys=False, allow_unicode=True, width=120)
        return text


def load_config(name: str, overrides: Sequence[str] = ()) -> LoadedConfig:
    """The checked configuration of a recipe.

    name: a recipe (sam2.1_training/custom_finetune, custom_finetune, configs/sam2.1_training/custom_finetune.yaml) or
    the path of a YAML file. overrides: key=value or ++key=value; group=choice for the groups in sam2_configs.
    Raises ConfigError with every problem found. Does not touch torch.
    """
    # Hydra takes 0.2 s to import and only this function needs it.
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    file_path = find_recipe(name)
    composed = _compose(file_path, [_with_plus(override) for override in overrides])
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{file_path.name}: {str(error).splitlines()[0]}") from error
    problems: list[str] = []
    config: TrainConfig = parse_section(TrainConfig, values, "", problems, all_keys(TrainConfig))
    problems += config.problems() if not problems else _problems_of_sections(config)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return LoadedConfig(config, _run_name(file_path), OmegaConf.to_yaml(composed))


def _problems_of_sections(config: TrainConfig) -> list[str]:
    """Value problems of a config that already has type problems; sections that cannot be examined are left out."""
    found: list[str] = []
    for section in dataclasses.fields(config):
        value = getattr(config, section.name)
        if hasattr(value, "problems"):
            try:
                found += value.problems()
            except TypeError:  # a field is missing; that is already among the problems
                continue
    return found


def find_recipe(name: str) -> Path:
    """The YAML file that a recipe's name or path means. Raises ConfigError naming the nearest recipe."""
    as_path = Path(name)
    if as_path.suffix in (".yaml", ".yml") and as_path.is_file():
        if as_path.suffix == ".yml":
            raise ConfigError(f"{name}: Hydra reads .yaml files only; rename it to {as_path.stem}.yaml")
        return as_path.resolve()
    bare = name.removeprefix("configs/").removeprefix("sam2_configs/").removesuffix(".yaml").removesuffix(".yml")
    for candidate in (CONFIG_ROOT / f"{bare}.yaml", CONFIG_ROOT / "sam2.1_training" / f"{bare}.yaml"):
        if candidate.is_file():
            return candidate
    recipes = [f"sam2.1_training/{path.stem}" for path in sorted((CONFIG_ROOT / "sam2.1_training").glob("*.yaml"))]
    close = difflib.get_close_matches(bare, recipes + [r.split("/")[1] for r in recipes], n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ConfigError(f"no recipe or file {name!r}; {hint}recipes: {', '.join(recipes)}")


def _run_name(file_path: Path) -> str:
    inside = file_path.is_relative_to(CONFIG_ROOT)
    return file_path.relative_to(CONFIG_ROOT).with_suffix("").as_posix() if inside else file_path.stem


def _with_plus(override: str) -> str:
    """An override in Hydra's words: ++ for keys, so that ours is the one place that knows the valid ones."""
    if "=" not in override or override.startswith("="):
        raise ConfigError(f"{override!r} is not an override; write key=value, such as scratch.resolution=512")
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


def as_dict(config: TrainConfig) -> dict[str, Any]:
    """Nested plain values (lists, not tuples), ready for YAML or JSON; the inverse is `load_config` of that file."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def flatten(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """{"a.b": value} of nested sections."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        where = f"{path}.{key}" if path else key
        flat.update(flatten(value, where) if isinstance(value, dict) else {where: value})
    return flat


def differences(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What changed between two `as_dict` configurations: (changes of the mathematics, harmless ones), as sentences."""
    before, after = flatten(old), flatten(new)
    matter: list[str] = []
    harmless: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            free = any(fnmatch.fnmatchcase(key, pattern) for pattern in FREE_KEYS)
            (harmless if free else matter).append(f"{key}: {before.get(key)!r} -> {after.get(key)!r}")
    return matter, harmless


def fingerprint(config: TrainConfig) -> str:
    """SHA-256 (hex) of the configuration."""
    return hashlib.sha256(json.dumps(as_dict(config), sort_keys=True).encode()).hexdigest()
