"""Validation of a run: the validation set and the retention set, before and after."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from sam2_training.core.ranks import Ranks
from sam2_training.core.rng import derive_seed
from sam2_training.core.shared_work import HeartbeatCallback
from sam2_training.core.text import some
from sam2_training.data.index import VideoIndex
from sam2_training.engine.task import ForwardPrecision, RunSummary
from sam2_training.pictures.strips import score_text
from sam2_training.report.data import worse_warnings
from sam2_training.vos.clips.config import AffineConfig, ColorJitterConfig, TransformsConfig, VosDatasetConfig
from sam2_training.vos.clips.dataset import ClipDataset
from sam2_training.vos.clips.usable import clip_index
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.clips import EvaluationClip, clips_of
from sam2_training.vos.evaluation.measured_set import MeasuredSet, loss_batches
from sam2_training.vos.metrics.names import PREFIXES, RETENTION, TITLES, VALIDATION
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.reporting.score_tables import comparison_lines, score_table, start_stays_best

FORMER_RETENTION = "guard"
"""The retention set's folder in runs of earlier versions."""


class VosValidation:
    """Implements `sam2_training.engine.task.Validation` for videos with masks.

    Metrics: `metrics.names.METRICS`, and the same of the retention set with retention_ in front. The retention set is
    measured whenever the validation set is.
    """

    unit = "frames"

    def __init__(self, config: VosConfig, validation: MeasuredSet, retention: MeasuredSet | None) -> None:
        self.config = config
        self.sets = {VALIDATION: validation} | ({RETENTION: retention} if retention is not None else {})

    def describe(self) -> list[str]:
        lines = []
        for name, videos in self.sets.items():
            frames = sum(clip.num_frames for clip in videos.clips)
            lines.append(
                f"{name}: {len(videos.clips)} video(s), {frames} frames, prompt {videos.spec}, "
                f"protocol {self.config.evaluation.protocol}"
            )
            if name != VALIDATION or self.config.val_dataset is not None:  # else they are training's own
                lines += [f"{name}: {line}" for line in videos.clips[0].index.remarks()]
        return lines

    def fingerprint(self) -> str:
        settings = (self.config.evaluation.prompt, self.config.evaluation.protocol)
        sets = {name: (videos.fingerprint, len(videos.clips)) for name, videos in self.sets.items()}
        return hashlib.sha256(repr((settings, sorted(sets.items()))).encode()).hexdigest()

    def set_aside(self, step: int) -> None:
        for videos in self.sets.values():
            videos.set_aside(step)

    def num_units(self, count: int | None = None) -> int:
        if count is not None:
            return sum(clip.num_frames for clip in self.sets[VALIDATION].clips[:count])
        return sum(clip.num_frames for videos in self.sets.values() for clip in videos.clips)

    def measure(
        self, model: TrainableSAM2, step: int, precision: ForwardPrecision, heartbeat: HeartbeatCallback
    ) -> dict[str, float]:
        values: dict[str, float] = {}
        for name, videos in self.sets.items():
            found = videos.measure(model, step, precision, heartbeat)
            values.update({f"{PREFIXES[name]}{metric}": value for metric, value in found.items()})
        return values

    def sanity_check(
        self, model: TrainableSAM2, count: int, precision: ForwardPrecision, heartbeat: HeartbeatCallback
    ) -> str:
        videos = self.sets[VALIDATION]
        result = videos.evaluate(model, precision, heartbeat, count=count)
        checked = [clip.video for clip in result.clips]
        return (
            f"{len(checked)} of {len(videos.clips)} validation videos tracked and scored ({some(checked)}), "
            f"{TITLES['j_and_f']} {score_text(result.mean().j_and_f)}; nothing is kept"
        )

    def keep_as_best(self) -> None:
        for videos in self.sets.values():
            videos.keep_as_best()

    def comparison_lines(self, summary: RunSummary) -> list[str]:
        found = [score_table(name, videos, summary) for name, videos in self.sets.items()]
        tables = [table for table in found if table is not None]
        warnings = [*start_stays_best(self.config, summary), *worse_warnings(tables)]
        lines = [line for table in tables for line in comparison_lines(table)]
        return lines + [f"WARNING: {sentence}" for sentence in warnings]


def open_validation(
    config: VosConfig, ranks: Ranks, log_dir: Path, held_out: VideoIndex | None
) -> VosValidation | None:
    """The validation that a configuration asks for; None if no videos are held out for it.

    held_out: the videos that dataset.val_fraction holds out. Raises DataError for files that cannot be used.
    """
    measured = config.measured_dataset
    if measured is None and held_out is None:
        return None
    if measured is not None:
        validation = ranks.main_first(
            lambda heartbeat: _open_set(config, measured, VALIDATION, ranks, log_dir, heartbeat)
        )
    else:
        assert held_out is not None
        validation = _set_of_index(config, config.dataset, held_out, VALIDATION, ranks, log_dir)
    retention_config = config.evaluation.retention_dataset
    retention = None
    if retention_config is not None:
        retention = ranks.main_first(
            lambda heartbeat: _open_set(config, retention_config, RETENTION, ranks, log_dir, heartbeat)
        )
        if ranks.is_main:
            _adopt_former_folder(log_dir)
    return VosValidation(config, validation, retention)


def _open_set(
    config: VosConfig,
    dataset: VosDatasetConfig | None,
    name: str,
    ranks: Ranks,
    log_dir: Path,
    heartbeat: HeartbeatCallback,
) -> MeasuredSet:
    assert dataset is not None
    seed = unseen_seed(config.seed, name)
    index = clip_index(replace(dataset, short_videos="repeat_last"), 1, log_dir, seed, heartbeat)
    return _set_of_index(config, dataset, index, name, ranks, log_dir)


def _set_of_index(
    config: VosConfig, dataset: VosDatasetConfig, index: VideoIndex, name: str, ranks: Ranks, log_dir: Path
) -> MeasuredSet:
    clips = _limited(config, clips_of(index))
    seed = config.seed if index.source.seed is None else index.source.seed
    plain = replace(_without_augmentation(config, dataset), seed=seed)
    batches = loss_batches(ClipDataset(plain, index), len(clips))
    return MeasuredSet(config, ranks, clips, batches, _folder(log_dir, name), index.fingerprint())


def unseen_seed(seed: int, name: str) -> int:
    """The seed of a set's generated videos in a run with `seed`: others than those of training."""
    return derive_seed(seed, "unseen", tuple(PREFIXES).index(name)) % 2**31


def _folder(log_dir: Path, name: str) -> Path:
    return log_dir / "evaluation" / name


def _adopt_former_folder(log_dir: Path) -> None:
    """Renames the retention set's folder of a run that an earlier version started."""
    former, folder = _folder(log_dir, FORMER_RETENTION), _folder(log_dir, RETENTION)
    if former.is_dir() and not folder.exists():
        former.rename(folder)


def _limited(config: VosConfig, clips: list[EvaluationClip]) -> list[EvaluationClip]:
    """The first videos, as many as trainer.limit_val_batches allows; at least one."""
    limit = config.trainer.limit_val_batches
    count = limit if isinstance(limit, int) else round(limit * len(clips))
    return clips[: max(1, count)]


def _without_augmentation(config: VosConfig, dataset: VosDatasetConfig) -> VosConfig:
    """The configuration of clips for a validation loss: not augmented, forward in time, short videos padded."""
    none = ColorJitterConfig()
    transforms = TransformsConfig(0.0, AffineConfig(0.0, 0.0), none, 0.0, none)
    clips = replace(
        config.dataset.with_videos_of(dataset),
        short_videos="repeat_last",
        gt_stride=1,
        reverse_time_prob=0.0,
        multiplier=1,
        on_bad_sample="error",
        val_fraction=0.0,
    )
    return replace(config, dataset=clips, transforms=transforms)
