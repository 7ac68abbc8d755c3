"""Videos as stacks: TIFFs or NumPy arrays of frames and of labels, or folders of a TIFF per frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import count, natural_key, shown, some
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.listing import join, list_folders, list_names
from sam2_training.data.formats.stack_labels import LabelFolder, LabelPages, Numbers, StackLabels, label_files
from sam2_training.data.frames import FrameLibrary, Frames
from sam2_training.data.intensity import StackFrames, as_frame
from sam2_training.data.label_facts import LabelScan, VideoLabels
from sam2_training.data.label_reader import LabelReader
from sam2_training.data.pairing import FRAME_SUFFIXES, MASK_SUFFIX, NameKey, is_of_system, name_key
from sam2_training.data.recent import Recent
from sam2_training.data.source import UNLABELED, Files, Frame, FrameLabels, Masks, Video, VideoSource, stamp_of
from sam2_training.data.stack_files import FolderStack, open_stack
from sam2_training.data.stacks import STACK_SUFFIXES, TIFF_SUFFIXES, stem_of

KEPT_VIDEOS = 2
"""Videos whose files are kept open: arrays of a .npz are then in memory."""
CHALLENGE_LABELS = ("_GT/TRA", "_RES")
"""Where labels of a video are besides a folder of its name: the Cell Tracking Challenge's layout."""


@dataclass
class _Opened:
    frames: Frames
    labels: StackLabels
    numbers: Numbers | None = None
    """Of its indexed labels, once they are asked for."""


class StackSource(VideoSource):
    """Frames and labels that are named alike, each a stack or a folder."""

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        self.mask_location = config.annotations
        self.location = config.img_folder or self.mask_location
        self.label_rules = config.label_rules
        self.reader = LabelReader(self.label_rules)
        self.library = FrameLibrary(self.location, config.orientation)
        # Without a dispose: another thread may still read what is dropped.
        self._recent: Recent[str, _Opened] = Recent(KEPT_VIDEOS)

    def identity(self) -> str:
        config = self._config
        settings = repr((config.intensity, config.channel, config.orientation))
        return "\0".join([super().identity(), self.mask_location, self.label_rules.identity(), settings])

    def videos(self) -> list[str]:
        if not g_pathmgr.isdir(self.location):
            raise DataError(
                f"dataset.img_folder is not a folder: {self.location}\nGive the folder of the frames, or "
                "dataset.img_folder=null if the files in dataset.data_path hold frames and labels."
            )
        if not self._labels_by_name:
            raise DataError(
                f"no labels, neither stacks ({', '.join(STACK_SUFFIXES)}) nor folders of label images, in "
                f"{self.mask_location}\nGive their folder as dataset.gt_folder or dataset.data_path."
            )
        return list(self._labels_by_name)

    def beside(self, names: Sequence[str]) -> list[str]:
        used = {self._frame_entry(name) for name in names} | {self._labels_by_name[name] for name in names}
        entries = [name for name in list_names(self.location) if not is_of_system(name)]
        own = {name_key(name) for name in names}  # a video file has the name of its video
        others = [
            name
            for name in entries
            if name not in used and f"{name}/TRA" not in used and name_key(name.rpartition(".")[0]) not in own
        ]
        return [f"files beside the videos: {len(others)} ({some(others)})"] if others else []

    def facts(self, name: str) -> Video:
        opened = self._open(name)
        frames, labels = opened.frames, opened.labels
        size = frames.size()
        levels = frames.levels if isinstance(frames, StackFrames) else None
        numbers = labels.numbers(self.label_rules)
        scan = LabelScan(self.label_rules, per_object=False, size=size)
        found: dict[int, dict[int, int]] = {}
        for t in labels.places:
            areas = scan.areas(labels.path(t), labels.file(t), frames.path(t), labels.stored(t, numbers))
            if areas is not None:
                found[t] = {value: int(areas[value]) for value in np.flatnonzero(areas).tolist() if value}
        ids = sorted({value for of_value in found.values() for value in of_value})
        table = np.full((len(frames.files), len(ids)), UNLABELED, np.int32)
        for t, of_value in found.items():
            table[t] = [of_value.get(value, 0) for value in ids]
        frames.add_to(scan.content)
        facts = scan.facts()
        facts.numbered = sorted((value, n) for value, n in numbers.items() if value not in self.label_rules.ignore_ids)
        return Video(
            name,
            frames.files,
            tuple(ids),
            table,
            mask_folder=self._labels_by_name[name],
            labels=facts.to_text(),
            size=size,
            content=scan.content.digest(),
            left_out=(*frames.left_out, *labels.left_out),
            levels=levels,
        )

    def frame(self, video: Video, frame_index: int) -> Frame:
        frames = self._opened(video.name).frames
        if isinstance(frames, StackFrames):
            return as_frame(frames.stack.read(frame_index), video.levels)
        return frames.read(frame_index)

    def masks(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> Masks:
        return self.labels(video, frame_index, object_ids).masks

    def labels(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> FrameLabels:
        opened = self._opened(video.name)
        if opened.numbers is None:
            opened.numbers = _numbers_of(video, self.label_rules.ignore_ids)
        stored = opened.labels.stored(frame_index, opened.numbers)
        return self.reader.of_ids(opened.labels.path(frame_index), object_ids, video.labels, stored)

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        opened = self._opened(video.name)
        has_labels = frame_index in opened.labels.places
        return Files(opened.frames.path(frame_index), opened.labels.path(frame_index) if has_labels else "")

    def stamp(self, video: Video) -> int:
        """Of its files, or of its folders and some of their files."""
        frames = join(self.location, self._frame_entry(video.name))
        places = [frames, join(self.mask_location, self._labels_by_name[video.name])]
        paths = [path for place in places for path in _with_some_files(place)]
        if not g_pathmgr.exists(frames):
            try:
                paths += self.library.of_video(video.name).stamp_paths()
            except DataError:
                return 0  # the frames are gone: `facts` says it
        return stamp_of(paths)

    def object_names(self, name: str) -> Mapping[int, str]:
        """The values in the labels, where objects are numbered because of them."""
        numbers = self._opened(name).labels.numbers(self.label_rules)
        return {number: str(value) for value, number in numbers.items() if value not in self.label_rules.ignore_ids}

    def close(self) -> None:
        self._recent.clear()

    def _opened(self, name: str) -> _Opened:
        return self._recent.get(name, lambda: self._open(name))

    def _open(self, name: str) -> _Opened:
        frames = self._open_frames(name)
        entry = self._labels_by_name[name]
        place = join(self.mask_location, entry)
        if stem_of(entry) is None:
            return _Opened(frames, LabelFolder(place, label_files(list_names(place)), frames.files))
        stack = open_stack(place, "labels")
        if isinstance(frames, StackFrames) and (frames.stack.path, frames.stack.part) == (place, stack.part):
            raise DataError(
                f"the file of video {shown(name)} would be both its frames and its labels: {place}\n"
                "Give frames as dataset.img_folder, or .npz files with both (imgs and gts)."
            )
        return _Opened(frames, LabelPages(stack, len(frames.files), frames.location))

    def _open_frames(self, name: str) -> Frames:
        entry = self._frame_entry(name)
        place = join(self.location, entry)
        if stem_of(entry) is not None:
            return StackFrames(open_stack(place, "frames", self._config.channel), self._config.intensity)
        if g_pathmgr.isdir(place):
            files = [file for file in list_names(place) if not is_of_system(file)]
            tiffs = sorted((file for file in files if _is(file, TIFF_SUFFIXES)), key=natural_key)
            others = sorted((file for file in files if file.lower().endswith(FRAME_SUFFIXES)), key=natural_key)
            if tiffs and others:
                raise DataError(
                    f"frames of two kinds in one folder, {count(len(tiffs), 'TIFF')} such as {tiffs[0]} and "
                    f"{count(len(others), 'picture')} such as {others[0]}: {place}\n"
                    "Convert them to one kind, or move those that are no frames to another folder."
                )
            if tiffs:
                paths = [join(place, file) for file in tiffs]
                return StackFrames(FolderStack(place, paths, self._config.channel), self._config.intensity)
        return self.library.of_video(name)

    def _frame_entry(self, name: str) -> str:
        """The file or folder of a video's frames; the name itself if there is no stack."""
        return self._frames_by_name.get(name) or self._frames_by_key.get(name_key(name), name)

    @cached_property
    def _frames_by_name(self) -> dict[str, str]:
        names = list_names(self.location)
        stacks = _stacks_among(self.location, names)
        return {name: name for name in list_folders(self.location, names) if name not in stacks} | stacks

    @cached_property
    def _frames_by_key(self) -> dict[NameKey, str]:
        return {name_key(name): entry for name, entry in self._frames_by_name.items()}

    @cached_property
    def _labels_by_name(self) -> dict[str, str]:
        """{video: its labels below their folder}, in natural order."""
        found = labels_in(self.mask_location)
        return {name: found[name] for name in sorted(found, key=natural_key)}


def labels_in(folder: str) -> dict[str, str]:
    """{video: its stack, or its folder of label images} below a folder. Raises DataError if two have one name."""
    if not g_pathmgr.isdir(folder):
        raise DataError(
            f"the labels are not in a folder: {folder}\nGive the folder with one stack or folder per video."
        )
    names = list_names(folder)
    found, challenge = _stacks_among(folder, names), False
    for entry in list_folders(folder, [name for name in names if stem_of(name) is None]):
        for ending in CHALLENGE_LABELS:
            head, below = ending.partition("/")[::2]
            inside = join(folder, entry, below) if below else join(folder, entry)
            if entry.endswith(head) and len(entry) > len(head) and g_pathmgr.isdir(inside):
                found.setdefault(entry[: -len(head)], join(entry, below) if below else entry)
                challenge = True
    if challenge:
        return found  # other folders beside them are frames
    for entry in list_folders(folder, [name for name in names if stem_of(name) is None]):
        if entry not in found and label_files(list_names(join(folder, entry))):
            found[entry] = entry
    return found


def _stacks_among(folder: str, names: Iterable[str]) -> dict[str, str]:
    """{name without suffix: file} of the stacks. Raises DataError if two have one name."""
    found: dict[str, str] = {}
    for file in names:
        stem = None if is_of_system(file) else stem_of(file)
        if stem is not None and found.setdefault(stem, file) != file:
            raise DataError(f"two stacks of one name, {found[stem]} and {file}, in {folder}\nKeep one of them.")
    return found


def _numbers_of(video: Video, ignore_ids: Sequence[int]) -> Numbers:
    numbered = dict(VideoLabels.from_text(video.labels).numbered)
    return numbered | {value: value for value in ignore_ids} if numbered else {}


def _with_some_files(place: str) -> list[str]:
    """A file, or a folder and the first, middle and last file in it."""
    if not g_pathmgr.isdir(place):
        return [place]
    names = list_names(place)
    return [place, *(join(place, names[n]) for n in sorted({0, len(names) // 2, len(names) - 1}) if names)]


def _is(file: str, suffixes: Sequence[str]) -> bool:
    return not is_of_system(file) and stem_of(file, suffixes) is not None


def recognizes(config: DatasetConfig) -> bool:
    """Labels that are stacks or folders of TIFFs, or mask PNGs of frames that are."""
    folder = config.annotations
    if not g_pathmgr.isdir(folder):
        return False
    if _holds(folder, TIFF_SUFFIXES):
        return True
    frames = config.img_folder or ""
    return g_pathmgr.isdir(frames) and _holds(folder, (MASK_SUFFIX,)) and _holds(frames, TIFF_SUFFIXES)


def _holds(folder: str, suffixes: Sequence[str]) -> bool:
    """Whether a folder holds stacks, or one of its first folders files of these kinds."""
    names = list_names(folder)
    if suffixes == TIFF_SUFFIXES and any(_is(name, STACK_SUFFIXES) for name in names):
        return True
    for entry in list_folders(folder, names)[:2]:
        inside = list_names(join(folder, entry))
        if entry.endswith("_GT") and "TRA" in inside:
            inside = list_names(join(folder, entry, "TRA"))
        if any(_is(name, suffixes) for name in inside):
            return True
    return False


def open_source(config: DatasetConfig, seed: int) -> StackSource:
    """The videos with labels in config.data_path or gt_folder; seed is not used."""
    return StackSource(config)
