"""Clips by key: what the loader asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sam2_training.core.errors import ConfigError, DataError
from sam2_training.core.rng import derive_seed, rng_for
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.data.index import VideoIndex
from sam2_training.data.split import hold_out
from sam2_training.engine.task import SampleKey
from sam2_training.vos.batch import VideoBatch
from sam2_training.vos.clips.clip_reader import read_clip
from sam2_training.vos.clips.collate import BadSample, collate_clips
from sam2_training.vos.clips.sample import VideoSample
from sam2_training.vos.clips.sampler import RandomUniformSampler
from sam2_training.vos.clips.small_objects import dice_remark, small_objects_remark
from sam2_training.vos.clips.transforms import apply_transforms
from sam2_training.vos.clips.usable import clip_index
from sam2_training.vos.config import VosConfig


class ClipDataset:
    """Augmented clips of the videos in an index; a clip depends on its key and the run's seed, on nothing else."""

    def __init__(self, config: VosConfig, index: VideoIndex) -> None:
        self.config, self.index = config, index
        self.sampler = RandomUniformSampler.of(
            config.dataset, config.dataset.num_frames, config.dataset.max_num_objects
        )

    def __len__(self) -> int:
        return len(self.index) * self.config.dataset.multiplier

    def __getitem__(self, key: SampleKey) -> VideoSample | BadSample:
        """The clip at a key.

        Raises DataError if a file is not what the index says; with dataset.on_bad_sample=skip it comes back as a
        BadSample instead.
        """
        rng = rng_for(self.config.seed, "sample", key.epoch, key.position)
        video = self.index.video(key.index % len(self.index))
        try:
            sample = read_clip(self.index, video, self.sampler.sample(video, rng))
        except DataError as error:
            if self.config.dataset.on_bad_sample == "skip":
                return BadSample(str(error))
            raise
        sample = sample.with_(seed=derive_seed(self.config.seed, "clicks", key.epoch, key.position))
        return apply_transforms(sample, self.config.transforms, self.config.model.image_size, rng)

    def batch(self, keys: Sequence[SampleKey]) -> VideoBatch:
        """One batch of the clips at these keys: see `collate_clips`."""
        return self.collate([self[key] for key in keys])

    def has_clip(self, number: int) -> bool:
        """Whether a clip can be drawn from a video; a short one is filled up with its last frame."""
        if self.index.source.on_demand:
            return True
        areas = self.index.table.areas_of(number)
        problem = self.sampler.problem(areas)
        return problem is None or (problem == "short" and bool((areas > 0).any()))

    def collate(self, samples: Sequence[VideoSample | BadSample]) -> VideoBatch:
        """One batch of the samples: see `collate_clips`."""
        return collate_clips(samples, self.config.dataset.num_frames, self.config.model.image_size)

    def describe(self) -> list[str]:
        """Lines for the start banner."""
        remark = small_objects_remark(self.index, self.config.model.image_size)
        remark += dice_remark(self.index, self.config.loss)
        if self.config.dataset.gt_stride > 1:
            remark = [f"labels: 1 of every {self.config.dataset.gt_stride} labeled frames (dataset.gt_stride)", *remark]
        remark += temporal_remark(self.config)
        return [*self.index.describe(), *remark, f"clips per epoch: {len(self)}"]

    def fingerprint(self) -> str:
        """SHA-256 (hex) that changes when the data does."""
        return self.index.fingerprint()


def temporal_remark(config: VosConfig) -> list[str]:
    """A line for the start banner if the temporal loss can have no pair of labeled neighbors to act on."""
    dataset, loss = config.dataset, config.loss
    if loss.type != "bce_dice" or not loss.temporal_weight:
        return []
    apart = dataset.gt_stride if dataset.frame_selection == "all" else 1  # labels that are kept, at least
    if dataset.num_frames == 1:
        why = "clips have one frame (dataset.num_frames)"
    elif apart > dataset.frame_interval[1]:
        why = f"of two neighboring frames of a clip one at most is labeled (dataset.gt_stride={dataset.gt_stride})"
    else:
        return []
    return [f"check: loss.temporal_weight={loss.temporal_weight:g} has nothing to act on: {why}"]


def training_index(
    config: VosConfig, cache_dir: Path | None, heartbeat: HeartbeatCallback = no_heartbeat
) -> tuple[VideoIndex, VideoIndex | None]:
    """(videos to train on, videos that dataset.val_fraction holds out; None if it is 0 or there is a val_dataset).

    Raises DataError.
    """
    if not config.dataset.has_own_videos:
        raise ConfigError("dataset.img_folder is not set, and dataset.sets are not measured: give a val_dataset")
    index = clip_index(config.dataset, config.dataset.num_frames, cache_dir, config.seed, heartbeat)
    fraction = config.dataset.val_fraction if config.val_dataset is None else 0.0
    return hold_out(index, fraction) if fraction else (index, None)
