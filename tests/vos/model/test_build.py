"""Networks from YAML: stock's parameters, the right sizes, nothing foreign run, Hydra left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from sam2_training.core.errors import ConfigError
from sam2_training.core.places import CONFIG_ROOT
from sam2_training.vos.model.build import architecture_fingerprint, build_network
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.tracker import TrainableSAM2
from torch import nn

TINY = "architecture/tiny.yaml"


@pytest.fixture
def global_hydra() -> Iterator[GlobalHydra]:
    """Hydra's global state, put back afterwards."""
    instance = GlobalHydra.instance()
    before = instance.hydra
    yield instance
    instance.hydra = before


def own_architecture(folder: Path, changes: dict[str, object]) -> str:
    """Path of a copy of the tiny architecture with other values at some dotted places."""
    architecture = OmegaConf.load(CONFIG_ROOT / "architecture" / "tiny.yaml")
    for place, value in changes.items():
        OmegaConf.update(architecture, place, value, force_add=True)
    OmegaConf.save(architecture, folder / "mine.yaml")
    return str(folder / "mine.yaml")


def build_own(path: str) -> TrainableSAM2:
    return build_network(ModelConfig(name=path, image_size=64))


def test_parameter_names_and_shapes_equal_stocks(published_tiny: TrainableSAM2) -> None:
    from sam2.build_sam import build_sam2

    stock = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", None, device="cpu")
    shapes = {name: tensor.shape for name, tensor in stock.state_dict().items()}
    assert {name: tensor.shape for name, tensor in published_tiny.state_dict().items()} == shapes
    stock.load_state_dict(published_tiny.state_dict(), strict=True)
    assert dict(published_tiny.named_parameters()).keys() == dict(stock.named_parameters()).keys()


def test_everything_is_trainable_and_on_the_cpu(network: TrainableSAM2) -> None:
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in network.parameters())


@pytest.mark.parametrize("resolution", [64, 96, 160])
def test_the_resolution_sets_image_size_and_rotary_extents(resolution: int) -> None:
    model = build_network(ModelConfig(name=TINY, image_size=resolution))
    extent = resolution // 16
    assert model.image_size == resolution
    assert model.sam_image_embedding_size == extent
    for layer in model.memory_attention.layers:
        for attention in (layer.self_attn, layer.cross_attn_image):
            assert attention.freqs_cis.shape[0] == extent * extent
    features = model.encode_images(torch.zeros(1, 3, resolution, resolution))
    assert features.sizes == [(resolution // stride,) * 2 for stride in (4, 8, 16)]


def test_hydras_global_state_is_left_as_it_was(global_hydra: GlobalHydra) -> None:
    marker = object()
    for state in (None, marker):
        global_hydra.hydra = state
        build_network(ModelConfig(name=TINY, image_size=64))
        assert GlobalHydra.instance().hydra is state


def test_random_weights_follow_torchs_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return build_network(ModelConfig(name=TINY, image_size=64)).memory_attention.layers[0].linear1.weight

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_attention_dropout_and_drop_path_replace_the_architectures_own() -> None:
    model = build_network(ModelConfig(name=TINY, attention_dropout=0.0, drop_path_rate=0.3, image_size=64))
    layers = model.memory_attention.layers
    assert {attention.dropout_p for layer in layers for attention in (layer.self_attn, layer.cross_attn_image)} == {0.0}
    assert layers[0].dropout1.p == 0.1
    assert model.image_encoder.trunk.blocks[-1].drop_path.drop_prob == pytest.approx(0.3)
    plain = build_network(ModelConfig(name=TINY, image_size=64))
    assert plain.memory_attention.layers[0].self_attn.dropout_p == 0.1
    assert isinstance(plain.image_encoder.trunk.blocks[-1].drop_path, nn.Identity)


def test_the_fingerprint_of_an_architecture_is_that_of_its_content(tmp_path: Path) -> None:
    first, copy, other = tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"
    text = (CONFIG_ROOT / "architecture" / "tiny.yaml").read_text()
    first.write_text(text)
    copy.write_text(f"# another comment\n{text}")
    other.write_text(text.replace("dropout: 0.1", "dropout: 0.5", 1))
    prints = [architecture_fingerprint(str(path)) for path in (first, copy, other)]
    assert prints[0] == prints[1] == architecture_fingerprint("architecture/tiny.yaml")
    assert prints[2] != prints[0]


@pytest.mark.parametrize(
    "place",
    ["model.image_encoder.neck._target_", "model.extra._target_", "model.a_list"],
)
@pytest.mark.parametrize("target", ["os.system", "sam2.build_sam.os.system", "sam2evil.Thing", "builtins.eval"])
def test_a_foreign_target_is_refused_wherever_it_hides(tmp_path: Path, place: str, target: str) -> None:
    value = [1, [{"_target_": target}]] if place.endswith("a_list") else target
    with pytest.raises(ConfigError, match="only classes of the package sam2") as caught:
        build_own(own_architecture(tmp_path, {place: value}))
    assert target in str(caught.value)


def test_another_class_at_the_root_is_refused(tmp_path: Path) -> None:
    path = own_architecture(tmp_path, {"model._target_": "sam2.modeling.memory_encoder.CXBlock"})
    with pytest.raises(ConfigError, match=r"model\._target_ must be sam2\.modeling\.sam2_base\.SAM2Base"):
        build_own(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model: [1, 2", "cannot be read"),
        ("- 1\n- 2", "no section `model`"),
        ("", "no section `model`"),
        ("net: {}", "no section `model`"),
        ("model: {_target_: sam2.modeling.sam2_base.SAM2Base, x: '${nowhere}'}", "cannot be read"),
    ],
)
def test_a_file_that_is_no_architecture_is_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason) as caught:
        build_own(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"model.image_encoder.trunk.no_such_argument": 1},
        {"model.image_encoder.neck.backbone_channel_list": [1, 2, 3, 4]},
        {"model.no_such_argument": 1},
    ],
)
def test_arguments_that_sam2_does_not_take_are_a_config_error(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        build_own(own_architecture(tmp_path, changes))


@pytest.mark.parametrize("part", ["memory_attention", "image_encoder"])
def test_an_architecture_without_one_of_its_parts_is_a_config_error(tmp_path: Path, part: str) -> None:
    architecture = OmegaConf.load(CONFIG_ROOT / "architecture" / "tiny.yaml")
    del architecture.model[part]
    OmegaConf.save(architecture, tmp_path / "mine.yaml")
    with pytest.raises(ConfigError, match=rf"mine\.yaml.*{part}"):
        build_own(str(tmp_path / "mine.yaml"))
