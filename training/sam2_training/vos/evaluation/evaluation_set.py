"""Which videos a command evaluates: the configured set, or those that a list names."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.vos.clips.dataset import training_index
from sam2_training.vos.config import VosConfig, VosDatasetConfig
from sam2_training.vos.evaluation.clips import EvaluationClip, FolderClip, folder_clips, open_clips, select_clips
from sam2_training.vos.metrics.names import VALIDATION
from sam2_training.vos.validation import unseen_seed

VAL_FRACTION = "dataset.val_fraction"


@dataclass(frozen=True)
class EvaluationSet:
    """Videos to evaluate, and where they come from."""

    clips: tuple[EvaluationClip, ...]
    section: str
    """What of the configuration they are: val_dataset, dataset.val_fraction (videos held out), or dataset."""
    split: str
    """Name of the list of videos (its file's stem), val_fraction, or "all"."""
    description: str
    """A line for people."""
    fingerprint: str
    """SHA-256 (hex) of what the videos consist of; not of where they lie."""


def open_evaluation_set(
    config: VosConfig, split: str | None, cache_dir: Path, heartbeat: HeartbeatCallback = no_heartbeat
) -> EvaluationSet:
    """The videos of val_dataset, else those that dataset.val_fraction holds out, else those of dataset.

    split: text file with one video name a line (empty lines and lines that start with # are skipped): exactly these
    videos of val_dataset's, or else dataset's, folders. cache_dir: a run's folder, whose index is used (and kept) if
    it exists. Raises DataError for a list that cannot be read, names a video twice or one that is not there, and for
    what `open_clips` refuses.
    """
    section = "dataset" if config.val_dataset is None else "val_dataset"
    dataset = config.val_dataset or config.dataset
    cache = cache_dir if cache_dir.is_dir() and os.access(cache_dir, os.W_OK | os.X_OK) else None
    seed = _seed(config, section)
    if split is None and section == "dataset" and dataset.val_fraction:
        section = VAL_FRACTION
        held_out = training_index(config, cache, heartbeat)[1]
        assert held_out is not None  # val_fraction is not 0, and holds out at least one video
        clips = folder_clips(held_out)
    else:
        names = [] if split is None else read_split(split)
        # Only the named videos are read then, and no other one can be in the way.
        clips = open_clips(dataset if split is None else replace(dataset, file_list_txt=split), seed, cache, heartbeat)
        if split is not None and dataset.dataset_type == "synthetic":
            clips = select_clips(clips, names, f"--split {split}")
    listed = dataset.file_list_txt if split is None else split
    name = Path(listed).stem if listed else "all"
    where = "generated" if dataset.dataset_type == "synthetic" else f"{dataset.img_folder}"
    description = f"{len(clips)} video(s) of {section}: {where}{f', list {listed}' if listed else ''}"
    if section == "dataset" and split is None:
        description += "\nThere is no val_dataset: training learns from these very videos. --split names others."
    if section == VAL_FRACTION:
        description += f"\nThese are held out by dataset.val_fraction={dataset.val_fraction:g}; 0 evaluates all."
    name = "val_fraction" if section == VAL_FRACTION else name
    return EvaluationSet(tuple(clips), section, name, description, _fingerprint(clips, dataset, seed))


def read_split(path: str) -> list[str]:
    """The video names of a list, in its order. Raises DataError."""
    try:
        with g_pathmgr.open(path, "r") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text file"
        raise DataError(
            f"--split {path} cannot be read: {reason}. Give a text file with one video name a line"
        ) from error
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise DataError(f"--split {path} names no video. Write one video name a line")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"--split {path} names {', '.join(twice[:3])} more than once. Name each video once")
    return names


def _seed(config: VosConfig, section: str) -> int:
    """The seed of generated videos: training's own, or for val_dataset the one that validations in training use."""
    return config.seed if section == "dataset" else unseen_seed(config.seed, VALIDATION)


def _fingerprint(clips: list[EvaluationClip], dataset: VosDatasetConfig, seed: int) -> str:
    first = clips[0] if clips else None
    if isinstance(first, FolderClip):
        return first.index.fingerprint()
    made = f"{seed} {dataset.synthetic} {[clip.name for clip in clips]}"
    return hashlib.sha256(made.encode()).hexdigest()
