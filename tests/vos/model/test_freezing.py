"""Frozen means frozen: no gradient, no randomness; and names that fit nothing are answered."""

from __future__ import annotations

import pytest
import torch
from sam2_training.core.errors import ConfigError
from sam2_training.engine.task import StepContext
from sam2_training.vos.loss_config import LossConfig
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.freezing import (
    MEMORY_PARTS,
    OWN_PARAMETERS,
    PRESETS,
    explained_presets,
    freeze,
    memory_remark,
    trainable_table,
)
from sam2_training.vos.model.prompts_config import PromptsConfig
from sam2_training.vos.model.step import ClipStep
from sam2_training.vos.model.tracker import TrainableSAM2

from tests.vos.moving_clips import make_batch


def trainable(model: TrainableSAM2) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("pattern", "example", "stranger"),
    [
        ("memory_attention", "memory_attention.norm.weight", "memory_encoder.out_proj.weight"),
        ("image_encoder.neck.*", "image_encoder.neck.convs.0.conv.weight", "image_encoder.trunk.pos_embed"),
        ("image_encoder.trunk.blocks.?", "image_encoder.trunk.blocks.4.norm1.bias", "image_encoder.trunk.pos_embed"),
        ("no_obj_ptr", "no_obj_ptr", "no_mem_embed"),
        ("*.norm1.weight", "image_encoder.trunk.blocks.0.norm1.weight", "image_encoder.trunk.blocks.0.norm1.bias"),
    ],
)
def test_modules_globs_and_parameters_can_be_named(
    network: TrainableSAM2, pattern: str, example: str, stranger: str
) -> None:
    freeze(network, (pattern,))
    assert example in trainable(network)
    assert stranger not in trainable(network)


def test_a_modules_name_is_no_prefix_of_another_name(network: TrainableSAM2) -> None:
    freeze(network, ("no_mem_embed",))
    assert trainable(network) == {"no_mem_embed"}
    with pytest.raises(ConfigError):
        freeze(network, ("no_mem",))


def test_everything_can_learn_again(network: TrainableSAM2) -> None:
    freeze(network, ("no_obj_ptr",))
    freeze(network, ModelConfig().learning_modules)
    assert len(trainable(network)) == len(list(network.parameters()))
    assert all(module.training for module in network.modules())


PARTS_OF_PRESETS = {
    "decoder": {"sam_mask_decoder"},
    "memory": {
        *("memory_attention", "memory_encoder", "maskmem_tpos_enc", "obj_ptr_proj", "obj_ptr_tpos_proj"),
        *("mask_downsample", "no_mem_pos_enc", "no_obj_ptr", "no_obj_embed_spatial"),
    },
}
PARTS_OF_PRESETS["memory+decoder"] = PARTS_OF_PRESETS["memory"] | PARTS_OF_PRESETS["decoder"]
PARTS_OF_PRESETS["frozen_encoder"] = PARTS_OF_PRESETS["memory+decoder"] | {"sam_prompt_encoder", "no_mem_embed"}
PARTS_OF_PRESETS["all"] = PARTS_OF_PRESETS["frozen_encoder"] | {"image_encoder"}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_these_parts_wholly(network: TrainableSAM2, preset: str) -> None:
    freeze(network, (preset,))
    everything = {name for name, _ in network.named_parameters()}
    expected = {name for name in everything if name.split(".")[0] in PARTS_OF_PRESETS[preset]}
    assert trainable(network) == expected
    (line,) = explained_presets((preset, "image_encoder"))
    assert preset in line
    assert PRESETS[preset].meaning in line


def test_presets_names_and_globs_add_up(network: TrainableSAM2) -> None:
    freeze(network, ("decoder", "no_mem_embed", "*.neck.*"))
    parts = {".".join(name.split(".")[:2]) for name in trainable(network) if "decoder" not in name}
    assert parts == {"no_mem_embed", "image_encoder.neck"}
    assert any(name.startswith("sam_mask_decoder.") for name in trainable(network))


def test_a_preset_that_is_misspelled_is_answered_with_the_right_one(network: TrainableSAM2) -> None:
    with pytest.raises(ConfigError, match=r"did you mean frozen_encoder\?.*Presets: all, frozen_encoder"):
        freeze(network, ("frozen_encodr",))


def test_every_name_that_fits_nothing_is_answered_with_the_nearest(network: TrainableSAM2) -> None:
    with pytest.raises(ConfigError) as caught:
        freeze(network, ("memory_atention", "image_encoder", "sam_mask_decodr.*"))
    assert len(caught.value.problems) == 2
    assert "'memory_atention' matches no parameter; did you mean memory_attention?" in caught.value.problems[0]
    assert "did you mean sam_mask_decoder" in caught.value.problems[1]
    assert len(trainable(network)) == len(list(network.parameters())), "a refused call must change nothing"


def test_frozen_parts_stay_in_eval_mode_under_train(network: TrainableSAM2) -> None:
    freeze(network, ("memory_attention.layers.1", "image_encoder.neck"))
    for _ in range(2):
        assert network.train() is network
        assert not network.image_encoder.trunk.training
        assert network.image_encoder.neck.training
        assert not network.memory_attention.layers[0].dropout1.training
        assert network.memory_attention.layers[1].dropout1.training
        assert not any(module.training for module in network.eval().modules())


def test_a_frozen_encoder_drops_nothing_at_random() -> None:
    model = build_network(ModelConfig(name="architecture/tiny.yaml", drop_path_rate=0.9, image_size=64))
    images = torch.randn(4, 3, 64, 64)

    def differ() -> bool:
        model.train()
        return not torch.equal(model.encode_images(images).maps[-1], model.encode_images(images).maps[-1])

    assert differ(), "drop path of 0.9 must show, or this test proves nothing"
    freeze(model, ("memory_attention",))
    assert not differ()
    assert not model.encode_images(images).maps[-1].requires_grad


def test_after_backward_only_trainable_parameters_have_a_gradient(network: TrainableSAM2) -> None:
    freeze(network, ("memory_attention", "memory_encoder", "no_obj_ptr", "sam_mask_decoder.*"))
    step = ClipStep(network, LossConfig()).train()
    step(make_batch(2), 2.0, StepContext(3, 0))["total"].backward()
    with_gradient = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert with_gradient <= trainable(network)
    assert any(name.startswith("memory_attention.layers.1") for name in with_gradient)
    assert any(name.startswith("memory_encoder") for name in with_gradient)


def test_the_table_adds_up(network: TrainableSAM2) -> None:
    freeze(network, ("image_encoder.neck", "no_obj_ptr"))
    rows = [line.split() for line in trainable_table(network)[1:]]
    numbers = {row[0]: (int(row[1].replace(",", "")), int(row[2].replace(",", ""))) for row in rows}
    total = numbers.pop("total")
    assert total == tuple(sum(column) for column in zip(*numbers.values(), strict=True))
    assert total[0] == sum(parameter.numel() for parameter in network.parameters())
    assert total[1] == sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    assert numbers["image_encoder"][1] == sum(p.numel() for p in network.image_encoder.neck.parameters())
    assert numbers[OWN_PARAMETERS][1] == network.no_obj_ptr.numel()
    assert rows[-1][-1] == f"{total[1] / total[0]:.0%}"


def test_clips_of_one_frame_are_said_to_teach_memory_nothing(network: TrainableSAM2) -> None:
    """The parts that the line names are those whose parameters get no gradient, under any prompt."""
    reached = set()
    for prob_to_use_points, box in ((1.0, 0.0), (1.0, 1.0), (0.0, 0.0)):
        network.prompts = PromptsConfig(prob_to_use_points, box, num_correction_pt_per_frame=1)
        network.zero_grad()
        ClipStep(network, LossConfig()).train()(make_batch(1), 2.0, StepContext(3, 0))["total"].backward()
        reached |= {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    parts = {name.split(".")[0] for name, _ in network.named_parameters()}
    idle = parts - {name.split(".")[0] for name in reached}
    assert idle == parts & set(MEMORY_PARTS)
    (line,) = memory_remark(network, 1)
    assert "memory does not learn" in line
    assert all(part in line for part in idle)
    assert memory_remark(network, 2) == []
    freeze(network, ("sam_mask_decoder",))
    assert memory_remark(network, 1) == []
