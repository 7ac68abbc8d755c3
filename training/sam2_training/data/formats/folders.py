"""One video's facts from its two folders: which frames, which masks, which objects where."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.data.images import id_areas, read_mask
from sam2_training.data.table import UNLABELED, Video

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def natural_key(name: str) -> tuple[object, ...]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name.casefold())
    return tuple(int(part) if part.isdecimal() else part for part in parts), name


def join(folder: str, *names: str) -> str:
    """A path below folder; folder may be a path that only iopath understands, such as store://bucket/x."""
    return posixpath.join(folder, *names)


def list_names(folder: str) -> list[str]:
    """Names in a folder in natural order, hidden ones left out. Raises DataError if the folder cannot be listed."""
    try:
        names = [name.rstrip("/") for name in g_pathmgr.ls(folder)]
    except OSError as error:
        raise DataError(f"the folder cannot be listed ({error.strerror or error}): {folder}") from error
    return sorted((name for name in names if name and not name.startswith(".")), key=natural_key)


def scan_video(img_folder: str, gt_folder: str, name: str) -> Video:
    """The video's frames, masks and objects; decodes every mask once. Raises DataError for the first thing wrong.

    A mask belongs to the frame of the same stem, where numbers are equal by value (0007.png is frame 7.jpg's).
    """
    frames = frames_of(join(img_folder, name))
    mask_folder = join(gt_folder, name)
    entries = list_names(mask_folder) if g_pathmgr.isdir(mask_folder) else None
    if entries is None:
        raise DataError(
            f"video {name} has no mask folder, expected {mask_folder}\n"
            "Add its masks, or list only the videos that have some in dataset.file_list_txt."
        )
    files = [entry for entry in entries if entry.lower().endswith(".png")]
    others = (entry for entry in entries if not entry.lower().endswith(".png"))
    folders = [entry for entry in others if g_pathmgr.isdir(join(mask_folder, entry))]
    if files and folders:
        raise DataError(
            f"the mask folder has both mask files ({files[0]}) and folders ({folders[0]}): {mask_folder}\n"
            "Give either one mask per frame that holds all ids, or one folder per object."
        )
    video = (
        _scan_objects(name, mask_folder, frames, folders) if folders else _scan_ids(name, mask_folder, frames, files)
    )
    if not any(video.mask_files):
        found = f"; its masks are named like {files[0]}, its frames like {next(iter(frames.values()))}" if files else ""
        raise DataError(
            f"video {name} has no mask for any of its {len(frames)} frames: {mask_folder}{found}\n"
            "A mask is a PNG named like its frame. Rename or add masks, or leave it out of dataset.file_list_txt."
        )
    return video


def frames_of(folder: str) -> dict[str, str]:
    """{stem: file name} of the frames in a folder, in natural order. Raises DataError if there is none."""
    files = [name for name in list_names(folder) if name.lower().endswith(FRAME_SUFFIXES)]
    if not files:
        raise DataError(f"no frame ({', '.join(FRAME_SUFFIXES)}) in the video's folder: {folder}")
    return _by_stem(folder, files)


def _by_stem(folder: str, files: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in files:
        stem = PurePosixPath(file).stem
        key = str(int(stem)) if stem.isdecimal() else stem
        if key in found:
            raise DataError(f"two files for one frame, {found[key]} and {file}, in {folder}\nKeep one of them.")
        found[key] = file
    return found


def _scan_ids(name: str, folder: str, frames: dict[str, str], files: list[str]) -> Video:
    """A video whose mask files hold all ids."""
    masks = _by_stem(folder, files)
    mask_files = tuple(masks.get(key, "") for key in frames)
    counts = {row: id_areas(read_mask(join(folder, file))) for row, file in enumerate(mask_files) if file}
    ids = sorted({int(value) for count in counts.values() for value in np.flatnonzero(count) if value})
    areas = np.full((len(frames), len(ids)), UNLABELED, np.int32)
    for row, count in counts.items():
        areas[row] = [count[value] if value < len(count) else 0 for value in ids]
    orphans = sum(1 for key in masks if key not in frames)
    return Video(name, tuple(frames.values()), mask_files, tuple(ids), ("",) * len(ids), areas, orphans)


def _scan_objects(name: str, folder: str, frames: dict[str, str], object_folders: list[str]) -> Video:
    """A video with one folder of masks per object: any value but 0 is the object, and objects may overlap."""
    ids = _ids_of_folders(folder, object_folders)
    rows = {key: row for row, key in enumerate(frames)}
    mask_files = [""] * len(frames)
    areas = np.full((len(frames), len(ids)), UNLABELED, np.int32)
    orphans = 0
    for column, object_folder in enumerate(ids.values()):
        inside = join(folder, object_folder)
        masks = _by_stem(inside, [file for file in list_names(inside) if file.lower().endswith(".png")])
        for key, file in masks.items():
            row = rows.get(key)
            if row is None:
                orphans += 1
                continue
            if mask_files[row] not in ("", file):
                raise DataError(
                    f"the mask of one frame is named {mask_files[row]} for one object and {file} in {inside}\n"
                    "Name the masks of a frame alike for all objects."
                )
            mask_files[row] = file
            areas[row, column] = np.count_nonzero(read_mask(join(inside, file)))
    return Video(name, tuple(frames.values()), tuple(mask_files), tuple(ids), tuple(ids.values()), areas, orphans)


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
