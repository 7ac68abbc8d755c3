"""The index of a dataset: every video listed and every mask decoded once, cached in one file, checked when read."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.core.shared_work import HeartbeatCallback, no_heartbeat
from sam2_training.core.text import count, natural_key, shown, some
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats import open_source
from sam2_training.data.images import UnreadableFileError, size_mismatch
from sam2_training.data.label_report import LabelReport, label_report, labeled_videos
from sam2_training.data.name_list import each_once, read_list
from sam2_training.data.pairing import by_visible_name, is_start_of_longer, left_out_line, name_key
from sam2_training.data.source import LARGEST_ID, UNLABELED, Frame, FrameLabels, Masks, Video, VideoSource
from sam2_training.data.table import OnDemandTable, VideoTable, load_table, save_table

LISTED_AT_MOST = 10
"""Problems that an error message spells out; the rest is counted."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """The videos of a dataset that are used, their pixels, and what was left out and why."""

    source: VideoSource
    table: VideoTable | OnDemandTable
    skipped: tuple[str, ...] = ()
    """A line per reason for leaving videos out, with their number."""
    cache_path: str = ""
    """The file the index is cached in; "" if it is not."""
    beside: tuple[str, ...] = ()
    """Lines on what lies beside the videos and is not used."""
    label_report: LabelReport = field(default_factory=LabelReport)
    """On all videos that were listed, also for a part of them."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def names(self) -> Sequence[str]:
        return self.table.names

    def video(self, number: int) -> Video:
        """The facts of a video, 0 <= number < len(index)."""
        return self.table[number]

    def part(self, numbers: Sequence[int], *more_skipped: str) -> VideoIndex:
        """The index of some of its videos, in this order. more_skipped: lines on why the others are left out."""
        return replace(self, table=self.table.part(numbers), skipped=(*self.skipped, *more_skipped))

    def frame(self, video: Video, frame_index: int) -> Frame:
        """Pixels of a frame. Raises DataError."""
        return self.source.frame(video, frame_index)

    def masks(self, video: Video, frame_index: int, object_ids: Sequence[int], size: tuple[int, int]) -> Masks:
        """The masks of `labels`."""
        return self.labels(video, frame_index, object_ids, size).masks

    def labels(self, video: Video, frame_index: int, object_ids: Sequence[int], size: tuple[int, int]) -> FrameLabels:
        """Masks [N, H, W] of some objects in a frame of size (H, W); empty for those that are not labeled there.

        Every mask that is trained on or scored with comes through here. Raises DataError for a mask that does not
        match the image size, and for one whose area is not the indexed one: its file has changed since.
        """
        areas = video.areas[frame_index, [video.object_ids.index(object_id) for object_id in object_ids]]
        labeled = areas != UNLABELED
        wanted = [object_id for object_id, known in zip(object_ids, labeled, strict=True) if known]
        if not wanted:
            return FrameLabels(np.zeros((len(object_ids), *size), np.bool_))
        labels = self.source.labels(video, frame_index, wanted)
        found = labels.masks
        if found.shape[1:] != size:
            files = self.source.where(video, frame_index, wanted[0])
            raise size_mismatch(files.mask, (found.shape[1], found.shape[2]), files.image, size)
        for object_id, mask, expected in zip(wanted, found, areas[labeled], strict=True):
            area = np.count_nonzero(mask)
            if area != expected:
                raise self._changed(video, frame_index, object_id, int(area), int(expected))
        if len(wanted) == len(object_ids):
            return labels

        def of_all(known: Masks) -> Masks:
            every = np.zeros((len(object_ids), *size), np.bool_)
            every[labeled] = known
            return every

        return FrameLabels(of_all(found), None if labels.ignored is None else of_all(labels.ignored))

    def describe(self) -> list[str]:
        """Lines for a start banner: counts of videos, frames, labeled frames and objects, and what was left out."""
        table = self.table
        if isinstance(table, OnDemandTable):
            return [f"videos: {len(table)}, {self.source.location}"]
        labeled = sum(int((table.areas_of(number) != UNLABELED).any(axis=1).sum()) for number in range(len(table)))
        lines = [
            f"videos: {len(table)} ({self.source.location})",
            f"frames: {len(table.frame_files)}, {labeled} of them with masks ({self.source.mask_location})",
            f"objects: {len(table.object_ids)}",
            *([f"format: {self.source.format_name}"] if self.source.format_name else []),
            *(f"labels: {line}" for line in self.source.reading(table.tally())),
            *(f"labels: {line}" for line in self.label_report.lines),
            *(f"left out: {line}" for line in self.skipped),
        ]
        return lines + self.remarks()

    def remarks(self) -> list[str]:
        """Lines on what is not used, and on what should be looked at."""
        return [*(f"check: {line}" for line in self.label_report.warnings), *self.pairing_remarks()]

    def pairing_remarks(self) -> list[str]:
        """Lines on files and folders that are not used, and on labels that may lie on other frames than they should."""
        table = self.table
        lines = [f"not used: {line}" for line in self.beside]
        if isinstance(table, OnDemandTable):
            return lines
        for reason, number, names in table.left_out_counts():
            lines.append(f"not used: {left_out_line(reason, number, names)}")
        labeled = ((table.areas_of(number) != UNLABELED).any(axis=1) for number in range(len(table)))
        starts = [self.names[number] for number, frames in enumerate(labeled) if is_start_of_longer(frames.tolist())]
        if starts:
            lines.append(
                f"check: in {count(len(starts), 'video')} the labeled frames are exactly the first ones of a longer "
                f"video ({some(starts)}); if a program numbered the masks anew, they lie on other frames than they show"
            )
        return lines

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the videos' names, file names, object ids, areas and content (`VideoContent`).

        A copy has the same one, wherever it lies.
        """
        return self.table.fingerprint()

    def _changed(self, video: Video, frame_index: int, object_id: int, area: int, expected: int) -> DataError:
        cure = f"Remove {self.cache_path} and start again." if self.cache_path else "Start again."
        return DataError(
            f"the mask has changed since the dataset was indexed: object {object_id} has {area} pixels, expected "
            f"{expected}: {self.source.where(video, frame_index, object_id).mask}\n{cure}"
        )


def open_index(
    config: DatasetConfig, cache_dir: Path | None = None, seed: int = 0, heartbeat: HeartbeatCallback = no_heartbeat
) -> VideoIndex:
    """The index of the videos that a configuration names: see `build_index`. seed: of generated videos."""
    tolerated = config.max_bad_fraction if config.on_bad_sample == "skip" else None
    return build_index(open_source(config, seed), config.file_list_txt, cache_dir, tolerated, heartbeat)


def build_index(
    source: VideoSource,
    file_list: str | None = None,
    cache_dir: Path | None = None,
    max_bad_fraction: float | None = None,
    heartbeat: HeartbeatCallback = no_heartbeat,
) -> VideoIndex:
    """The index of a source's videos, or of those that the text file file_list names.

    The facts of every video are asked for once; the table of them is kept in one file in cache_dir (None: nowhere).
    The next call takes a video from there as long as its stamp is the same, which changes when a file is added,
    removed, renamed or replaced, or when all are written anew. A single mask that is overwritten in place is noticed
    when it is read: its area differs from the table's. No table is built for a source on demand. heartbeat: called
    after each video that was read.

    max_bad_fraction: leave videos with unreadable files out, up to this fraction of all; None: none. Raises DataError
    with everything else that is wrong.
    """
    source.prepare(cache_dir, heartbeat)
    names = list(source.videos()) if file_list is None else _listed(source, file_list)
    if source.on_demand:
        return VideoIndex(source, OnDemandTable(source, names), beside=tuple(source.beside(names)))
    cache_path = _cache_path(cache_dir, source, file_list)
    table, stamps, failures = _scan_all(source, names, cache_path, heartbeat)
    if cache_path is not None and stamps is not None:
        try:
            save_table(cache_path, table, stamps)
        except OSError as error:  # a full disk: the next start reads the masks again
            _logger.warning("the index cannot be kept in %s: %s", cache_path, error)
    report = label_report(labeled_videos(table, source.mask_location), source.label_rules)
    skipped = _tolerate(failures, report.problems, len(names), max_bad_fraction)
    beside = () if file_list is not None else tuple(source.beside(names))
    return VideoIndex(source, table, skipped, str(cache_path or ""), beside, report)


def _listed(source: VideoSource, file_list: str) -> list[str]:
    """The listed videos, in natural order. Raises DataError if one does not exist."""
    names = read_list(file_list)
    missing = source.missing(names)
    known = by_visible_name(source.videos()) if missing else {}
    if 0 < len(missing) <= len(known):  # perhaps accents are composed in another way; each name then has its video
        names = each_once([known.get(name_key(name), name) for name in names], "dataset.file_list_txt " + file_list)
        missing = source.missing(names)
    if missing:
        raise DataError(
            f"{count(len(missing), 'video')} in the list that the dataset does not have: {some(missing)}\n"
            f"  list     {file_list}\n  dataset  {source.location}\nCorrect the list, or add the videos."
        )
    return sorted(names, key=natural_key)


def _cache_path(cache_dir: Path | None, source: VideoSource, file_list: str | None) -> Path | None:
    """One file per source and list, so that two datasets of a run do not drive each other out."""
    if cache_dir is None:
        return None
    what = f"{source.identity()}\0{file_list or ''}"
    return cache_dir / f"dataset_index_{hashlib.sha256(os.fsencode(what)).hexdigest()[:8]}.npz"


def _scan_all(
    source: VideoSource, names: Sequence[str], cache_path: Path | None, heartbeat: HeartbeatCallback
) -> tuple[VideoTable, npt.NDArray[np.uint64] | None, list[tuple[str, DataError]]]:
    """Facts of all videos that could be read, their stamps (None: as cached), and (name, error) of the others."""
    known, known_stamps = _load_cache(cache_path)
    place = {known.names[number]: number for number in range(len(known))} if known is not None else {}
    unchanged: dict[str, Video] = {}
    if known is not None:
        candidates = ((name, known[place[name]]) for name in names if name in place)
        unchanged = {name: video for name, video in candidates if source.stamp(video) == known_stamps[place[name]]}
        if len(unchanged) == len(names) == len(known):
            return known, None, []
    failures: list[tuple[str, DataError]] = []
    videos: list[Video] = []
    read = dict(_facts_of(source, [name for name in names if name not in unchanged], heartbeat))
    for name in names:
        video = unchanged[name] if name in unchanged else read[name]
        if isinstance(video, DataError):
            failures.append((name, video))
        else:
            videos.append(video)
    stamps = [known_stamps[place[video.name]] if video.name in unchanged else source.stamp(video) for video in videos]
    return VideoTable.of(videos), np.array(stamps, np.uint64), failures


def _facts_of(
    source: VideoSource, names: Sequence[str], heartbeat: HeartbeatCallback
) -> Iterator[tuple[str, Video | DataError]]:
    """(name, its facts or what is wrong with it) of each video.

    Threads, because decoding runs without Python's lock, and stores registered with iopath are known to them.
    """

    def facts(name: str) -> Video | DataError:
        try:
            return _with_writable_ids(source.facts(name))
        except DataError as error:
            return error

    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        for name, result in zip(names, pool.map(facts, names), strict=True):
            yield name, result
            heartbeat()


def _with_writable_ids(video: Video) -> Video:
    """The video. Raises DataError for ids that could not be written after the work."""
    wrong = [object_id for object_id in video.object_ids if not 1 <= object_id <= LARGEST_ID]
    if wrong:
        listed = some([str(object_id) for object_id in wrong])
        raise DataError(
            f"video {shown(video.name)} has object {listed}, expected ids from 1 to {LARGEST_ID}: a mask file holds no "
            "others, and 0 is the background\nRenumber the objects."
        )
    return video


def _load_cache(path: Path | None) -> tuple[VideoTable | None, npt.NDArray[np.uint64]]:
    nothing = np.zeros(0, np.uint64)
    if path is None or not path.is_file():
        return None, nothing
    try:
        return load_table(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _logger.warning("the dataset index %s is not intact (%s); it is built again", path, error)
        return None, nothing


def _tolerate(
    failures: list[tuple[str, DataError]], problems: Sequence[str], num_videos: int, max_bad_fraction: float | None
) -> tuple[str, ...]:
    """Lines on the videos that are left out. Raises DataError if the failures are not tolerable.

    problems: of the dataset as a whole, never tolerable.
    """
    if not failures and not problems:
        return ()
    tolerable = max_bad_fraction is not None and all(isinstance(e, UnreadableFileError) for _, e in failures)
    if tolerable and len(failures) <= (max_bad_fraction or 0) * num_videos:
        if problems:
            raise DataError(_together(problems))
        names = some([name for name, _ in failures])
        return (f"{count(len(failures), 'video')} with files that cannot be used: {names}",)
    text = _together([*problems, *(str(error) for _, error in failures[:LISTED_AT_MOST])])
    more = f"\n... and {len(failures) - LISTED_AT_MOST} more" if len(failures) > LISTED_AT_MOST else ""
    limit = (
        f"\nThese are more than dataset.max_bad_fraction={max_bad_fraction:g} of {num_videos} videos."
        if tolerable
        else ""
    )
    raise DataError(text + more + limit)


def _together(messages: Sequence[str]) -> str:
    """Messages one after the other; a last line, the cure, that several in a row share is said once."""
    lines: list[str] = []
    for message in messages:
        found, _, cure = message.rpartition("\n")
        if found and lines and lines[-1] == cure:
            lines.pop()
        lines += [*found.splitlines(), cure]
    return "\n".join(lines)
