"""Which videos a command evaluates: the configured set, or those that a list names."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.core.text import count
from sam2_training.data.name_list import read_list
from sam2_training.vos.clips.dataset import training_index
from sam2_training.vos.clips.usable import clip_index
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation.clips import EvaluationClip, clips_of
from sam2_training.vos.metrics.names import VALIDATION
from sam2_training.vos.validation import unseen_seed

VAL_FRACTION = "dataset.val_fraction"


@dataclass(frozen=True)
class EvaluationSet:
    """Videos to evaluate, and where they come from."""

    clips: tuple[EvaluationClip, ...]
    section: str
    """Where the configuration names them: val_dataset, dataset.val_fraction (videos held out), or dataset."""
    split: str
    """Name of the list of videos (its file's stem), val_fraction, or "all"."""
    description: str
    """Lines for the terminal."""
    fingerprint: str
    """SHA-256 (hex) that changes when the videos do: see `VideoIndex.fingerprint`."""


def open_evaluation_set(
    config: VosConfig, split: str | None, cache_dir: Path, heartbeat: HeartbeatCallback = no_heartbeat
) -> EvaluationSet:
    """The videos of val_dataset, else those that dataset.val_fraction holds out, else those of dataset.

    split: text file with one video name a line (empty lines and lines that start with # are skipped): exactly these
    videos of val_dataset's, or else dataset's, folders. cache_dir: a run's folder, whose index is used (and kept) if
    it exists. Raises DataError for a list that cannot be read, names a video twice or one that is not there, and for
    what `clip_index` refuses.
    """
    section = "dataset" if config.val_dataset is None else "val_dataset"
    dataset = config.measured_dataset or config.dataset
    cache = cache_dir if cache_dir.is_dir() and os.access(cache_dir, os.W_OK | os.X_OK) else None
    if split is None and section == "dataset" and dataset.val_fraction:
        section = VAL_FRACTION
        held_out = training_index(config, cache, heartbeat)[1]
        assert held_out is not None  # val_fraction is not 0, and holds out at least one video
        index = held_out
    else:
        if split is not None:
            read_list(split, "--split")  # so that its errors name --split
            dataset = replace(dataset, file_list_txt=split)  # errors in other videos do not matter then
        index = clip_index(dataset, 1, cache, _seed(config, section), heartbeat)
    listed = dataset.file_list_txt
    name = "val_fraction" if section == VAL_FRACTION else Path(listed).stem if listed else "all"
    listing = f", list {listed}" if listed else ""
    description = f"{count(len(index), 'video')} of {section}: {index.source.location}{listing}"
    if section == "dataset" and split is None:
        description += "\nThere is no val_dataset: these are the training videos. --split names others."
    if section == VAL_FRACTION:
        description += f"\nThese are held out by dataset.val_fraction={dataset.val_fraction:g}; 0 evaluates all."
    lines = [description, *(f"labels: {line}" for line in index.label_report.lines), *index.remarks()]
    return EvaluationSet(tuple(clips_of(index)), section, name, "\n".join(lines), index.fingerprint())


def _seed(config: VosConfig, section: str) -> int:
    """The seed of generated videos: training's own, or for val_dataset the one that validations in training use."""
    return config.seed if section == "dataset" else unseen_seed(config.seed, VALIDATION)
