"""MOTS masks: 16-bit PNGs of class * 1000 + instance, or text files with a line per object and frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import shown, some
from sam2_training.data import rle
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.annotated import IGNORED, AnnotatedSource, AnnotatedVideo, Region
from sam2_training.data.formats.folders import FolderSource
from sam2_training.data.formats.listing import join, list_folders, list_names
from sam2_training.data.frames import FrameLibrary, Frames
from sam2_training.data.images import read_bytes, read_mask
from sam2_training.data.label_facts import VideoLabels
from sam2_training.data.label_report import MOTS_IGNORED
from sam2_training.data.pairing import MASK_SUFFIX, is_of_system
from sam2_training.data.source import LARGEST_ID, Video, VideoSource

INSTANCES = 1000
"""Ids are class * 1000 + instance: Voigtlaender et al., "MOTS: Multi-Object Tracking and Segmentation", CVPR 2019."""
KNOWN_CLASSES = range(1, 3)
"""Car and pedestrian, the classes of KITTI MOTS and MOTSChallenge: what other masks have for ids may be anything."""
LAYOUT = "instances"
"""How both datasets name the folder of their masks."""
LOOKED_AT = 5
"""Masks that detection reads until one shows an object."""
COLUMNS = "frame id class height width counts"


class MotsFolders(FolderSource):
    """The PNGs: folders as `FolderSource` reads them, whose value 10000 is ignored."""

    def facts(self, name: str) -> Video:
        video = super().facts(name)
        found = VideoLabels.from_text(video.labels)
        wrong = [one for one in found.values if 0 < one.value < INSTANCES]
        if wrong or any(video.object_folders):
            what = f"value {wrong[0].value} in {wrong[0].file}" if wrong else "a folder per object"
            raise DataError(
                f"video {shown(name)} has {what}, expected values of class * 1000 + instance, such as 2001: "
                f"{join(self.mask_location, video.mask_folder or name)}\n"
                "If values are plain ids, set dataset.dataset_type=video."
            )
        return video

    def object_names(self, name: str) -> Mapping[int, str]:
        return _names_of(self.facts(name).object_ids)


class MotsTexts(AnnotatedSource):
    """The text files: <name>.txt as KITTI MOTS has them, or <name>/gt/gt.txt with frames in <name>/img1 (MOT)."""

    def __init__(self, img_folder: str, texts: str, config: DatasetConfig) -> None:
        super().__init__()
        self.location, self.mask_location = img_folder, texts
        self.library = FrameLibrary(img_folder, config.orientation)
        self._orientation = config.orientation
        self._texts = _texts_in(texts)

    def identity(self) -> str:
        return "\0".join([super().identity(), self.mask_location, self._orientation or ""])

    def videos(self) -> list[str]:
        return list(self._texts)

    def annotation_path(self, name: str, frame_index: int) -> str:
        return join(self.mask_location, self._texts.get(name, f"{name}.txt"))

    def annotation_files(self, name: str) -> Sequence[str]:
        return [self.annotation_path(name, 0)]

    def annotated(self, name: str) -> AnnotatedVideo:
        in_mot = g_pathmgr.isdir(join(self.location, name, "img1"))
        frames = self.library.of_video(f"{name}/img1" if in_mot else name)
        path = self.annotation_path(name, 0)
        found, size = _read(path, _frame_numbers(frames))
        ids = {region.object_id for regions in found.values() for region in regions} - {IGNORED}
        labeled = np.ones(len(frames.files), np.bool_)
        names = _names_of(ids)
        return AnnotatedVideo(frames, tuple(sorted(ids)), labeled, lambda t: found.get(t, ()), size, names)


def _frame_numbers(frames: Frames) -> dict[int, int]:
    """{number in a frame's name: its place}. Raises DataError for names that are no numbers."""
    numbers: dict[int, int] = {}
    for place, file in enumerate(frames.files):
        stem = file.rpartition("/")[2].partition(".")[0]
        if not stem.isdecimal():
            raise DataError(
                f"the frame {shown(file)} is not named by its number, as a MOTS text file counts: {frames.location}\n"
                "Name frames by their numbers, such as 000007.png."
            )
        numbers[int(stem)] = place
    return numbers


def _read(path: str, numbers: Mapping[int, int]) -> tuple[dict[int, list[Region]], tuple[int, int] | None]:
    """({place of a frame: its regions}, (H, W)) of a text file. Raises DataError with the line."""
    try:
        text = read_bytes(path).decode("ascii")
    except UnicodeDecodeError as error:
        raise DataError(f"this is not a MOTS text file, byte {error.start} is not ASCII: {path}") from error
    found: dict[int, list[Region]] = {}
    seen: set[tuple[int, int]] = set()
    sizes: set[tuple[int, int]] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            frame, region, size = _region(line)
            sizes.add(size)
            if len(sizes) > 1:
                raise ValueError(f"it is of {size[0]}x{size[1]} pixels (height x width), lines before it are not")
            if frame not in numbers:
                raise ValueError(f"the video has no frame of number {frame}; it has {min(numbers)} to {max(numbers)}")
            if region.object_id != IGNORED and (frame, region.object_id) in seen:
                raise ValueError(f"object {region.object_id} has two masks in frame {frame}")
        except ValueError as error:
            raise DataError(f"line {number} cannot be used, {error}: {path}\nExpected: {COLUMNS}.") from error
        seen.add((frame, region.object_id))
        found.setdefault(numbers[frame], []).append(region)
    return found, next(iter(sizes), None)


def _region(line: str) -> tuple[int, Region, tuple[int, int]]:
    """(frame number, mask, (H, W)) of a line. Raises ValueError."""
    words = line.split()
    if len(words) != 6 or not all(word.isdecimal() and len(word) < 10 for word in words[:5]):
        raise ValueError("it does not hold five whole numbers and counts")
    frame, object_id, category, height, width = map(int, words[:5])
    counts = rle.of_segmentation({"size": [height, width], "counts": words[5]}, (height, width))
    if object_id == MOTS_IGNORED:
        return frame, Region(IGNORED, counts), (height, width)
    if not INSTANCES <= object_id <= LARGEST_ID:
        raise ValueError(f"its id is {object_id}, expected class * 1000 + instance, {INSTANCES} to {LARGEST_ID}")
    if object_id // INSTANCES != category:
        raise ValueError(f"its id {object_id} is of class {object_id // INSTANCES}, its class {category}")
    return frame, Region(object_id, counts), (height, width)


def _names_of(object_ids: Sequence[int] | set[int]) -> dict[int, str]:
    return {one: f"class {one // INSTANCES}, instance {one % INSTANCES}" for one in sorted(object_ids)}


def _texts_in(folder: str, looked_at: int | None = None) -> dict[str, str]:
    """{video: its text file below the folder}, in natural order. looked_at: folders that are searched; None: all."""
    names = [name for name in list_names(folder) if not is_of_system(name)]
    found = {name[: -len(".txt")]: name for name in names if name.lower().endswith(".txt")}
    others = [name for name in names if not name.lower().endswith(".txt")]
    for name in list_folders(folder, others[:looked_at]):
        inside = join(folder, name, "gt")
        if g_pathmgr.isdir(inside) and "gt.txt" in list_names(inside):
            found[name] = f"{name}/gt/gt.txt"
    return found


def recognizes(config: DatasetConfig) -> bool:
    """Text files whose first line is one of MOTS; or PNGs in a folder `instances` with ids of its two classes."""
    folder = config.annotations
    if not g_pathmgr.isdir(folder):
        return False
    texts = _texts_in(folder, looked_at=1)
    if texts:
        first = read_bytes(join(folder, next(iter(texts.values()))), 2**16).split(b"\n", 1)[0]
        try:
            _region(first.decode("ascii", "replace"))
        except ValueError:
            return False
        return True
    return folder.rstrip("/").rpartition("/")[2] == LAYOUT and _shows_known_classes(folder)


def _shows_known_classes(folder: str) -> bool:
    for video in list_folders(folder, list_names(folder))[:1]:
        masks = [name for name in list_names(join(folder, video)) if name.lower().endswith(MASK_SUFFIX)]
        for name in masks[:: max(1, len(masks) // LOOKED_AT)]:
            try:
                values = set(np.unique(read_mask(join(folder, video, name))).tolist()) - {0}
            except DataError:
                return False
            if values:
                return all(value == MOTS_IGNORED or value // INSTANCES in KNOWN_CLASSES for value in values)
    return False


def open_source(config: DatasetConfig, seed: int) -> VideoSource:
    """The videos of config.img_folder with PNGs or text files of its annotation folder; seed is not used."""
    frames, masks = config.img_folder or "", config.annotations
    for key, folder in (("img_folder", frames), ("gt_folder", masks)):
        if not g_pathmgr.isdir(folder):
            raise DataError(f"dataset.{key} is not a folder: {folder}\nGive the folder with one entry per video.")
    if _texts_in(masks):
        rules = config.label_rules
        set_here = [f"dataset.{key}" for key in ("ignore_ids", "object_ids") if getattr(rules, key)]
        if set_here:
            raise DataError(f"{some(set_here)} is for masks as PNGs, these are text files: {masks}\nRemove it.")
        return MotsTexts(frames, masks, config)
    rules = replace(config.label_rules, ignore_ids=tuple({MOTS_IGNORED, *config.ignore_ids}))
    return MotsFolders(frames, masks, rules, config.orientation)
