"""Files of related projects that users give in place of ours: what they are, and what to give instead."""

from __future__ import annotations

from collections.abc import Collection

OTHER_SAM = "this project trains SAM 2.1"
_STOCK_TRAINER, _SAM3_TRAINER, _STOCK_MODEL = "training.", "sam3.", "sam2."


def foreign_recipe(file_name: str, content: object) -> str | None:
    """A sentence if a YAML file's content is a network of the sam2 repository, or of sam3; None for any other."""
    trainer, model = _target(content, "trainer"), _target(content, "model")
    if trainer.startswith(_SAM3_TRAINER) or model.startswith(_SAM3_TRAINER):
        return f"{file_name} is a configuration of SAM 3 ({trainer or model}), and {OTHER_SAM}: use a recipe of it"
    if model.startswith(_STOCK_MODEL):
        return (
            f"{file_name} describes a network (model._target_: {model}), not a training run: give it as "
            f"model.name={file_name}, with a recipe such as -c sam2.1_training/custom_finetune"
        )
    return None


def is_stock_recipe(content: object) -> bool:
    """Whether a YAML file's content is a training recipe of the sam2 repository, or of a project built on it."""
    return _target(content, "trainer").startswith(_STOCK_TRAINER)


def foreign_network(spelling: str) -> str | None:
    """What a network's name, in lower case, is if it is of another generation of SAM; None for any other."""
    stem = spelling.rsplit("/", 1)[-1]
    if stem.startswith("sam3"):
        return "a SAM 3 network"
    if stem.startswith(("sam_vit", "sam-vit")):
        return "a network of the first SAM, for images"
    return None


def foreign_weights(names: Collection[str]) -> str | None:
    """Whose weights these are, by their names, if SAM 2.1's code does not read them; None for any other."""
    if any(name.startswith(("detector.", "tracker.", "detector_model.", "tracker_model.")) for name in names):
        return "SAM 3"
    if any(name.startswith("vision_encoder.") for name in names):
        return "a SAM model in the format of Hugging Face transformers"
    if any(name.startswith("image_encoder.blocks.") for name in names):
        return "the first SAM, for images"
    if any(name.startswith("image_encoder.trunk.") for name in names) and "no_obj_embed_spatial" not in names:
        return "SAM 2 of the first release, which lacks some of SAM 2.1's parameters"
    return None


def _target(content: object, section: str) -> str:
    inside = content.get(section) if isinstance(content, dict) else None
    found = inside.get("_target_") if isinstance(inside, dict) else None
    return found if isinstance(found, str) else ""
