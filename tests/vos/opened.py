"""Datasets of a configuration, opened in one line."""

from __future__ import annotations

from pathlib import Path

from sam2_training.vos.clips.config import VosDatasetConfig
from sam2_training.vos.clips.dataset import ClipDataset, training_index
from sam2_training.vos.clips.usable import clip_index
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.clips import EvaluationClip, clips_of


def build_dataset(config: VosConfig, cache_dir: Path | None) -> ClipDataset:
    """The dataset that a configuration describes; its index is cached in cache_dir."""
    return ClipDataset(config, training_index(config, cache_dir)[0])


def open_clips(dataset: VosDatasetConfig, seed: int, cache_dir: Path | None) -> list[EvaluationClip]:
    """Every video of a dataset, whole, in natural order. seed: of generated videos."""
    return clips_of(clip_index(dataset, 1, cache_dir, seed))
