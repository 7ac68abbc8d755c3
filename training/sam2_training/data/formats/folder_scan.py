"""The facts of a video that is a folder of frames and a folder of masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import count, natural_key, some
from sam2_training.data.formats.listing import are_one, join, list_folders, list_names
from sam2_training.data.formats.not_masks import instead_of_masks
from sam2_training.data.frames import Frames
from sam2_training.data.label_facts import LabelScan
from sam2_training.data.labels import LabelRules
from sam2_training.data.pairing import (
    MASK_SUFFIX,
    FolderOfFrames,
    LeftOut,
    NameKey,
    by_key,
    is_of_system,
    masks_among,
    name_key,
)
from sam2_training.data.source import LARGEST_ID, UNLABELED, Video


def scan_video(name: str, frames: Frames, mask_folder: str, rules: LabelRules) -> Video:
    """The video's frames, masks and objects; decodes every mask once. Raises DataError for the first thing wrong.

    A mask belongs to the frame of the same name: see `pairing.name_key`. rules: what the values in mask files mean.
    """
    if not g_pathmgr.isdir(mask_folder):
        raise DataError(
            f"video {name} has no mask folder, expected {mask_folder}\n"
            "Add its masks, or list only the videos that have some in dataset.file_list_txt."
        )
    if are_one(frames.location, mask_folder):
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
    found = FolderOfFrames(by_key(frames.files, frames.decimals, frames.location), frames.decimals, frames.left_out)
    read = _Frames(found, [frames.path(t) for t in range(len(frames.files))], frames.size())
    others = sorted(set(entries) - set(folders), key=natural_key)
    scan = LabelScan(rules, per_object=bool(folders), size=read.size)
    if folders:
        video = _scan_objects(name, mask_folder, read, folders, others, scan)
    else:
        video = _scan_ids(name, mask_folder, read, others, scan)
    if frames.decoder:
        _require_count_from_zero(video, mask_folder)
    if not any(video.mask_files):
        if seen := instead_of_masks(files or others):
            raise DataError(f"video {name} has no mask PNG: {mask_folder}\n{seen}")
        first = next(iter(files or [entry for entry in entries if not is_of_system(entry)]), "")
        like = f"; it holds files like {first}, its frames are named like {video.frame_files[0]}" if first else ""
        raise DataError(
            f"video {name} has no mask for any of its {video.num_frames} frames: {mask_folder}{like}\n"
            "A mask is a PNG named like its frame. Rename or add masks, or leave it out of dataset.file_list_txt."
        )
    frames.add_to(scan.content)
    return replace(video, content=scan.content.digest())


def _require_count_from_zero(video: Video, mask_folder: str) -> None:
    """Raises DataError where the masks of a video file seem to be numbered from 1: each would lie on the next frame."""
    after = [one.name for one in video.left_out if one.reason == "masks without a frame"]
    last = [file for file in after if name_key(file.rpartition("/")[2][:-4]) == name_key(f"{video.num_frames:05d}")]
    if last and not video.mask_files[0]:
        raise DataError(
            f"the masks of video {video.name} are numbered up to {last[0]} without a 0, its {video.num_frames} frames "
            f"from 0 to {video.num_frames - 1}: {mask_folder}\n"
            "Number them from 0 as the frames of the video file; the first frame is 00000.png."
        )


@dataclass(frozen=True)
class _Frames:
    found: FolderOfFrames
    paths: list[str]
    size: tuple[int, int]


def _scan_ids(name: str, folder: str, frames: _Frames, files: list[str], scan: LabelScan) -> Video:
    """A video whose mask files hold all ids."""
    masks, left_out = masks_among(files, folder, frames.found)
    mask_files = tuple(masks.get(key, "") for key in frames.found.files)
    rows = [row for row, file in enumerate(mask_files) if file]
    read = {row: scan.areas(join(folder, mask_files[row]), mask_files[row], frames.paths[row]) for row in rows}
    found = {row: of_value for row, of_value in read.items() if of_value is not None}
    ids = sorted({int(value) for of_value in found.values() for value in np.flatnonzero(of_value) if value})
    areas = np.full((len(mask_files), len(ids)), UNLABELED, np.int32)
    for row, of_value in found.items():
        areas[row] = [of_value[value] if value < len(of_value) else 0 for value in ids]
    return Video(
        name,
        frames.found.names,
        tuple(ids),
        areas,
        mask_files,
        object_folders=("",) * len(ids),
        labels=scan.facts().to_text(),
        size=frames.size,
        left_out=(*frames.found.left_out, *left_out),
    )


def _scan_objects(
    name: str, folder: str, frames: _Frames, object_folders: list[str], others: list[str], scan: LabelScan
) -> Video:
    """A video with one folder of masks per object: any value but 0 is the object, and objects may overlap."""
    ids = _ids_of_folders(folder, object_folders)
    if scan.rules.object_ids is not None:
        ids = {number: name for number, name in ids.items() if number in scan.rules.object_ids}
    rows = {key: row for row, key in enumerate(frames.found.files)}
    mask_files = [""] * len(rows)
    areas = np.full((len(rows), len(ids)), UNLABELED, np.int32)
    left_out = masks_among(others, folder, frames.found)[1]
    for column, (object_folder, masks) in enumerate(_masks_of_objects(folder, ids, frames.found, left_out).items()):
        inside = join(folder, object_folder)
        for key, file in masks.items():
            row = rows[key]
            if mask_files[row] not in ("", file):
                raise DataError(
                    f"the mask of one frame is named {mask_files[row]} for one object and {file} in {inside}\n"
                    "Name the masks of a frame alike for all objects."
                )
            mask_files[row] = file
            areas[row, column] = scan.object_area(join(inside, file), object_folder, file, frames.paths[row])
    return Video(
        name,
        frames.found.names,
        tuple(ids),
        areas,
        tuple(mask_files),
        object_folders=tuple(ids.values()),
        labels=scan.facts().to_text(),
        size=frames.size,
        left_out=(*frames.found.left_out, *left_out),
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
    """{object id: folder}: the folders' names if all are numbers that can be ids, otherwise 1..N in natural order."""
    if not all(name.isdecimal() for name in names):
        return dict(enumerate(names, start=1))
    numbers: dict[int, str] = {}
    for name in names:
        if int(name) in numbers:
            raise DataError(f"two folders for object {int(name)}, {numbers[int(name)]} and {name}, in {folder}")
        numbers[int(name)] = name
    in_order = sorted(numbers)
    # Masks are written as files of ids, in which 0 is the background: SA-V's 000, 001 become 1, 2.
    if in_order and not 1 <= in_order[0] <= in_order[-1] <= LARGEST_ID:
        return {place: numbers[number] for place, number in enumerate(in_order, start=1)}
    return {number: numbers[number] for number in in_order}
