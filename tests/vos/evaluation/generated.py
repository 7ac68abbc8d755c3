"""Generated clips for tests."""

from __future__ import annotations

from sam2_training.data.config import SyntheticConfig
from sam2_training.data.formats.synthetic import SyntheticSource
from sam2_training.data.index import build_index
from sam2_training.vos.evaluation.clips import EvaluationClip


def generated_clip(
    config: SyntheticConfig, seed: int, number: int, kind: type[EvaluationClip] = EvaluationClip
) -> EvaluationClip:
    """Video `number` of those that a configuration and a seed describe."""
    return kind(build_index(SyntheticSource(config, seed)), number)
