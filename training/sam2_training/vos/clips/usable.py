"""Which videos clips can be drawn from; the others are an error when the dataset is opened, or left out."""

from __future__ import annotations

from pathlib import Path

from sam2_training.core.errors import ConfigError, DataError
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.core.text import count, some
from sam2_training.data.index import VideoIndex, open_index
from sam2_training.vos.clips.config import VosDatasetConfig
from sam2_training.vos.clips.sampler import RandomUniformSampler


def clip_index(
    config: VosDatasetConfig,
    num_frames: int,
    cache_dir: Path | None = None,
    seed: int = 0,
    heartbeat: HeartbeatCallback = no_heartbeat,
) -> VideoIndex:
    """The videos that a configuration names and that clips of num_frames frames can be drawn from.

    seed: of generated videos; cache_dir, heartbeat: see `build_index`. Raises DataError, or ConfigError for generated
    videos that are too short.
    """
    index = open_index(config, cache_dir, seed, heartbeat)
    return usable(index, RandomUniformSampler.of(config, num_frames, 1))


def usable(index: VideoIndex, sampler: RandomUniformSampler) -> VideoIndex:
    """The index of the videos that the sampler can draw from.

    Leaves short ones out if its short_videos says so. Raises DataError for the others, and ConfigError for generated
    videos, which are all of one length.
    """
    source = index.source
    if not len(index):
        raise DataError(f"no video is left to draw clips from: {source.location}\n" + "\n".join(index.skipped))
    if source.on_demand:
        _check_length(index, sampler)
        return index
    found = [sampler.problem(index.table.areas_of(number)) for number in range(len(index))]
    empty = [index.names[number] for number, problem in enumerate(found) if problem == "empty"]
    short = [index.names[number] for number, problem in enumerate(found) if problem == "short"]
    frames = "frames" if sampler.frame_selection == "all" else "annotated frames"
    if short and sampler.short_videos == "error":
        raise DataError(
            f"{count(len(short), 'video')} with fewer than the {sampler.shortest_video} {frames} that a clip needs: "
            f"{some(short)} ({source.location})\nLower dataset.num_frames or dataset.frame_interval, or set "
            "dataset.short_videos to skip or repeat_last."
        )
    if empty:
        thinned = "lower dataset.gt_stride, " if sampler.gt_stride > 1 else ""
        raise DataError(
            f"{count(len(empty), 'video')} in which no clip of {sampler.num_frames} {frames} can start, because no "
            f"frame that could be its first shows an object: {some(empty)} ({source.mask_location})\n"
            f"Correct the masks, {thinned}or leave these videos out with dataset.file_list_txt."
        )
    if not short or sampler.short_videos == "repeat_last":
        return index
    kept = [number for number, problem in enumerate(found) if problem is None]
    if not kept:
        raise DataError(f"every video has fewer than {sampler.shortest_video} {frames}: {source.location}")
    line = f"{count(len(short), 'video')} with fewer than {sampler.shortest_video} {frames}: {some(short)}"
    return index.part(kept, line)


def _check_length(index: VideoIndex, sampler: RandomUniformSampler) -> None:
    length = index.table.num_frames_of(0)
    if length < sampler.shortest_video and sampler.short_videos != "repeat_last":
        raise ConfigError(
            f"dataset.synthetic.num_frames={length} is less than the {sampler.shortest_video} frames that a clip "
            "spans: raise it, or lower dataset.num_frames or dataset.frame_interval"
        )
