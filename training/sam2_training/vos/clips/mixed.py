"""Clips of several datasets: each keeps its sampler, augmentation and batch size, and no batch mixes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sam2_training.core.schema import as_dict
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.data.index import VideoIndex
from sam2_training.engine.task import SampleGroup, SampleKey
from sam2_training.vos.batch import VideoBatch
from sam2_training.vos.clips.dataset import ClipDataset, training_index
from sam2_training.vos.clips.usable import clip_index
from sam2_training.vos.config import VosConfig

PLACES = ("img_folder", "gt_folder", "data_path", "file_list_txt", "dataset_type")
"""Keys of a dataset that say where its files are, which a copy does not change."""


class MixedClips:
    """The clips of all datasets, one after the other."""

    def __init__(
        self, parts: Sequence[ClipDataset], weights: Sequence[float], batch_sizes: Sequence[int | None]
    ) -> None:
        """parts: a dataset each. weights: how often an epoch goes through it. batch_sizes: None: loader.batch_size."""
        self.parts, self.weights, self.batch_sizes = tuple(parts), tuple(weights), tuple(batch_sizes)

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def batch(self, keys: Sequence[SampleKey]) -> VideoBatch:
        """One batch of the clips at these keys, which are all of one dataset."""
        first = 0
        for part in self.parts:
            if keys[0].index < first + len(part):
                return part.batch([replace(key, index=key.index - first) for key in keys])
            first += len(part)
        raise IndexError(keys[0].index)

    def groups(self) -> tuple[SampleGroup, ...]:
        """The datasets as the engine sees them."""
        rows = zip(self.parts, self.weights, self.batch_sizes, strict=True)
        return tuple(SampleGroup(len(part), weight, batch_size) for part, weight, batch_size in rows)

    def describe(self) -> list[str]:
        """Lines for the start banner."""
        lines = []
        for number, group in enumerate(self.groups()):
            part = self.parts[number]
            batch_size = group.batch_size or part.config.loader.batch_size
            lines.append(
                f"dataset {number + 1} of {len(self.parts)}: weight {group.passes:g}, "
                f"{part.config.dataset.num_frames} frame(s) per clip, {batch_size} clip(s) per device at once"
            )
            lines += [f"  {line}" for line in part.describe()]
        return lines

    def fingerprint(self) -> str:
        """SHA-256 (hex) that changes when the data of one does, or how it is mixed, sampled or augmented."""
        digest = hashlib.sha256(b"mixed datasets 1")
        for part, group in zip(self.parts, self.groups(), strict=True):
            settings = as_dict(part.config.dataset) | {"transforms": as_dict(part.config.transforms)}
            kept = {key: value for key, value in settings.items() if key not in PLACES}
            digest.update(json.dumps([part.fingerprint(), as_dict(group), kept], sort_keys=True).encode())
        return digest.hexdigest()


def open_clips(
    config: VosConfig, cache_dir: Path | None, heartbeat: HeartbeatCallback = no_heartbeat
) -> tuple[ClipDataset | MixedClips, VideoIndex | None]:
    """(clips to train on, videos that dataset.val_fraction holds out: see `training_index`). Raises DataError.

    With dataset.sets: the clips of all of them, after the section's own if it has videos.
    """
    dataset, held_out = config.dataset, None
    parts: list[ClipDataset] = []
    if dataset.has_own_videos:
        index, held_out = training_index(config, cache_dir, heartbeat)
        parts.append(ClipDataset(config, index))
    if not dataset.sets:
        return parts[0], held_out
    own = len(parts)
    for number, chosen in enumerate(dataset.sets):
        part = replace(config, dataset=dataset.of_set(number), transforms=chosen.transforms or config.transforms)
        index = clip_index(part.dataset, part.dataset.num_frames, cache_dir, config.seed, heartbeat)
        parts.append(ClipDataset(part, index))
    weights = [*([1.0] * own), *(chosen.weight for chosen in dataset.sets)]
    batch_sizes = [*([None] * own), *(chosen.batch_size for chosen in dataset.sets)]
    return MixedClips(parts, weights, batch_sizes), held_out
