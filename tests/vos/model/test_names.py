"""Names of networks: every spelling in use, files of one's own, and clear refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sam2_training.core.errors import ConfigError
from sam2_training.core.places import CONFIG_ROOT
from sam2_training.vos.model.names import ALIASES, PUBLISHED, resolve_network
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.model.weights import clean_state_dict

from tests.places import REPOSITORY

SPELLINGS = {
    "sam2.1_hiera_t": ("configs/sam2.1/sam2.1_hiera_t.yaml", "sam2/sam2.1_hiera_t.yaml", "tiny", "t", "hiera_t"),
    "sam2.1_hiera_s": ("sam2.1_hiera_s", "small", "s", "configs/sam2.1/sam2.1_hiera_s", "sam2.1_hiera_small.pt"),
    "sam2.1_hiera_b+": (
        "sam2.1_hiera_b+",
        "sam2.1_hiera_base_plus",
        "base_plus",
        "b+",
        "base+",
        "facebook/sam2.1-hiera-base-plus",
        "configs/sam2.1/sam2.1_hiera_b+.yaml",
        "SAM2.1_Hiera_B+",
    ),
    "sam2.1_hiera_l": ("large", "l", "sam2/sam2.1_hiera_l.yaml", " sam2.1_hiera_large "),
}

BUILD_WITH_STOCK = """
import sys, torch
from sam2_training.vos.model.names import register_aliases
register_aliases("architecture/tiny.yaml")
from hydra import compose
from sam2.build_sam import build_sam2, build_sam2_video_predictor
build_sam2("sam2.1_hiera_t", sys.argv[1], device="cpu")
published = compose(config_name="configs/sam2.1/sam2.1_hiera_b+.yaml")
for spelling in ("sam2.1_hiera_b+", "sam2.1_hiera_base_plus", "b+", "sam2/sam2.1_hiera_b+.yaml"):
    assert compose(config_name=spelling) == published, spelling
assert len(build_sam2_video_predictor("own/tiny.yaml", None, device="cpu").image_encoder.trunk.blocks) == 5
print("built")
"""


@pytest.mark.parametrize(("key", "spelling"), [(key, one) for key, all_ in SPELLINGS.items() for one in all_])
def test_every_spelling_in_use_resolves(key: str, spelling: str) -> None:
    network = resolve_network(spelling)
    assert network.key == key
    assert network.config_name == f"configs/sam2.1/{key}.yaml"
    assert network.yaml_path.is_file()


def test_each_published_network_has_the_file_name_of_its_own_weights() -> None:
    names = [resolve_network(key).checkpoint_name for key in PUBLISHED]
    assert names == [f"sam2.1_hiera_{size}.pt" for size in ("tiny", "small", "base_plus", "large")]


def test_aliases_are_understood_with_and_without_ending_and_in_any_case() -> None:
    for spelling, key in ALIASES.items():
        for variant in (spelling, f"{spelling}.yaml", f"{spelling}.pt", spelling.upper()):
            assert resolve_network(variant).key == key, variant


@pytest.mark.parametrize("name", ["sam2.1_heira_t", "sam2.1_hiera_tt", "sam2.1_hiera_t.yml.bak"])
def test_an_unknown_name_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match=r"did you mean sam2\.1_hiera_t") as caught:
        resolve_network(name)
    assert repr(name) in str(caught.value)
    assert all(key in str(caught.value) for key in PUBLISHED)


@pytest.mark.parametrize("name", ["", "resnet50", "no/such/file.yaml"])
def test_a_name_like_no_other_lists_the_networks(name: str) -> None:
    with pytest.raises(ConfigError, match="neither a known network nor a file"):
        resolve_network(name)


@pytest.mark.parametrize("name", ["sam2_hiera_t", "configs/sam2/sam2_hiera_t.yaml", "sam2_hiera_t.pt"])
def test_networks_of_the_first_release_are_refused_with_their_successor(name: str) -> None:
    with pytest.raises(ConfigError, match=r"first release.*use sam2\.1_hiera_t$"):
        resolve_network(name)


def test_a_yaml_of_ones_own_is_found_by_path_and_inside_sam2_configs(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text((CONFIG_ROOT / "architecture" / "tiny.yaml").read_text())
    for name, path in {str(own): own, "architecture/tiny.yaml": CONFIG_ROOT / "architecture" / "tiny.yaml"}.items():
        network = resolve_network(name)
        assert network.yaml_path == path.resolve()
        assert network.checkpoint_name is None
        assert network.config_name == f"own/{path.name}"


def test_stock_build_functions_take_registered_aliases(published_tiny: TrainableSAM2, tmp_path: Path) -> None:
    """In a process of its own: Hydra's store of named configs is global."""
    weights = tmp_path / "weights.pt"
    torch.save({"model": clean_state_dict(published_tiny)}, weights)
    done = subprocess.run(
        [sys.executable, "-c", BUILD_WITH_STOCK, str(weights)],
        cwd=REPOSITORY / "training",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("built\n")
