"""Training recipes of the sam2 repository are converted by their values; nothing in them is imported or called."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from sam2_training.core.errors import ConfigError
from sam2_training.core.schema import as_dict, flatten
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.build import build_network

from tests.test_foreign_files import stock_yaml

MOSE = stock_yaml("sam2.1_training/sam2.1_hiera_b+_MOSE_finetune.yaml")
DATA = ["dataset.img_folder=frames", "dataset.gt_folder=masks"]

VOLUMES = """
scratch: {side: 256, clips: 2, rate: 4.0e-5, epochs: 12, phases: 2}
where: {volumes: /data/volumes}
trainer:
  _target_: training.trainer.Trainer
  max_epochs: ${times:${scratch.epochs},${scratch.phases}}
  seed_value: 7
  model:
    image_size: ${scratch.side}
    prob_to_use_pt_input_for_train: 0.5
    prob_to_use_box_input_for_train: 1.0
    num_frames_to_correct_for_train: 2
    freeze_image_encoder: true
  data:
    train:
      _target_: training.dataset.sam2_datasets.TorchTrainMixedDataset
      phases_per_epoch: ${scratch.phases}
      batch_sizes: ["${scratch.clips}"]
      num_workers: 3
      datasets:
        - _target_: training.dataset.vos_dataset.VOSDataset
          video_dataset: {_target_: training.dataset.vos_raw_dataset.NPZRawDataset, folder: "${where.volumes}/train"}
          sampler: {_target_: training.dataset.vos_sampler.RandomUniformSampler, num_frames: 5, max_num_objects: 4,
            reverse_time_prob: 0.5}
          multiplier: 3
          transforms:
            - _target_: training.dataset.transforms.ComposeAPI
              transforms:
                - {_target_: training.dataset.transforms.RandomHorizontalFlip, consistent_transform: true, p: 0.25}
                - {_target_: training.dataset.transforms.RandomAffine, consistent_transform: true, degrees: 9,
                  scale: [0.9, 1.1], image_interpolation: bilinear}
                - {_target_: training.dataset.transforms.ColorJitter, consistent_transform: false, brightness: 0.2,
                  contrast: 0.1, saturation: 0.0, hue: null}
                - {_target_: training.dataset.transforms.RandomMosaicVideoAPI, prob: 0.15}
    val:
      datasets:
        - video_dataset: {_target_: training.dataset.vos_raw_dataset.NPZRawDataset, folder: "${where.volumes}/val"}
  optim:
    amp: {enabled: true, amp_dtype: float16}
    optimizer: {_target_: torch.optim.SGD, momentum: 0.9}
    gradient_clip: {_target_: training.optimizer.GradientClipper, max_norm: 0.5, norm_type: 2}
    options:
      lr:
        - scheduler: {_target_: fvcore.common.param_scheduler.LinearParamScheduler, start_value: "${scratch.rate}",
            end_value: "${divide:${scratch.rate},4}"}
      weight_decay:
        - scheduler: {_target_: fvcore.common.param_scheduler.ConstantParamScheduler, value: 0.02}
  loss:
    all:
      weight_dict: {loss_mask: 10, loss_dice: 2, loss_iou: 1}
      iou_use_l1_loss: true
    all_val: {weight_dict: {loss_mask: 1}}
  checkpoint: {save_freq: 4}
  logging: {log_freq: 25}
launcher: {gpus_per_node: 2, experiment_log_dir: logs/volumes}
"""
"""A recipe as projects that build on sam2's trainer have them, with values of our own; its network is added below."""


def volumes() -> dict[str, Any]:
    """With the network of the published tiny one, whose memory is shorter."""
    content: dict[str, Any] = yaml.safe_load(VOLUMES)
    network = yaml.safe_load(stock_yaml("sam2.1/sam2.1_hiera_t.yaml").read_text())["model"]
    content["trainer"]["model"] = network | {"num_maskmem": 5} | content["trainer"]["model"]
    return content


def load(content: dict[str, Any], folder: Path, *overrides: str) -> VosConfig:
    path = folder / "theirs.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_config(str(path), list(overrides), VosConfig).config


def test_the_published_recipe_is_our_mose_finetune(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mose.yaml"
    path.write_bytes(MOSE.read_bytes())
    loaded = load_config(str(path), [*DATA, "dataset.file_list_txt=null"], VosConfig)
    assert as_dict(loaded.config) == as_dict(load_config("mose_finetune", DATA, VosConfig).config) | {
        "launcher": as_dict(loaded.config)["launcher"]
    }
    assert loaded.name == "mose_converted"
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"mose.yaml is a training recipe of the sam2 repository: converted to {tmp_path}/mose_converted.yaml"
    ]
    again = load_config(str(tmp_path / "mose_converted.yaml"), [*DATA, "dataset.file_list_txt=null"], VosConfig)
    assert again.config == loaded.config
    assert (
        load_config(str(path), [*DATA, "scratch.base_lr=1e-3", "scratch.vision_lr=2e-3"], VosConfig).config.optimizer.lr
        == 1e-3
    )


def test_values_of_a_derived_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load(volumes(), tmp_path, "model.checkpoint=null")
    flat = flatten(as_dict(config))
    expected = {
        **{"seed": 7, "trainer.max_epochs": 12, "trainer.precision": "16-mixed", "trainer.gradient_clip_val": 0.5},
        **{"model.image_size": 256, "loader.batch_size": 2, "loader.num_workers": 3, "trainer.log_every_n_steps": 25},
        **{"dataset.data_path": "/data/volumes/train", "val_dataset.data_path": "/data/volumes/val"},
        **{"dataset.num_frames": 5, "dataset.max_num_objects": 4, "dataset.multiplier": 3},
        **{"dataset.reverse_time_prob": 0.5, "model.trainable_modules": ["frozen_encoder"]},
        **{"transforms.horizontal_flip_prob": 0.25, "transforms.affine.degrees": 9, "transforms.affine.shear": 0},
        **{"transforms.affine.scale": [0.9, 1.1], "transforms.grayscale_prob": 0},
        **{"transforms.frame_jitter.brightness": 0.2, "transforms.clip_jitter.brightness": 0},
        **{"prompts.prob_to_use_box_input": 1.0, "prompts.num_init_cond_frames": 1},
        **{"optimizer.type": "SGD", "optimizer.lr": 4e-5, "optimizer.weight_decay": 0.02},
        **{"optimizer.options": {"momentum": 0.9}, "optimizer.layer_decay": 1.0, "optimizer.no_weight_decay": []},
        **{"scheduler.type": "linear", "scheduler.end_factor": 0.25, "checkpoint.every_n_epochs": 4},
        **{"loss.loss_mask": 10, "loss.loss_dice": 2, "loss.loss_class": 0, "loss.supervise_all_iou": False},
        **{"launcher.gpus_per_node": 2, "launcher.experiment_log_dir": "logs/volumes"},
    }
    options = {"optimizer.options": config.optimizer.options}
    assert {key: (flat | options)[key] for key in expected} == expected
    left = capsys.readouterr().err
    assert "RandomMosaicVideoAPI" in left
    assert "all_val.weight_dict.loss_mask = 1" in left
    assert "prob = 0.15" in left
    assert left.count("\n") == 5, "what has no counterpart, and nothing else"


def test_a_network_that_is_not_published_is_written_as_an_architecture(tmp_path: Path) -> None:
    config = load(volumes(), tmp_path, "model.checkpoint=null", "scratch.resolution=64")
    assert config.model.name == str(tmp_path / "theirs_architecture.yaml")
    assert build_network(config.model, config.prompts).num_maskmem == 5


def test_a_published_network_keeps_its_name_and_weights(tmp_path: Path) -> None:
    content = volumes()
    content["trainer"]["model"]["num_maskmem"] = 7
    content["trainer"]["checkpoint"]["model_weight_initializer"] = {
        "state_dict": {"checkpoint_path": "somewhere/sam2.1_hiera_tiny.pt"}
    }
    model = load(content, tmp_path).model
    assert (model.name, model.checkpoint) == ("sam2.1_hiera_t", "auto")


def test_nothing_in_it_is_imported_or_called(tmp_path: Path) -> None:
    content, mark = volumes(), tmp_path / "mark"
    content["trainer"]["loss"]["all"]["extra"] = {"_target_": "os.mkdir", "path": str(mark)}
    content["trainer"]["optim"]["clip"] = {"_target_": "pathlib.Path.touch", "_args_": [str(mark)]}
    load(content, tmp_path, "model.checkpoint=null")
    assert not mark.exists()
    content["trainer"]["model"]["memory_encoder"]["_target_"] = "os.mkdir"
    (tmp_path / "other").mkdir()
    config = load(content, tmp_path / "other", "model.checkpoint=null")
    with pytest.raises(ConfigError, match=r"os\.mkdir"):
        build_network(config.model, config.prompts)


def test_a_converted_file_that_was_changed_is_kept(tmp_path: Path) -> None:
    load(volumes(), tmp_path)
    converted = tmp_path / "theirs_converted.yaml"
    converted.write_text(converted.read_text().replace("seed: 7", "seed: 8"))
    digest = hashlib.sha256(converted.read_bytes()).hexdigest()
    with pytest.raises(
        ConfigError, match=r"theirs_converted.yaml differs from what theirs.yaml is converted to: if you"
    ):
        load(volumes(), tmp_path)
    assert hashlib.sha256(converted.read_bytes()).hexdigest() == digest


def test_in_a_folder_of_an_installed_package_it_goes_to_the_folder_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(MOSE.parent.iterdir())
    load_config(str(MOSE), DATA, VosConfig)
    assert sorted(MOSE.parent.iterdir()) == before
    converted = tmp_path / "sam2_logs" / "converted" / f"{MOSE.stem}_converted.yaml"
    assert stat.S_ISREG(converted.stat().st_mode)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("data", None, "without trainer.data.train"),
        ("loss", {}, "without trainer.loss.all.weight_dict"),
        ("seed_value", "${times:a}${nothing}", "theirs.yaml: "),
        ("max_epochs", "${divide:1,0}", "theirs.yaml: "),
        ("optim", {}, r"optim.options.lr must give a rate for all parameters"),
    ],
)
def test_a_recipe_that_is_not_whole_is_named(tmp_path: Path, key: str, value: object, problem: str) -> None:
    content = volumes()
    content["trainer"][key] = value
    with pytest.raises(ConfigError, match=problem):
        load(content, tmp_path)


def test_classes_of_their_own_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = volumes()
    content["trainer"]["loss"]["all"]["_target_"] = "theirs.BoundaryLoss"
    content["trainer"]["data"]["train"]["datasets"][0]["sampler"]["_target_"] = "theirs.Sampler"
    load(content, tmp_path)
    said = capsys.readouterr().err
    assert "trainer.loss.all._target_ = theirs.BoundaryLoss" in said
    assert "sampler._target_ = theirs.Sampler" in said


def test_another_schedule_is_named_not_replaced(tmp_path: Path) -> None:
    content = volumes()
    content["trainer"]["optim"]["options"]["lr"][0]["scheduler"]["_target_"] = "fvcore.Composite"
    with pytest.raises(ConfigError, match="the learning rate follows Composite, for which there is no counterpart"):
        load(content, tmp_path)
