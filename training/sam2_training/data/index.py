"""The index of a dataset of frame and mask folders: built once, cached in one file, checked before training."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.core.text import count, some
from sam2_training.data.formats.folders import join, list_names, natural_key, scan_video
from sam2_training.data.images import UnreadableFileError
from sam2_training.data.table import Video, VideoTable, load_table, save_table
from sam2_training.vos.clips.sampler import RandomUniformSampler
from sam2_training.vos.config import VosDatasetConfig

LISTED_AT_MOST = 10
"""Problems that an error message spells out; the rest is counted."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoIndex:
    """The videos that clips are drawn from, and what was left out and why."""

    img_folder: str
    gt_folder: str
    table: VideoTable
    skipped: tuple[str, ...] = ()
    """A line per reason for leaving videos out, with their number."""
    cache_path: str = ""
    """The file the index is cached in; "" if it is not."""

    @property
    def num_videos(self) -> int:
        return len(self.table)

    def __len__(self) -> int:
        return len(self.table)

    def video(self, index: int) -> Video:
        """The video at a place, 0 <= index < num_videos."""
        return self.table[index]

    def image_path(self, video: Video, frame_index: int) -> str:
        return join(self.img_folder, video.name, video.frame_files[frame_index])

    def mask_path(self, video: Video, frame_index: int, object_number: int = 0) -> str:
        """The mask file of a frame (of one object in it, where each has its folder); "" if the frame has none."""
        file, folder = video.mask_files[frame_index], video.object_folders[object_number]
        return join(self.gt_folder, video.name, *([folder] if folder else []), file) if file else ""

    def mask_source(self, video: Video, frame_index: int) -> str:
        """Where a frame's masks are: the file, or, with one folder per object, the folder of these; "" if nowhere."""
        if video.mask_files[frame_index] and any(video.object_folders):
            return join(self.gt_folder, video.name)
        return self.mask_path(video, frame_index)

    def describe(self) -> list[str]:
        """Lines for a start banner: counts of videos, frames, labeled frames and objects, and what was left out."""
        table = self.table
        masks = int(np.count_nonzero(np.diff(table.mask_files.ends, prepend=0)))
        lines = [
            f"videos: {len(table)} ({self.img_folder})",
            f"frames: {len(table.frame_files)}, {masks} of them with masks ({self.gt_folder})",
            f"objects: {len(table.object_ids)}",
            *(f"left out: {line}" for line in self.skipped),
        ]
        orphans = int(table.masks_without_frame.sum())
        if orphans:
            lines.append(f"not used: {orphans} mask files that belong to no frame")
        return lines

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the videos' names, file names, object ids and pixel counts; not of where they lie."""
        return self.table.fingerprint()


def build_index(
    config: VosDatasetConfig, num_frames: int, cache_dir: Path | None, heartbeat: HeartbeatCallback = no_heartbeat
) -> VideoIndex:
    """The index of config's folders, for clips of num_frames frames.

    Every folder is listed and every mask decoded once; the result is kept in one file in cache_dir (None: nowhere).
    The next call reuses a video as long as the modification times of its folders are the same, which change when a
    file is added, removed, renamed or replaced, and reads only the others. A mask that is overwritten in place is
    noticed when a clip is read: its pixel counts differ from the index. Stores without modification times are
    compared by name only. heartbeat: called after each video that was read.

    Raises DataError with everything that is wrong: missing folders, listed videos that do not exist, videos without
    masks, unreadable masks, videos from which no clip can be drawn. on_bad_sample=skip leaves videos with unreadable
    masks out, up to max_bad_fraction of all; short_videos=skip leaves out the short ones.
    """
    img_folder, gt_folder = config.img_folder or "", config.gt_folder or ""
    for key, folder in (("img_folder", img_folder), ("gt_folder", gt_folder)):
        if not g_pathmgr.isdir(folder):
            raise DataError(f"dataset.{key} is no folder: {folder}\nGive a folder with one folder of files per video.")
    names = _video_names(config, img_folder)
    _require_masks(names, img_folder, gt_folder)
    cache_path = _cache_path(cache_dir, config)
    table, stamps, failures = _scan_all(img_folder, gt_folder, names, cache_path, heartbeat)
    if cache_path is not None and stamps is not None:
        save_table(cache_path, table, stamps)
    skipped = _tolerate(failures, len(names), config)
    index = VideoIndex(img_folder, gt_folder, table, skipped, str(cache_path or ""))
    return _usable(index, RandomUniformSampler.of(config, num_frames, 1))


def _video_names(config: VosDatasetConfig, img_folder: str) -> list[str]:
    """The videos to use, in natural order. Raises DataError if a listed one does not exist."""
    if config.file_list_txt is None:
        names = [name for name in list_names(img_folder) if g_pathmgr.isdir(join(img_folder, name))]
        if not names:
            raise DataError(
                f"dataset.img_folder has no folder in it: {img_folder}\nGive each video a folder of frames."
            )
        return names
    try:
        with g_pathmgr.open(config.file_list_txt, "r") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"dataset.file_list_txt cannot be read ({error}): {config.file_list_txt}") from error
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise DataError(f"dataset.file_list_txt names no video: {config.file_list_txt}")
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise DataError(f"dataset.file_list_txt names {name} {times} times: {config.file_list_txt}\nName it once.")
    missing = [name for name in names if not g_pathmgr.isdir(join(img_folder, name))]
    if missing:
        raise DataError(
            f"{count(len(missing), 'video')} in the list that the folder does not have: {some(missing)}\n"
            f"  list   {config.file_list_txt}\n  folder {img_folder}\nCorrect the list, or add the videos."
        )
    return sorted(names, key=natural_key)


def _require_masks(names: list[str], img_folder: str, gt_folder: str) -> None:
    """Raises DataError if no video at all has a mask folder: then the folders do not belong together."""
    if not any(g_pathmgr.isdir(join(gt_folder, name)) for name in names):
        raise DataError(
            f"no video has masks: {img_folder} has {count(len(names), 'video')} ({some(names)}), but {gt_folder} "
            "has no folder of any of these names\nCheck that dataset.img_folder and dataset.gt_folder belong together."
        )


def _cache_path(cache_dir: Path | None, config: VosDatasetConfig) -> Path | None:
    """One file per pair of folders and list, so that two datasets of a run do not drive each other out."""
    if cache_dir is None:
        return None
    what = "\0".join([config.img_folder or "", config.gt_folder or "", config.file_list_txt or ""])
    return cache_dir / f"dataset_index_{hashlib.sha256(what.encode()).hexdigest()[:8]}.npz"


def _scan_all(
    img_folder: str, gt_folder: str, names: list[str], cache_path: Path | None, heartbeat: HeartbeatCallback
) -> tuple[VideoTable, npt.NDArray[np.uint64] | None, list[tuple[str, DataError]]]:
    """Facts of all videos that could be read, their stamps (None: as cached), and (name, error) of the others."""
    known, known_stamps = _load_cache(cache_path)
    place = {known.names[i]: i for i in range(len(known))} if known is not None else {}
    objects = {name: known[i].object_folders for name, i in place.items()} if known is not None else {}
    stamps = {name: _stamp(img_folder, gt_folder, name, objects.get(name, ())) for name in names}
    unchanged = {name for name in names if name in place and known_stamps[place[name]] == stamps[name]}
    if known is not None and len(unchanged) == len(names) == len(known):
        return known, None, []
    failures: list[tuple[str, DataError]] = []
    videos: list[Video] = []
    fresh = [name for name in names if name not in unchanged]
    for name, result in _merged(names, fresh, img_folder, gt_folder, heartbeat):
        if isinstance(result, DataError):
            failures.append((name, result))
        else:
            videos.append(result or known[place[name]])  # type: ignore[index]
    # A video of one folder per object is stamped with these folders, which were unknown before it was read.
    scanned = set(fresh)
    final = [
        _stamp(img_folder, gt_folder, video.name, video.object_folders) if video.name in scanned else stamps[video.name]
        for video in videos
    ]
    return VideoTable.of(videos), np.array(final, np.uint64), failures


def _merged(
    names: list[str], fresh: Sequence[str], img_folder: str, gt_folder: str, heartbeat: HeartbeatCallback
) -> Iterator[tuple[str, Video | DataError | None]]:
    """(name, what scanning it gave) of all names in order; None for those that need no scan.

    Threads, because decoding runs without Python's lock, and stores registered with iopath are known to them.
    """

    def scan(name: str) -> Video | DataError:
        try:
            return scan_video(img_folder, gt_folder, name)
        except DataError as error:
            return error

    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        results = {}
        for name, result in zip(fresh, pool.map(scan, fresh), strict=True):
            results[name] = result
            heartbeat()
    for name in names:
        yield name, results.get(name)


def _load_cache(path: Path | None) -> tuple[VideoTable | None, npt.NDArray[np.uint64]]:
    nothing = np.zeros(0, np.uint64)
    if path is None or not path.is_file():
        return None, nothing
    try:
        return load_table(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _logger.warning("the dataset index %s is not intact (%s); it is built again", path, error)
        return None, nothing


def _stamp(img_folder: str, gt_folder: str, name: str, object_folders: Sequence[str]) -> np.uint64:
    """A number that changes when a file is added to, removed from or replaced in one of the video's folders."""
    below = [folder for folder in object_folders if folder]
    places = [join(img_folder, name), *(join(gt_folder, name, *part) for part in [(), *((b,) for b in below)])]
    times = []
    for place in places:
        try:
            times.append(os.stat(place).st_mtime_ns)  # noqa: PTH116 - a store's path is no Path
        except OSError:
            times.append(0)
    return np.uint64(int.from_bytes(hashlib.blake2b(repr(times).encode(), digest_size=8).digest(), "little"))


def _tolerate(failures: list[tuple[str, DataError]], num_videos: int, config: VosDatasetConfig) -> tuple[str, ...]:
    """Lines on the videos that on_bad_sample=skip leaves out. Raises DataError if the failures are not tolerable."""
    if not failures:
        return ()
    tolerable = config.on_bad_sample == "skip" and all(isinstance(e, UnreadableFileError) for _, e in failures)
    if tolerable and len(failures) <= config.max_bad_fraction * num_videos:
        return (f"{count(len(failures), 'video')} with unreadable masks: {some([name for name, _ in failures])}",)
    text = "\n".join(str(error) for _, error in failures[:LISTED_AT_MOST])
    more = f"\n... and {len(failures) - LISTED_AT_MOST} more" if len(failures) > LISTED_AT_MOST else ""
    limit = (
        f"\nThese are more than dataset.max_bad_fraction={config.max_bad_fraction:g} of {num_videos} videos."
        if tolerable
        else ""
    )
    raise DataError(text + more + limit)


def _usable(index: VideoIndex, sampler: RandomUniformSampler) -> VideoIndex:
    """The index of the videos that clips can be drawn from. Raises DataError on the others, as the policy says."""
    table = index.table
    if not len(table):
        raise DataError(f"no video is left to draw clips from: {index.img_folder}\n" + "\n".join(index.skipped))
    found = [sampler.problem(table.areas_of(i)) for i in range(len(table))]
    empty = [table.names[i] for i, problem in enumerate(found) if problem == "empty"]
    short = [table.names[i] for i, problem in enumerate(found) if problem == "short"]
    frames = "frames" if sampler.frame_selection == "all" else "annotated frames"
    if short and sampler.short_videos == "error":
        raise DataError(
            f"{count(len(short), 'video')} with fewer than the {sampler.shortest_video} {frames} that a clip needs: "
            f"{some(short)} ({index.img_folder})\nLower dataset.num_frames or dataset.frame_interval, or set "
            "dataset.short_videos to skip or repeat_last."
        )
    if empty:
        raise DataError(
            f"{count(len(empty), 'video')} in which no clip of {sampler.num_frames} {frames} can start, because no "
            f"frame that could be its first shows an object: {some(empty)} ({index.gt_folder})\n"
            "Correct the masks, or leave these videos out with dataset.file_list_txt."
        )
    if not short or sampler.short_videos == "repeat_last":
        return index
    kept = [table[i] for i, problem in enumerate(found) if problem is None]
    if not kept:
        raise DataError(f"every video has fewer than {sampler.shortest_video} {frames}: {index.img_folder}")
    line = f"{count(len(short), 'video')} with fewer than {sampler.shortest_video} {frames}: {some(short)}"
    return VideoIndex(index.img_folder, index.gt_folder, VideoTable.of(kept), (*index.skipped, line), index.cache_path)
