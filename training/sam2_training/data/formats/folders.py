"""Videos as a folder of frames or a video file, and a folder of mask PNGs or of a folder of them per object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import count, some
from sam2_training.data.config import DatasetConfig, Orientation
from sam2_training.data.formats.folder_scan import scan_video
from sam2_training.data.formats.listing import are_one, join, list_folders, list_names
from sam2_training.data.formats.not_masks import instead_of_masks
from sam2_training.data.frames import KEPT_VIDEOS, VIDEO_SUFFIXES, FrameLibrary, Frames, video_decoder
from sam2_training.data.images import read_image
from sam2_training.data.label_reader import LabelReader
from sam2_training.data.labels import LabelRules
from sam2_training.data.pairing import NameKey, by_visible_name, is_of_system, name_key
from sam2_training.data.recent import Recent
from sam2_training.data.source import Files, Frame, FrameLabels, Masks, Video, VideoSource, stamp_of


class FolderSource(VideoSource):
    """img_folder/<video>/<frame>.jpg and gt_folder/<video>/<frame>.png, or gt_folder/<video>/<object>/<frame>.png.

    In place of a folder of frames a video may be a file, see `FrameLibrary`; its frames are then named by their numbers
    from 0. Paths go through iopath, so both may be folders of a registered store.
    """

    def __init__(
        self,
        img_folder: str,
        gt_folder: str,
        rules: LabelRules | None = None,
        orientation: Orientation | None = None,
    ) -> None:
        """rules: what the values in mask files mean; None: they are ids. orientation: see `size_of_frames`."""
        self.location, self.mask_location = img_folder, gt_folder
        self.label_rules = rules or LabelRules()
        self.reader = LabelReader(self.label_rules)
        self.orientation = orientation
        self.library = FrameLibrary(img_folder, orientation)
        self._opened: Recent[str, Frames] = Recent(KEPT_VIDEOS, Frames.close)

    def identity(self) -> str:
        masks = f"{self.mask_location}{self.label_rules.identity()}"
        return "\0".join([self.location, masks, *([self.orientation] if self.orientation else [])])

    def videos(self) -> list[str]:
        """Raises DataError if there is no video, or no mask for any: then the folders do not belong together."""
        self._require_folders()
        names = self.library.names()
        if not names:
            raise DataError(
                f"dataset.img_folder has no folder in it: {self.location}\nGive each video a folder of frames, or give "
                f"video files ({', '.join(VIDEO_SUFFIXES)})."
            )
        self._require_masks(names)
        return names

    def missing(self, names: Sequence[str]) -> list[str]:
        self._require_folders()
        listed: dict[str, frozenset[str]] = {}
        missing = [name for name in names if not self._is_there(name, listed)]
        if not missing:
            self._require_masks(names)
        return missing

    def _is_there(self, name: str, listed: dict[str, frozenset[str]]) -> bool:
        """Whether a video of this name has a folder, or is a file. listed: see `_has_folder`."""
        if self._has_folder(name, listed):
            return True
        holds_something = bool(listed.get(name.rpartition("/")[0], True))
        return holds_something and self.library.file_of(name) is not None

    def _has_folder(self, name: str, listed: dict[str, frozenset[str]]) -> bool:
        """listed: {folder: what is in it}, which this fills: millions of wrong names ask the disk once, not each."""
        parent, _, last = name.rpartition("/")
        if self.library.root_is_file:
            return False
        if parent not in listed:
            is_there = not parent or self._has_folder(parent, listed)
            listed[parent] = frozenset(list_names(join(self.location, parent)) if is_there else [])
        return last in listed[parent] and g_pathmgr.isdir(join(self.location, name))

    def facts(self, name: str) -> Video:
        folder = self._mask_folder(name)
        masks = join(self.mask_location, folder)
        video = scan_video(name, self.library.of_video(name), masks, self.label_rules)
        return replace(video, mask_folder="" if folder == name else folder)

    def beside(self, names: Sequence[str]) -> list[str]:
        """What the folders of frames and of masks hold besides these videos; without what other programs leave."""
        own = set(names)
        listed = [] if self.library.root_is_file else list_names(self.location)
        files = {file.rpartition("/")[2] for file in map(self.library.file_of, names) if file}
        frames = [name for name in listed if name not in own | files and not is_of_system(name)]
        there = list_names(self.mask_location)
        used = own | {self._mask_folder(name) for name in own.difference(there)}
        masks = [name for name in there if name not in used and not is_of_system(name)]
        lines = [f"files beside the videos: {len(frames)} ({some(frames)})"] if frames else []
        return lines + ([f"masks of no video: {len(masks)} ({some(masks)})"] if masks else [])

    def frame(self, video: Video, frame_index: int) -> Frame:
        if self.library.file_of(video.name):
            return self._file(video.name).read(frame_index)
        return read_image(self.where(video, frame_index).image, self.orientation == "shown")

    def masks(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> Masks:
        return self.labels(video, frame_index, object_ids).masks

    def labels(self, video: Video, frame_index: int, object_ids: Sequence[int]) -> FrameLabels:
        if not any(video.object_folders):
            return self.reader.of_ids(self._mask_path(video, frame_index), object_ids, video.labels)
        return self.reader.of_objects([self._mask_path(video, frame_index, object_id) for object_id in object_ids])

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        """Without object_id, the mask of a frame with one file per object is the folder of their folders."""
        image = self._image_path(video, frame_index)
        if object_id is None and any(video.object_folders) and video.mask_files[frame_index]:
            return Files(image, join(self.mask_location, video.mask_folder or video.name))
        return Files(image, self._mask_path(video, frame_index, object_id))

    def stamp(self, video: Video) -> int:
        """Of the modification times of its folders, and of some files, which show that all were written anew.

        0 for a store that has no times.
        """
        masks = join(self.mask_location, video.mask_folder or video.name)
        objects = [join(masks, folder) for folder in video.object_folders if folder]
        some_files = []
        for t in sorted({0, video.num_frames // 2, video.num_frames - 1}):
            some_files.append(self._image_path(video, t))
            if video.mask_files[t]:
                some_files.append(join(objects[0] if objects else masks, video.mask_files[t]))
        if self.library.file_of(video.name):
            return stamp_of([masks, *objects, *some_files], video_decoder())
        return stamp_of([join(self.location, video.name), masks, *objects, *some_files])

    def close(self) -> None:
        self._opened.clear()

    def _file(self, name: str) -> Frames:
        """A video that is a file, kept open."""
        return self._opened.get(name, lambda: self.library.of_video(name))

    def _image_path(self, video: Video, frame_index: int) -> str:
        return self.library.file_of(video.name) or join(self.location, video.name, video.frame_files[frame_index])

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
            if not g_pathmgr.isdir(folder) and not (key == "img_folder" and self.library.root_is_file):
                seen = instead_of_masks([folder]) if key == "gt_folder" and g_pathmgr.isfile(folder) else ""
                cure = seen or "Give a folder with one folder of files per video."
                raise DataError(f"dataset.{key} is not a folder: {folder}\n{cure}")
        if are_one(self.location, self.mask_location):
            raise DataError(
                f"dataset.img_folder and dataset.gt_folder are one folder: {self.location} and {self.mask_location}\n"
                "Give the folder of masks as dataset.gt_folder. If frames and masks lie together, part them."
            )

    def _require_masks(self, names: Sequence[str]) -> None:
        if not any(g_pathmgr.isdir(join(self.mask_location, self._mask_folder(name))) for name in names):
            raise DataError(
                f"no video has masks: {self.location} has {count(len(names), 'video')} ({some(names)}), but "
                f"{self.mask_location} has no folder of any of these names\n"
                + (
                    instead_of_masks(list_names(self.mask_location))
                    or "Check that dataset.img_folder and dataset.gt_folder belong together."
                )
            )


def open_source(config: DatasetConfig, seed: int) -> FolderSource:
    """The videos of config.img_folder with the masks of config.gt_folder; seed is not used."""
    return FolderSource(config.img_folder or "", config.gt_folder or "", config.label_rules, config.orientation)
