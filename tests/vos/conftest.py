"""Networks that several files of tests share; importing this also makes moving_clips importable for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.tracker import TrainableSAM2

TINY = "architecture/tiny.yaml"


@pytest.fixture(scope="session")
def published_tiny() -> TrainableSAM2:
    """sam2.1_hiera_t with random weights at 1024 pixels, not to be changed."""
    return build_network(ModelConfig(name="sam2.1_hiera_t", image_size=1024))


@pytest.fixture
def network() -> TrainableSAM2:
    """A fresh network of the smallest architecture at 64 pixels, always with the same weights."""
    torch.manual_seed(0)
    return build_network(ModelConfig(name=TINY, image_size=64))


@pytest.fixture(autouse=True)
def same_random_numbers() -> Iterator[None]:
    """No test depends on those before it."""
    state = torch.get_rng_state()
    torch.manual_seed(7)
    yield
    torch.set_rng_state(state)
