"""Clips by key: what the loader asks for, from folders or generated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sam2_training.core.errors import ConfigError, DataError
from sam2_training.core.rng import rng_for
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.data.formats.synthetic import GeneratedVideo, generator_fingerprint, synthetic_video
from sam2_training.data.index import VideoIndex, build_index
from sam2_training.data.split import hold_out
from sam2_training.engine.task import SampleKey
from sam2_training.vos.batch import VideoBatch
from sam2_training.vos.clips.clip_reader import read_clip
from sam2_training.vos.clips.collate import BadSample, collate_clips
from sam2_training.vos.clips.planes import pack_planes
from sam2_training.vos.clips.sample import VideoSample
from sam2_training.vos.clips.sampler import RandomUniformSampler
from sam2_training.vos.clips.transforms import apply_transforms
from sam2_training.vos.config import VosConfig


class ClipDataset:
    """Augmented clips of the videos in an index; a clip depends on its key and the run's seed, on nothing else."""

    def __init__(self, config: VosConfig, index: VideoIndex) -> None:
        self.config, self.index = config, index
        self.sampler = _sampler(config)

    def __len__(self) -> int:
        return self.index.num_videos * self.config.dataset.multiplier

    def __getitem__(self, key: SampleKey) -> VideoSample | BadSample:
        """The clip at a key.

        Raises DataError if a file is not what the index says; with dataset.on_bad_sample=skip it comes back as a
        BadSample instead.
        """
        rng = rng_for(self.config.seed, "sample", key.epoch, key.position)
        video = self.index.video(key.index % self.index.num_videos)
        try:
            sample = read_clip(self.index, video, self.sampler.sample(video, rng))
        except DataError as error:
            if self.config.dataset.on_bad_sample == "skip":
                return BadSample(str(error))
            raise
        return apply_transforms(sample, self.config.transforms, self.config.model.image_size, rng)

    def batch(self, keys: Sequence[SampleKey]) -> VideoBatch:
        """One batch of the clips at these keys: see `collate_clips`."""
        return self.collate([self[key] for key in keys])

    def collate(self, samples: Sequence[VideoSample | BadSample]) -> VideoBatch:
        """One batch of the samples: see `collate_clips`."""
        return collate_clips(samples, self.config.dataset.num_frames, self.config.model.image_size)

    def describe(self) -> list[str]:
        """Lines for the start banner."""
        return [*self.index.describe(), f"clips per epoch: {len(self)}"]

    def fingerprint(self) -> str:
        """SHA-256 (hex) that changes when the data does."""
        return self.index.fingerprint()


class SyntheticDataset:
    """Augmented clips of generated videos, with the same interface as `ClipDataset`."""

    def __init__(self, config: VosConfig) -> None:
        """Raises ConfigError if no clip fits into the generated videos."""
        self.config = config
        self.sampler = _sampler(config)
        made, needed = config.dataset.synthetic.num_frames, self.sampler.shortest_video
        if made < needed and config.dataset.short_videos != "repeat_last":
            raise ConfigError(
                f"dataset.synthetic.num_frames={made} is less than the {needed} frames that a clip spans: raise it, or "
                "lower dataset.num_frames or dataset.frame_interval"
            )

    def __len__(self) -> int:
        return self.config.dataset.synthetic.num_videos * self.config.dataset.multiplier

    def __getitem__(self, key: SampleKey) -> VideoSample:
        rng = rng_for(self.config.seed, "sample", key.epoch, key.position)
        number = key.index % self.config.dataset.synthetic.num_videos
        frames, masks = synthetic_video(self.config.seed, number, self.config.dataset.synthetic)
        video = GeneratedVideo.of(f"synthetic-{number}", masks)
        plan = self.sampler.sample(video, rng)
        columns = [video.object_ids.index(i) for i in plan.object_ids]
        sample = VideoSample(
            frames=tuple(frames[t] for t in plan.frame_indices),
            mask_planes=np.stack([pack_planes(masks[t, columns]) for t in plan.frame_indices]),
            labeled=np.ones((len(plan.frame_indices), len(columns)), np.bool_),
            object_ids=plan.object_ids,
            video_name=video.name,
            frame_names=tuple(f"{t:05d}" for t in plan.frame_indices),
        )
        return apply_transforms(sample, self.config.transforms, self.config.model.image_size, rng)

    def batch(self, keys: Sequence[SampleKey]) -> VideoBatch:
        """One batch of the clips at these keys: see `collate_clips`."""
        return self.collate([self[key] for key in keys])

    def collate(self, samples: Sequence[VideoSample]) -> VideoBatch:
        """One batch of the samples: see `collate_clips`."""
        return collate_clips(samples, self.config.dataset.num_frames, self.config.model.image_size)

    def describe(self) -> list[str]:
        """Lines for the start banner."""
        made = self.config.dataset.synthetic
        return [
            f"videos: {made.num_videos}, generated ({made.num_frames} frames of {made.size}x{made.size}, "
            f"{made.num_objects} objects)",
            f"clips per epoch: {len(self)}",
        ]

    def fingerprint(self) -> str:
        """SHA-256 (hex) of what the videos are generated from."""
        return generator_fingerprint(self.config.seed, self.config.dataset.synthetic)


def build_dataset(config: VosConfig, cache_dir: Path | None) -> ClipDataset | SyntheticDataset:
    """The dataset a configuration describes; the index of a folder dataset is cached in cache_dir. Raises DataError."""
    if config.dataset.dataset_type == "synthetic":
        return SyntheticDataset(config)
    return ClipDataset(config, training_index(config, cache_dir)[0])


def training_index(
    config: VosConfig, cache_dir: Path | None, heartbeat: HeartbeatCallback = no_heartbeat
) -> tuple[VideoIndex, VideoIndex | None]:
    """(videos to train on, videos that dataset.val_fraction holds out; None if it is 0 or there is a val_dataset).

    Raises DataError.
    """
    index = build_index(config.dataset, config.dataset.num_frames, cache_dir, heartbeat)
    fraction = config.dataset.val_fraction if config.val_dataset is None else 0.0
    return hold_out(index, fraction) if fraction else (index, None)


def _sampler(config: VosConfig) -> RandomUniformSampler:
    return RandomUniformSampler.of(config.dataset, config.dataset.num_frames, config.dataset.max_num_objects)
