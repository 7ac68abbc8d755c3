"""Writes docs/configuration.md: every key with its type, default and meaning, read from the configuration classes.

With --check nothing is written; the exit code is 1 when the page is not what the classes say.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "training"))

from sam2_training.core.settings import Key, alias_table, keys_of, without_none  # noqa: E402
from sam2_training.vos.config import VosConfig  # noqa: E402

PAGE = REPOSITORY / "docs" / "configuration.md"
OPENING = """# Configuration: every key

<!-- Written by `make docs` from the classes in training/sam2_training/*/config.py: change those, not this page. -->

A run is a recipe (a YAML file in `sam2_configs/sam2.1_training/`, or your own) plus overrides on the command line:

```sh
python training/train.py -c sam2.1_training/custom_finetune scratch.resolution=512 scratch.num_epochs=5
```

- `key=value` and `++key=value` mean the same. Lists: `'dataset.frame_interval=[1,3]'`
  (quoted, because of the shell). Nothing: `null`.
- Groups exchange several keys at once: `prompts=mask`, `prompts=clicks`, `transforms=none`; `model=t` (or `s`,
  `b+`, `l`); `parts=lora` (or `full`, `frozen_encoder`, `memory`: what learns). A single key wins over a group.
- An unknown key, a wrong type or an impossible value ends the run with exit code 2 before anything is touched; all
  problems are shown together, each with the nearest valid key. Keys of other trainers are answered by their meaning:
  `trainer.epochs` is `trainer.max_epochs` here.
- `--check` prints the complete configuration, builds the network, loads its weights and stops; `--check --data` indexes
  the videos too. `--cfg job` only prints the configuration; `--config-name` is `-c`.
  `--num-gpus N` is `launcher.gpus_per_node=N`, `--use-cluster 0|1` is `submitit.use_cluster`.
- The defaults below are what a key has when neither the recipe nor the command line names it.
- Where two names of a key stand together, both mean the same, in recipes and on the command line; what the command
  line says counts under either name.
- A resumed run may change the keys that are marked "free on resume". Any other difference from the configuration in the
  checkpoint affects results: the run stops with exit code 2 and lists the differences, unless
  `checkpoint.allow_config_change=true`.
"""


VIDEO_CLIP_KEYS = """
model.checkpoint_path model.config_path model.model_name model.trainable_modules model.image_size model.num_maskmem
model.backbone_stride model.max_objects model.use_obj_ptrs_in_encoder model.max_obj_ptrs_in_encoder
model.add_tpos_enc_to_obj_ptrs model.proj_tpos_enc_in_obj_ptrs model.use_signed_tpos_enc_to_obj_ptrs
model.multimask_output_in_sam model.multimask_output_for_tracking model.device prompts.prompt_types prompts.prompt_type
prompts.num_of_pos_points prompts.num_of_neg_points prompts.include_center_point dataset.dataset_type dataset.data_path
data.train_path data.val_path data.img_folder dataset.image_size dataset.video_clip_length dataset.stride
dataset.batch_size dataset.num_workers dataset.shuffle val_dataset.image_size val_dataset.video_clip_length
val_dataset.stride val_dataset.batch_size val_dataset.num_workers val_dataset.shuffle loss.bce_weight loss.dice_weight
loss.iou_weight loss.temporal_weight loss.smooth optimizer.type optimizer.lr optimizer.weight_decay optimizer.betas
optimizer.eps scheduler.enabled scheduler.type scheduler.T_max scheduler.eta_min scheduler.step_size scheduler.gamma
trainer.accelerator trainer.devices trainer.precision trainer.max_epochs trainer.gradient_clip_val
trainer.accumulate_grad_batches trainer.limit_train_batches trainer.limit_val_batches trainer.val_check_interval
trainer.num_sanity_val_steps trainer.enable_checkpointing trainer.enable_progress_bar trainer.logger
trainer.log_every_n_steps trainer.early_stopping_patience seed output_dir save_dir log_level use_wandb wandb_project
use_swanlab swanlab_project logging.logger_type visualization.enabled
visualization.train_every_n_steps visualization.val_first_batch_every_n_epochs visualization.max_length
visualization.stride ckpt_path
"""
"""Of trainers with COCO-style video data and Lightning's names, in their order."""


def main() -> int:
    """The exit code: 0, or 1 when --check finds an old page."""
    text = page()
    if "--check" not in sys.argv:
        PAGE.write_text(text)
        return 0
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    print(f"{PAGE.relative_to(REPOSITORY)} is not what the configuration classes say: run `make docs`", file=sys.stderr)
    return 1


def page() -> str:
    """The whole page, Markdown."""
    return "\n".join(
        [OPENING, *section(VosConfig(), "", {key.path: key for key in keys_of(VosConfig)}), *vocabulary_table()]
    )


def vocabulary_table() -> Iterator[str]:
    """The keys of the video-clip vocabulary in its order, as they are here."""
    keys, aliases = {key.path: key for key in keys_of(VosConfig)}, alias_table(VosConfig)
    yield "## The video-clip vocabulary\n"
    yield "Keys of trainers with COCO-style video data and Lightning's names, in their order; `-c coco_video` has the"
    yield "defaults of that vocabulary, the column those of ours.\n"
    yield "| key | alias of | default | unit | meaning |"
    yield "|---|---|---|---|---|"
    for name in VIDEO_CLIP_KEYS.split():
        key = keys[aliases.get(name, name)]
        default, meaning = _of_field(key.path)
        alias = "" if key.path == name else f"`{key.path}`"
        words = [f"`{name}`", alias, f"`{default}`", key.setting.unit, meaning]
        yield "| " + " | ".join(word.replace("|", "\\|") for word in words) + " |"
    yield ""


def _of_field(path: str) -> tuple[str, str]:
    """(default, meaning) of a key by its full name."""
    cls: Any = VosConfig
    *sections, name = path.split(".")
    for part in sections:
        cls = without_none(get_type_hints(cls)[part])
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return in_yaml(default), field_documents(cls).get(name, "")


def section(defaults: Any, path: str, keys: dict[str, Key]) -> Iterator[str]:
    """Heading, purpose and table of one section, given with its defaults; then those of the sections inside it."""
    cls = type(defaults)
    hints, documents = get_type_hints(cls), field_documents(cls)
    inner = [f for f in dataclasses.fields(cls) if dataclasses.is_dataclass(hints[f.name])]
    plain = [f for f in dataclasses.fields(cls) if f not in inner]
    yield f"## {path or 'Top level'}\n"
    yield f"{' '.join(inspect.cleandoc(cls.__doc__ or '').split())}\n"
    if plain:
        yield "| key | value | default | meaning | free on resume |"
        yield "|---|---|---|---|---|"
    for field in plain:
        key = f"{path}.{field.name}" if path else field.name
        default = in_yaml(getattr(defaults, field.name))
        names = ", ".join(f"`{name}`" for name in (key, *keys[key].aliases))
        words = [names, kind_of(hints[field.name], keys[key]), f"`{default}`", documents.get(field.name, "")]
        yield "| " + " | ".join(word.replace("|", "\\|") for word in words) + f" | {'yes' if keys[key].free else ''} |"
    for field in plain:
        hint, where = hints[field.name], f"{path}.{field.name}" if path else field.name
        for entry in entry_classes(hint):
            entry_documents = field_documents(entry)
            if get_origin(hint) is tuple:
                yield f"\nAn entry of `{where}` has the keys:"
                yield from (f"- `{name}`: {text}" for name, text in entry_documents.items())
            elif not isinstance(VosConfig().dataset, entry):
                yield f"\n`{where}` has the keys:"
                yield from optional_section(entry(), where, keys)
            else:
                names = ", ".join(f"`{name}`" for name in entry_documents)
                yield f"\n`{where}` has the keys {names}, as `dataset` has."
    yield ""
    for field in inner:
        where = f"{path}.{field.name}" if path else field.name
        yield from section(getattr(defaults, field.name), where, keys)
        if field.name in documents:
            yield f"`{where}`: {documents[field.name]}\n"


def optional_section(defaults: Any, where: str, keys: dict[str, Key]) -> Iterator[str]:
    """A line for each key of a section that need not be there, given with its defaults."""
    hints, documents = get_type_hints(type(defaults)), field_documents(type(defaults))
    for name, text in documents.items():
        key = keys[f"{where}.{name}"]
        kind, default = kind_of(hints[name], key), in_yaml(getattr(defaults, name))
        names = ", ".join(f"`{one}`" for one in (name, *key.setting.aliases))
        yield f"- {names} ({kind}; default `{default}`): {text}"


def kind_of(hint: Any, key: Key) -> str:
    """Type, unit and bounds of a key, such as "whole number (pixels), multiple of 32"."""
    rules = key.setting
    bounds = replace(rules, unit="").bounds_text().partition(" ")[2]
    if rules.multiple_of is not None:
        bounds = f"multiple of {rules.multiple_of}"
    unit = f" ({rules.unit})" if rules.unit else ""
    return f"{type_name(hint)}{unit}{f', {bounds}' if bounds else ''}"


def entry_classes(hint: Any) -> Iterator[type]:
    """The configuration classes inside a tuple type."""
    yield from (part for part in getattr(hint, "__args__", ()) if dataclasses.is_dataclass(part))  # type: ignore[misc]


def field_documents(cls: type) -> dict[str, str]:
    """{field: the string literal that follows it in the source}, on one line; inherited fields included."""
    found: dict[str, str] = {}
    for base in cls.__bases__:
        found |= field_documents(base) if dataclasses.is_dataclass(base) else {}
    body = ast.parse(inspect.getsource(cls)).body[0].body  # type: ignore[attr-defined]
    for field, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(following, ast.Expr):
            value = following.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[ast.unparse(field.target)] = " ".join(value.value.split())
    return found


def type_name(hint: Any) -> str:
    """The type in a user's words: "whole number", "number or null", "`error`, `skip`", "list of text"."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"list of {type_name(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(map(type_name, arguments))}]"
    if arguments:
        return " or ".join(map(type_name, arguments))
    names = {str: "text", bool: "true or false", int: "whole number", float: "number", type(None): "null"}
    return names.get(hint, "entries")


def in_yaml(value: Any) -> str:
    """A value as one would write it in YAML."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


if __name__ == "__main__":
    raise SystemExit(main())
