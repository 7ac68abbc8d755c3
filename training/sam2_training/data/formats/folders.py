"""Videos as two folders each: one of frames, one of mask PNGs or of a folder of mask PNGs per object."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import count, natural_key, some
from sam2_training.data.config import DatasetConfig
from sam2_training.data.images import read_bytes, read_image
from sam2_training.data.label_facts import LabelScan
from sam2_training.data.label_reader import LabelReader
from sam2_training.data.labels import LabelRules
from sam2_training.data.pairing import (
    MASK_SUFFIX,
    FolderOfFrames,
    LeftOut,
    NameKey,
    by_visible_name,
    frames_among,
    is_of_system,
    masks_among,
    name_key,
)
from sam2_training.data.source import UNLABELED, Files, Frame, FrameLabels, Masks, Video, VideoSource, stamp_of


def join(folder: str, *names: str) -> str:
    """A path below folder; folder may be a path that only iopath understands, such as store://bucket/x."""
    return posixpath.join(folder, *names)


def list_names(folder: str) -> list[str]:
    """All names in a folder, in natural order. Raises DataError if the folder cannot be listed."""
    try:
        names = [name.rstrip("/") for name in g_pathmgr.ls(folder)]
    except OSError as error:
        raise DataError(f"the folder cannot be listed ({error.strerror or error}): {folder}") from error
    return sorted((name for name in names if name), key=natural_key)


def list_folders(folder: str, names: Iterable[str]) -> list[str]:
    """Those of the names in a folder that are folders, without those of other programs.

    Raises DataError for a link that leads nowhere: a folder was meant, and it would be missed in silence.
    """
    folders = []
    for name in names:
        path = join(folder, name)
        if is_of_system(name):
            continue
        if g_pathmgr.isdir(path):
            folders.append(name)
        elif os.path.islink(path) and not os.path.exists(path):  # noqa: PTH110, PTH114 - a store's path is not a Path
            raise DataError(
                f"the link leads nowhere: {path} -> {os.readlink(path)}\nRepair or remove it."  # noqa: PTH115
            )
    return folders


def _are_one(folder: str, other: str) -> bool:
    """Whether two paths lead to one folder; False for those of a store, which have no identity."""
    try:
        return os.path.samefile(folder, other)  # noqa: PTH121
    except OSError:
        return False


class FolderSource(VideoSource):
    """img_folder/<video>/<frame>.jpg and gt_folder/<video>/<frame>.png, or gt_folder/<video>/<object>/<frame>.png.

    Paths go through iopath, so both may be folders of a registered store.
    """

    def __init__(self, img_folder: str, gt_folder: str, rules: LabelRules | None = None) -> None:
        """rules: what the values in mask files mean; None: they are ids."""
        self.location, self.mask_location = img_folder, gt_folder
        self.reader = LabelReader(rules or LabelRules())

    def identity(self) -> str:
        return f"{self.location}\0{self.mask_location}{self.reader.rules.identity()}"

    def videos(self) -> list[str]:
        """Raises DataError if there is no video, or no mask for any: then the folders do not belong together."""
        self._require_folders()
        names = list_folders(self.location, list_names(self.location))
        if not names:
            raise DataError(
                f"dataset.img_folder has no folder in it: {self.location}\nGive each video a folder of frames."
            )
        self._require_masks(names)
        return names

    def missing(self, names: Sequence[str]) -> list[str]:
        self._require_folders()
        missing = [name for name in names if not g_pathmgr.isdir(join(self.location, name))]
        if not missing:
            self._require_masks(names)
        return missing

    def facts(self, name: str) -> Video:
        return scan_video(self.location, self.mask_location, name, self._mask_folder(name), self.reader.rules)

    def beside(self, names: Sequence[str]) -> list[str]:
        """What the folders of frames and of masks hold besides these videos; without what other programs leave."""
        own = set(names)
        frames = [name for name in list_names(self.location) if name not in own and not is_of_system(name)]
        used = {self._mask_folder(name) for name in names}
        masks = [name for name in list_names(self.mask_location) if name not in used and not is_of_system(name)]
        lines = [f"files beside the videos: {len(frames)} ({some(frames)})"] if frames else []
        return lines + ([f"masks of no video: {len(masks)} ({some(masks)})"] if masks else [])

    def frame(self, video: Video, frame_index: int) -> Frame:
        return read_image(self.where(video, frame_index).image)

    def masks(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> Masks:
        return self.labels(video, frame_index, object_ids).masks

    def labels(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> FrameLabels:
        if not any(video.object_folders):
            return self.reader.of_ids(self._mask_path(video, frame_index), object_ids, video.labels)
        return self.reader.of_objects([self._mask_path(video, frame_index, object_id) for object_id in object_ids])

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        """Without object_id, the mask of a frame with one file per object is the folder of their folders."""
        image = join(self.location, video.name, video.frame_files[frame_index])
        if object_id is None and any(video.object_folders) and video.mask_files[frame_index]:
            return Files(image, join(self.mask_location, video.mask_folder or video.name))
        return Files(image, self._mask_path(video, frame_index, object_id))

    def stamp(self, video: Video) -> int:
        """Of the modification times of its folders; 0 for a store that has none."""
        masks = join(self.mask_location, video.mask_folder or video.name)
        objects = [join(masks, folder) for folder in video.object_folders if folder]
        return stamp_of([join(self.location, video.name), masks, *objects])

    def _mask_path(self, video: Video, frame_index: int, object_id: int | None = None) -> str:
        file = video.mask_files[frame_index]
        folder = "" if object_id is None else video.object_folders[video.object_ids.index(object_id)]
        parts = [video.mask_folder or video.name, *([folder] if folder else []), file]
        return join(self.mask_location, *parts) if file else ""

    def _mask_folder(self, name: str) -> str:
        """The folder of a video's masks: of its name, or of one that people take for it."""
        if g_pathmgr.isdir(join(self.mask_location, name)):
            return name
        return self._mask_folders.get(name_key(name), name)

    @cached_property
    def _mask_folders(self) -> dict[NameKey, str]:
        return by_visible_name(list_folders(self.mask_location, list_names(self.mask_location)))

    def _require_folders(self) -> None:
        for key, folder in (("img_folder", self.location), ("gt_folder", self.mask_location)):
            if not g_pathmgr.isdir(folder):
                raise DataError(
                    f"dataset.{key} is not a folder: {folder}\nGive a folder with one folder of files per video."
                )
        if _are_one(self.location, self.mask_location):
            raise DataError(
                f"dataset.img_folder and dataset.gt_folder are one folder: {self.location} and {self.mask_location}\n"
                "Give the folder of masks as dataset.gt_folder. If frames and masks lie together, part them."
            )

    def _require_masks(self, names: Sequence[str]) -> None:
        if not any(g_pathmgr.isdir(join(self.mask_location, self._mask_folder(name))) for name in names):
            raise DataError(
                f"no video has masks: {self.location} has {count(len(names), 'video')} ({some(names)}), but "
                f"{self.mask_location} has no folder of any of these names\n"
                "Check that dataset.img_folder and dataset.gt_folder belong together."
            )


def open_source(config: DatasetConfig, seed: int) -> FolderSource:
    """The videos of config.img_folder with the masks of config.gt_folder; seed is not used."""
    return FolderSource(config.img_folder or "", config.gt_folder or "")


def scan_video(img_folder: str, gt_folder: str, name: str, mask_name: str, rules: LabelRules) -> Video:
    """The video's frames, masks and objects; decodes every mask once. Raises DataError for the first thing wrong.

    mask_name: the folder of its masks. A mask belongs to the frame of the same name: see `pairing.name_key`.
    """
    frames = frames_of(join(img_folder, name))
    mask_folder = join(gt_folder, mask_name)
    if not g_pathmgr.isdir(mask_folder):
        raise DataError(
            f"video {name} has no mask folder, expected {mask_folder}\n"
            "Add its masks, or list only the videos that have some in dataset.file_list_txt."
        )
    if _are_one(join(img_folder, name), mask_folder):
        raise DataError(
            f"one folder is given for the frames and for the masks of video {name}: {mask_folder}\n"
            "Give its masks a folder of their own below dataset.gt_folder."
        )
    entries = list_names(mask_folder)
    files = [entry for entry in entries if entry.lower().endswith(MASK_SUFFIX) and not is_of_system(entry)]
    folders = list_folders(mask_folder, [entry for entry in entries if not entry.lower().endswith(MASK_SUFFIX)])
    if files and folders:
        raise DataError(
            f"the mask folder has both mask files ({files[0]}) and folders ({folders[0]}): {mask_folder}\n"
            "Give either one mask per frame that holds all ids, or one folder per object."
        )
    others = sorted(set(entries) - set(folders), key=natural_key)
    if folders:
        video = _scan_objects(name, mask_folder, frames, folders, others, LabelScan(rules, True))
    else:
        video = _scan_ids(name, mask_folder, frames, others, LabelScan(rules, False))
    if not any(video.mask_files):
        first = next(iter(files or [entry for entry in entries if not is_of_system(entry)]), "")
        like = f"; it holds files like {first}, its frames are named like {video.frame_files[0]}" if first else ""
        raise DataError(
            f"video {name} has no mask for any of its {video.num_frames} frames: {mask_folder}{like}\n"
            "A mask is a PNG named like its frame. Rename or add masks, or leave it out of dataset.file_list_txt."
        )
    return replace(video, mask_folder="" if mask_name == name else mask_name)


def frames_of(folder: str) -> FolderOfFrames:
    """The frames in a folder, in order. Raises DataError: see `frames_among`."""

    def same_content(one: str, other: str) -> bool:
        return read_bytes(join(folder, one)) == read_bytes(join(folder, other))

    return frames_among(list_names(folder), folder, same_content)


def _scan_ids(name: str, folder: str, frames: FolderOfFrames, files: list[str], scan: LabelScan) -> Video:
    """A video whose mask files hold all ids."""
    masks, left_out = masks_among(files, folder, frames)
    mask_files = tuple(masks.get(key, "") for key in frames.files)
    read = {row: scan.areas(join(folder, file), file) for row, file in enumerate(mask_files) if file}
    found = {row: of_value for row, of_value in read.items() if of_value is not None}
    ids = sorted({int(value) for of_value in found.values() for value in np.flatnonzero(of_value) if value})
    areas = np.full((len(mask_files), len(ids)), UNLABELED, np.int32)
    for row, of_value in found.items():
        areas[row] = [of_value[value] if value < len(of_value) else 0 for value in ids]
    objects = ("",) * len(ids)
    return Video(
        name,
        frames.names,
        tuple(ids),
        areas,
        mask_files,
        objects,
        labels=scan.facts().to_text(),
        left_out=(*frames.left_out, *left_out),
    )


def _scan_objects(
    name: str, folder: str, frames: FolderOfFrames, object_folders: list[str], others: list[str], scan: LabelScan
) -> Video:
    """A video with one folder of masks per object: any value but 0 is the object, and objects may overlap."""
    ids = _ids_of_folders(folder, object_folders)
    if scan.rules.object_ids is not None:
        ids = {number: name for number, name in ids.items() if number in scan.rules.object_ids}
    rows = {key: row for row, key in enumerate(frames.files)}
    mask_files = [""] * len(rows)
    areas = np.full((len(rows), len(ids)), UNLABELED, np.int32)
    left_out = [*frames.left_out, *masks_among(others, folder, frames)[1]]
    for column, (object_folder, masks) in enumerate(_masks_of_objects(folder, ids, frames, left_out).items()):
        inside = join(folder, object_folder)
        for key, file in masks.items():
            row = rows[key]
            if mask_files[row] not in ("", file):
                raise DataError(
                    f"the mask of one frame is named {mask_files[row]} for one object and {file} in {inside}\n"
                    "Name the masks of a frame alike for all objects."
                )
            mask_files[row] = file
            areas[row, column] = scan.object_area(join(inside, file), object_folder, file)
    return Video(
        name,
        frames.names,
        tuple(ids),
        areas,
        tuple(mask_files),
        tuple(ids.values()),
        labels=scan.facts().to_text(),
        left_out=tuple(left_out),
    )


def _masks_of_objects(
    folder: str, ids: Mapping[int, str], frames: FolderOfFrames, left_out: list[LeftOut]
) -> dict[str, dict[NameKey, str]]:
    """{object's folder: {frame: mask file}}; adds to left_out. Raises DataError for folders without a mask."""
    found, empty = {}, []
    for object_folder in ids.values():
        inside = join(folder, object_folder)
        names = list_names(inside)
        if not any(name.lower().endswith(MASK_SUFFIX) and not is_of_system(name) for name in names):
            held = next((name for name in names if not is_of_system(name)), None)
            empty.append(f"{inside} ({f'it holds files like {held}' if held else 'it is empty'})")
        found[object_folder], more = masks_among(names, inside, frames, prefix=f"{object_folder}/")
        left_out += more
    if empty:
        raise DataError(
            f"{count(len(empty), 'folder')} of an object without a mask PNG: {some(empty)}\n"
            "Save the masks as PNG (JPEG changes their values), or remove the folder."
        )
    return found


def _ids_of_folders(folder: str, names: list[str]) -> dict[int, str]:
    """{object id: folder}: the folders' names if all are numbers, otherwise 1..N in natural order."""
    if not all(name.isdecimal() for name in names):
        return dict(enumerate(names, start=1))
    ids: dict[int, str] = {}
    for name in names:
        if int(name) in ids:
            raise DataError(f"two folders for object {int(name)}, {ids[int(name)]} and {name}, in {folder}")
        ids[int(name)] = name
    return dict(sorted(ids.items()))
