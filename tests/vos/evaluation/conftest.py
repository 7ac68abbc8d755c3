"""Clips and networks for tests of the evaluation; importing this makes stock_tracking importable for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sam2_training.data.config import SyntheticConfig
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.model.tracker import TrainableSAM2

from tests.vos.evaluation.generated import generated_clip
from tests.vos.evaluation.stock_tracking import TINY, FilesClip, vivid_network


@pytest.fixture
def dogs(real_data: Path) -> FilesClip:
    """Three objects that cross, 432x240."""
    return FilesClip(real_data / "vos", "dogs-jump", 10)


@pytest.fixture
def vivid() -> TrainableSAM2:
    """The smallest architecture at 64 pixels with weights that use their memory."""
    return vivid_network(TINY, 64)


@pytest.fixture
def made() -> EvaluationClip:
    """A generated clip of 6 frames with two objects."""
    return generated_clip(SyntheticConfig(num_videos=4, num_frames=6, size=64, num_objects=2), 5, 0)


@pytest.fixture(autouse=True)
def no_word_on_holes() -> Iterator[None]:
    """Stock warns on every frame that it cannot fill holes without its CUDA extension."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Skipping the post-processing.*")
        warnings.filterwarnings("ignore", message="(?s).*cannot import name '_C'.*")
        yield
