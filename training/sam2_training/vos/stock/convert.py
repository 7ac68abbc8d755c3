"""A training recipe of the sam2 repository (or of a project built on it) as a recipe of this one, value by value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam2_training.core.errors import ConfigError
from sam2_training.vos.stock.optimization import optimization
from sam2_training.vos.stock.values import Taken

SAME_HERE = (
    *("*._partial_", "trainer._target_", "trainer.mode", "trainer.accelerator"),
    *("trainer.data.*.collate_fn.*", "trainer.data.*.pin_memory", "trainer.data.*.shuffle", "trainer.data.*.drop_last"),
    *("trainer.data.*.phases_per_epoch", "trainer.data.train._target_", "trainer.data.*.training"),
    "trainer.data.val.*",  # whole videos are measured here, without augmentation
    *("trainer.distributed.*", "trainer.logging.*", "trainer.checkpoint.*", "submitit.*"),
    "trainer.loss.all.pred_obj_scores",
)
"""Globs of values that are not read because they say what is the same here, or nothing about what is learned."""
NOT_OF_THE_NETWORK = ("image_size", "compile_image_encoder", "use_act_ckpt_iterative_pt_sampling", "_target_")
ONLY_IN_EVALUATION = (
    *("prob_to_use_pt_input_for_eval", "prob_to_use_box_input_for_eval", "num_frames_to_correct_for_eval"),
    *("rand_frames_to_correct_for_eval", "num_init_cond_frames_for_eval", "rand_init_cond_frames_for_eval"),
    *("pt_sampling_for_eval", "forward_backbone_per_frame_for_eval"),
)
"""Arguments of stock's SAM2Train that its training does not use; section evaluation says here how is measured."""
PROMPTS: dict[str, Any] = {
    "prob_to_use_pt_input_for_train": 0.0,
    "prob_to_use_box_input_for_train": 0.0,
    "num_init_cond_frames_for_train": 1,
    "rand_init_cond_frames_for_train": True,
    "num_frames_to_correct_for_train": 1,
    "rand_frames_to_correct_for_train": False,
    "num_correction_pt_per_frame": 7,
    "prob_to_sample_from_gt_for_train": 0.0,
    "add_all_frames_to_correct_as_cond": False,
}
"""{argument of stock's SAM2Train: its default}; ours have the same names without _for_train."""
LOSS: dict[str, Any] = {
    "focal_alpha": 0.25,
    "focal_gamma": 2,
    "supervise_all_iou": False,
    "iou_use_l1_loss": False,
    "focal_gamma_obj_score": 0.0,
    "focal_alpha_obj_score": -1,
}
"""{argument of stock's loss: its default}; ours have the same names."""


@dataclass(frozen=True)
class Conversion:
    """What a recipe says, in this project's words."""

    recipe: dict[str, Any]
    """Without model.name."""
    network: dict[str, Any]
    """Arguments of the network, as in an architecture's YAML."""
    left: list[str]
    """A line for each value that has no counterpart."""


def convert(content: dict[str, Any], file_name: str) -> Conversion:
    """Reads the values of a stock recipe, interpolations resolved. Raises ConfigError for one that is not whole."""
    values = Taken(content)
    for section in ("trainer.model.image_encoder.trunk", "trainer.data.train", "trainer.loss.all.weight_dict"):
        if not isinstance(values.look(section), dict):
            raise ConfigError(f"{file_name} is a training configuration of the sam2 repository without {section}")
    recipe = {
        "seed": values.take("trainer.seed_value", 123),
        **_data(values),
        "model": _model(values),
        "prompts": {
            name.removesuffix("_for_train"): values.take(f"trainer.model.{name}", default)
            for name, default in PROMPTS.items()
        },
        "loss": _loss(values),
        **optimization(values, file_name),
        "checkpoint": _checkpoint(values),
        "launcher": {
            "num_nodes": values.take("launcher.num_nodes", 1),
            "gpus_per_node": values.take("launcher.gpus_per_node", 1),
            "experiment_log_dir": values.take("launcher.experiment_log_dir"),
        },
    }
    recipe["trainer"]["log_every_n_steps"] = values.take("trainer.logging.log_freq", 10)
    network = _network(values)
    # Other sections, such as scratch, only hold what these refer to.
    found = [(path, value) for path, value in values.left(SAME_HERE) if path.startswith(("trainer.", "launcher."))]
    left = [f"{path} = {value}" for path, value in found]
    return Conversion(recipe, network, left)


def _data(values: Taken) -> dict[str, Any]:
    train = "trainer.data.train"
    sections = {
        "scratch": {
            "resolution": values.take("trainer.model.image_size", 512),
            "train_batch_size": _first(values, f"{train}.batch_sizes"),
            "num_train_workers": values.take(f"{train}.num_workers", 0),
        },
        "dataset": {"frame_selection": "annotated", "short_videos": "error"},
    }
    videos = _videos_path(values, train)
    sections["dataset"] |= _files(values, f"{videos}.video_dataset")
    sampler = f"{videos}.sampler"
    _take_target(values, sampler, "RandomUniformSampler")
    sections["scratch"]["num_frames"] = values.take(f"{sampler}.num_frames", 1)
    sections["scratch"]["max_num_objects"] = values.take(f"{sampler}.max_num_objects", 3)
    sections["dataset"]["reverse_time_prob"] = values.take(f"{sampler}.reverse_time_prob", 0.0)
    sections["dataset"]["multiplier"] = values.take(f"{videos}.multiplier", 1)
    sections["transforms"] = _transforms(values, f"{videos}.transforms")
    if isinstance(values.look("trainer.data.val"), dict):
        measured = _videos_path(values, "trainer.data.val")
        sections["val_dataset"] = _files(values, f"{measured}.video_dataset")
    return sections


def _first(values: Taken, path: str) -> Any:
    """The first entry of a list; with more than one it stays among what has no counterpart."""
    return (values.look(path) if values.count(path) > 1 else values.take(path, [1]))[0]


def _videos_path(values: Taken, loader: str) -> str:
    """The path of the first VOSDataset inside a loader's wrappers."""
    path = f"{loader}.datasets.0"
    while not isinstance(values.look(f"{path}.video_dataset"), dict):
        values.take(f"{path}._target_")
        inner = next((name for name in ("dataset", "datasets.0") if values.look(f"{path}.{name}") is not None), None)
        if inner is None:
            raise ConfigError(f"{loader}.datasets holds no dataset with a video_dataset: which videos is unknown")
        path = f"{path}.{inner}"
    values.take(f"{path}._target_")
    return path


def _take_target(values: Taken, path: str, known: str) -> None:
    """Takes a section's class where it is stock's; any other stays among what has no counterpart."""
    if str(values.look(f"{path}._target_", "")).endswith(f".{known}"):
        values.take(f"{path}._target_")


def _files(values: Taken, path: str) -> dict[str, Any]:
    values.take(f"{path}._target_")
    files = {
        "data_path": values.take(f"{path}.folder"),  # frames and masks in the same files
        "img_folder": values.take(f"{path}.img_folder"),
        "gt_folder": values.take(f"{path}.gt_folder"),
        "file_list_txt": values.take(f"{path}.file_list_txt"),
    }
    return {name: value for name, value in files.items() if value is not None}


def _transforms(values: Taken, path: str) -> dict[str, Any]:
    off = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    found: dict[str, Any] = {
        "horizontal_flip_prob": 0,
        "affine": {"degrees": 0, "shear": 0},
        "grayscale_prob": 0,
        "clip_jitter": dict(off),
        "frame_jitter": dict(off),
    }
    for outer in range(values.count(path)):
        inside = f"{path}.{outer}.transforms"
        values.take(f"{path}.{outer}._target_")
        for number in range(values.count(inside)):
            _transform(values, f"{inside}.{number}", found)
    return found


def _transform(values: Taken, path: str, found: dict[str, Any]) -> None:
    """Adds one transform; what is unknown of it stays untaken, and is listed so."""
    name = str(values.look(f"{path}._target_", "")).rsplit(".", 1)[-1]
    consistent = values.look(f"{path}.consistent_transform", True)
    if name == "ColorJitter":
        key = "clip_jitter" if consistent else "frame_jitter"
        parts = {part: values.take(f"{path}.{part}") or 0 for part in found[key]}
        found[key] = parts
    elif not consistent:
        return
    elif name == "RandomHorizontalFlip":
        found["horizontal_flip_prob"] = values.take(f"{path}.p", 0.5)
    elif name == "RandomGrayscale":
        found["grayscale_prob"] = values.take(f"{path}.p", 0.5)
    elif name == "RandomAffine":
        affine = {part: values.take(f"{path}.{part}") for part in ("degrees", "shear", "scale", "translate")}
        found["affine"] = affine | {"shear": affine["shear"] or 0}
        values.take(f"{path}.image_interpolation")
        values.take(f"{path}.log_warning")
    elif name == "NormalizeAPI":
        found |= {part: values.take(f"{path}.{part}") for part in ("mean", "std")}
    elif name == "RandomResizeAPI" and values.look(f"{path}.square"):
        values.take(path)
    elif name != "ToTensorAPI":
        return
    values.take(f"{path}._target_")
    values.take(f"{path}.consistent_transform")


def _model(values: Taken) -> dict[str, Any]:
    trunk = "trainer.model.image_encoder.trunk"
    model = {
        "checkpoint": values.take("trainer.checkpoint.model_weight_initializer.state_dict.checkpoint_path"),
        "drop_path_rate": values.take(f"{trunk}.drop_path_rate", 0.0),
    }
    if values.take("trainer.model.freeze_image_encoder", False):
        model["trainable_modules"] = ["frozen_encoder"]
    return model


def _network(values: Taken) -> dict[str, Any]:
    """The network's own arguments, without those that have a setting here."""
    others = (*PROMPTS, *NOT_OF_THE_NETWORK, *ONLY_IN_EVALUATION, "freeze_image_encoder")
    arguments = {name: value for name, value in values.take("trainer.model").items() if name not in others}
    encoder = dict(arguments["image_encoder"])
    encoder["trunk"] = {name: value for name, value in encoder["trunk"].items() if name != "drop_path_rate"}
    return arguments | {"image_encoder": encoder}


def _loss(values: Taken) -> dict[str, Any]:
    weights = values.take("trainer.loss.all.weight_dict")
    _take_target(values, "trainer.loss.all", "MultiStepMultiMasksAndIous")
    names = ("loss_mask", "loss_dice", "loss_iou", "loss_class")
    loss = {name: weights.get(name, 0.0) for name in names}
    return loss | {name: values.take(f"trainer.loss.all.{name}", default) for name, default in LOSS.items()}


def _checkpoint(values: Taken) -> dict[str, Any]:
    """save_freq 0 keeps the last state only, which a run here always does."""
    every = values.take("trainer.checkpoint.save_freq", 0)
    return {"every_n_epochs": every} if every else {}


def weights_name(path: object) -> str:
    """The file name of a recipe's weights; "" if it names none."""
    return Path(path).name if isinstance(path, str) else ""
