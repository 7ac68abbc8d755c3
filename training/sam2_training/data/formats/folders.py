"""Videos as two folders each: one of frames, one of mask PNGs or of a folder of mask PNGs per object."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import count, natural_key, some
from sam2_training.data.config import DatasetConfig
from sam2_training.data.images import id_areas, read_image, read_mask
from sam2_training.data.source import UNLABELED, Files, Frame, Masks, Video, VideoSource, stamp_of

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


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


class FolderSource(VideoSource):
    """img_folder/<video>/<frame>.jpg and gt_folder/<video>/<frame>.png, or gt_folder/<video>/<object>/<frame>.png.

    Paths go through iopath, so both may be folders of a registered store.
    """

    def __init__(self, img_folder: str, gt_folder: str) -> None:
        self.location, self.mask_location = img_folder, gt_folder

    def identity(self) -> str:
        return f"{self.location}\0{self.mask_location}"

    def videos(self) -> list[str]:
        """Raises DataError if there is no video, or no mask for any: then the folders do not belong together."""
        self._require_folders()
        names = [name for name in list_names(self.location) if g_pathmgr.isdir(join(self.location, name))]
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
        return scan_video(self.location, self.mask_location, name)

    def frame(self, video: Video, frame_index: int) -> Frame:
        return read_image(self.where(video, frame_index).image)

    def masks(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> Masks:
        if not any(video.object_folders):
            ids = read_mask(self._mask_path(video, frame_index))
            masks = np.empty((len(object_ids), *ids.shape), np.bool_)
            for mask, object_id in zip(masks, object_ids, strict=True):
                np.equal(ids, object_id, out=mask)
            return masks
        paths = [self._mask_path(video, frame_index, object_id) for object_id in object_ids]
        found = [read_mask(path) != 0 for path in paths]
        for path, mask in zip(paths, found, strict=True):
            if mask.shape != found[0].shape:
                sizes = [f"{one.shape[0]}x{one.shape[1]}" for one in (found[0], mask)]
                raise DataError(
                    f"two masks of one frame have different sizes (height x width)\n"
                    f"  {sizes[0]} {paths[0]}\n  {sizes[1]} {path}\n"
                    "Resize them, or set dataset.on_bad_sample=skip to leave this clip out."
                )
        return np.stack(found)

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        """Without object_id, the mask of a frame with one file per object is the folder of their folders."""
        image = join(self.location, video.name, video.frame_files[frame_index])
        if object_id is None and any(video.object_folders) and video.mask_files[frame_index]:
            return Files(image, join(self.mask_location, video.name))
        return Files(image, self._mask_path(video, frame_index, object_id))

    def stamp(self, video: Video) -> int:
        """Of the modification times of its folders; 0 for a store that has none."""
        masks = join(self.mask_location, video.name)
        objects = [join(masks, folder) for folder in video.object_folders if folder]
        return stamp_of([join(self.location, video.name), masks, *objects])

    def _mask_path(self, video: Video, frame_index: int, object_id: int | None = None) -> str:
        file = video.mask_files[frame_index]
        folder = "" if object_id is None else video.object_folders[video.object_ids.index(object_id)]
        return join(self.mask_location, video.name, *([folder] if folder else []), file) if file else ""

    def _require_folders(self) -> None:
        for key, folder in (("img_folder", self.location), ("gt_folder", self.mask_location)):
            if not g_pathmgr.isdir(folder):
                raise DataError(
                    f"dataset.{key} is not a folder: {folder}\nGive a folder with one folder of files per video."
                )

    def _require_masks(self, names: Sequence[str]) -> None:
        if not any(g_pathmgr.isdir(join(self.mask_location, name)) for name in names):
            raise DataError(
                f"no video has masks: {self.location} has {count(len(names), 'video')} ({some(names)}), but "
                f"{self.mask_location} has no folder of any of these names\n"
                "Check that dataset.img_folder and dataset.gt_folder belong together."
            )


def open_source(config: DatasetConfig, seed: int) -> FolderSource:
    """The videos of config.img_folder with the masks of config.gt_folder; seed is not used."""
    return FolderSource(config.img_folder or "", config.gt_folder or "")


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
    found = {row: id_areas(read_mask(join(folder, file))) for row, file in enumerate(mask_files) if file}
    ids = sorted({int(value) for of_value in found.values() for value in np.flatnonzero(of_value) if value})
    areas = np.full((len(frames), len(ids)), UNLABELED, np.int32)
    for row, of_value in found.items():
        areas[row] = [of_value[value] if value < len(of_value) else 0 for value in ids]
    orphans = sum(1 for key in masks if key not in frames)
    return Video(name, tuple(frames.values()), tuple(ids), areas, mask_files, ("",) * len(ids), orphans)


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
    return Video(name, tuple(frames.values()), tuple(ids), areas, tuple(mask_files), tuple(ids.values()), orphans)


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
