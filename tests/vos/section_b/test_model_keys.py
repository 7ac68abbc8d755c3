"""Keys of the network: each reaches SAM 2, and what does not go together or does not fit the weights is a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.core.schema import as_dict
from sam2_training.engine.config import LoadedConfig
from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig
from sam2_training.vos.export.export_weights import export_weights
from sam2_training.vos.export.stock_comparison import comparison_clip, track_with_ours, track_with_stock
from sam2_training.vos.model.build import build_for_inference, build_network
from sam2_training.vos.model.config import ARCHITECTURE_KEYS, ModelConfig
from sam2_training.vos.model.names import resolve_network
from sam2_training.vos.model.prompts import PromptPlan
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.model.weights import clean_state_dict, load_weights
from sam2_training.vos.task import VosTask, initial_network

from tests.tiny_checkpoint import SETTINGS, save_tiny
from tests.vos.moving_clips import make_batch

TINY = "architecture/tiny.yaml"
OTHER = {
    **{"num_maskmem": 3, "use_obj_ptrs_in_encoder": False, "max_obj_ptrs_in_encoder": 3},
    **{"add_tpos_enc_to_obj_ptrs": False, "proj_tpos_enc_in_obj_ptrs": False},
    **{"use_signed_tpos_enc_to_obj_ptrs": False, "multimask_output_in_sam": False},
    **{"multimask_output_for_tracking": True},
}
"""Another value than the architecture's for each key that may differ."""
TOGETHER = {"add_tpos_enc_to_obj_ptrs": {"proj_tpos_enc_in_obj_ptrs": False}}
"""{key: what has to change with it}."""


def built(**settings: Any) -> TrainableSAM2:
    """Random weights under which objects are present."""
    torch.manual_seed(0)
    network = build_network(ModelConfig(name=TINY, image_size=64, **settings))
    with torch.no_grad():
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)
    return network


def logits(model: TrainableSAM2) -> torch.Tensor:
    """Candidate masks of a frame between two of which the mask is given, with the random numbers of a seed."""
    torch.manual_seed(1)
    with torch.no_grad():
        return model.train().track(make_batch(9), PromptPlan(9, False, (0, 8)))[7].final_masks


def loaded_config(*overrides: str) -> LoadedConfig[VosConfig]:
    return load_config("custom_finetune", [*SETTINGS[2:], "dataset.dataset_type=synthetic", *overrides], VosConfig)


def config_of(*overrides: str) -> VosConfig:
    return load_config(
        "custom_finetune", [*SETTINGS[2:], "dataset.dataset_type=synthetic", *overrides], VosConfig
    ).config


@pytest.mark.parametrize("key", OTHER)
def test_each_key_is_an_argument_of_sam2(key: str) -> None:
    plain = built(**TOGETHER.get(key, {}))
    changed = built(**{key: OTHER[key]}, **TOGETHER.get(key, {}))
    assert getattr(plain, key) != OTHER[key]
    assert getattr(changed, key) == OTHER[key]
    same = {name: tensor for name, tensor in plain.state_dict().items() if name in changed.state_dict()}
    changed.load_state_dict(
        {name: tensor for name, tensor in same.items() if tensor.shape == changed.state_dict()[name].shape},
        strict=False,
    )
    if key not in ("multimask_output_in_sam",):  # a mask prompt gives one candidate anyway: see below
        first, second = logits(plain), logits(changed)
        assert first.shape != second.shape or not torch.equal(first, second)


def test_with_one_click_multimask_output_gives_three_candidates() -> None:
    click = {"point_inputs": {"point_labels": torch.ones(1, 1)}}
    assert built()._use_multimask(True, click["point_inputs"])
    assert not built(multimask_output_in_sam=False)._use_multimask(True, click["point_inputs"])
    assert built(multimask_output_for_tracking=True)._use_multimask(False, None)
    assert not built()._use_multimask(False, None)


def test_what_stock_cannot_track_with_is_not_exported(tmp_path: Path) -> None:
    config = config_of("model.use_obj_ptrs_in_encoder=false")
    with pytest.raises(ConfigError, match=r"use_obj_ptrs_in_encoder=false: stock sam2 has no such network"):
        export_weights(config, str(tmp_path / "a.pt"), tmp_path / "b.pt", fp16=False, safetensors=False)


def test_null_is_the_architectures_own() -> None:
    assert ModelConfig().replaced_arguments() == {}
    assert {getattr(ModelConfig(), key) for key in ARCHITECTURE_KEYS} == {None}


def test_another_stride_is_refused() -> None:
    assert built(backbone_stride=16).backbone_stride == 16
    with pytest.raises(
        ConfigError, match=r"model\.backbone_stride=8, but this image encoder's features have stride 16"
    ):
        built(backbone_stride=8)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.num_maskmem=0"], "model.num_maskmem=0 must be at least 1, or null"),
        (["model.max_obj_ptrs_in_encoder=1"], "must be at least 2, or null"),
        (
            ["model.proj_tpos_enc_in_obj_ptrs=true", "model.add_tpos_enc_to_obj_ptrs=false"],
            "needs model.add_tpos_enc_to_obj_ptrs=true",
        ),
        (
            ["model.multimask_output_for_tracking=true", "model.multimask_output_in_sam=false"],
            "has no effect with model.multimask_output_in_sam=false",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_go_together_is_said(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config_of(*overrides)
    assert words in str(raised.value)


def test_a_projection_that_the_architecture_has_needs_what_it_projects() -> None:
    with pytest.raises(ConfigError, match=r"set model\.proj_tpos_enc_in_obj_ptrs=false too"):
        built(add_tpos_enc_to_obj_ptrs=False)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"num_maskmem": 5}, "model.num_maskmem"),
        ({"use_obj_ptrs_in_encoder": False}, "model.use_obj_ptrs_in_encoder"),
        ({"proj_tpos_enc_in_obj_ptrs": False}, "model.proj_tpos_enc_in_obj_ptrs"),
    ],
    ids=str,
)
def test_weights_that_do_not_fit_name_the_key(settings: dict[str, Any], key: str, tmp_path: Path) -> None:
    path = save_tiny(tmp_path / "tiny.pt")
    with pytest.raises(CheckpointError) as raised:
        load_weights(built(**settings), str(path))
    assert key in str(raised.value)


@pytest.mark.parametrize("key", ["model.checkpoint_path", "model.checkpoint"])
def test_weights_are_loaded(key: str, tmp_path: Path) -> None:
    path = save_tiny(tmp_path / "tiny.pt", seed=3)
    config = config_of(f"{key}={path}")
    found = clean_state_dict(initial_network(config, config.model.checkpoint))
    saved = torch.load(path, weights_only=True)["model"]
    assert all(torch.equal(found[name], saved[name]) for name in saved)
    assert config_of(f"{key}=''").model.checkpoint == "auto"


@pytest.mark.parametrize("key", ["model.config_path", "model.model_name", "model.name"])
def test_the_network_is_the_named_one(key: str) -> None:
    for spelling in ("configs/sam2.1/sam2.1_hiera_t.yaml", "sam2.1_hiera_t.yaml", "tiny"):
        assert resolve_network(config_of(f"{key}={spelling}").model.name).key == "sam2.1_hiera_t"
    assert build_for_inference(config_of(f"{key}={TINY}")).memory_attention.d_model == 128


@pytest.mark.slow
def test_stock_with_the_same_arguments_gives_the_same_masks(tmp_path: Path) -> None:
    """Export compares so, and the end banner's lines load so."""
    changed = ["model.num_maskmem=3", "model.max_obj_ptrs_in_encoder=3", "model.use_signed_tpos_enc_to_obj_ptrs=false"]
    config = config_of(*changed)
    torch.manual_seed(0)
    model = build_for_inference(config)
    model.use_stock_image_encoder()
    path = tmp_path / "own.pt"
    torch.save({"model": clean_state_dict(model)}, path)
    with comparison_clip() as clip:
        ours = track_with_ours(model, clip)
        stock = track_with_stock(path, resolve_network(TINY), config.model, clip)
        with pytest.raises(CheckpointError, match="stock sam2 does not load"):
            track_with_stock(path, resolve_network(TINY), ModelConfig(name=TINY, image_size=64), clip)
    assert (ours.masks == stock.masks).all()
    assert (ours.presence == stock.presence).all()
    task = VosTask.__new__(VosTask)
    task.config = config
    assert "hydra_overrides_extra=['++model.num_maskmem=3', '++model.max_obj" in task.usage_snippet("x.pt")[-1]


def test_all_keys_are_compared_at_a_resume() -> None:
    loaded = loaded_config()
    for key, value in OTHER.items():
        saved = as_dict(loaded.config)
        saved["model"][key] = value
        assert loaded.differences_from(saved)[0] == [f"model.{key}: {value!r} -> None"]
