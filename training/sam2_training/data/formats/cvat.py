"""CVAT's "CVAT for video 1.1" exports: tracks of polygons, masks, boxes and ellipses in XML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import natural_key, some
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.annotated import AnnotatedSource, AnnotatedVideo, Region
from sam2_training.data.formats.cvat_tracks import TrackPixels, track_pixels
from sam2_training.data.formats.cvat_xml import CvatTask, CvatTrack, read_tasks, read_tracks
from sam2_training.data.formats.listing import join, list_folders, list_names
from sam2_training.data.frames import FrameLibrary, Frames, frame_root
from sam2_training.data.images import read_bytes
from sam2_training.data.recent import Recent
from sam2_training.data.rle import Size
from sam2_training.data.source import LARGEST_ID, Video, stamp_of

_DOCUMENT = "annotations.xml"
_IMAGES = "images"
"""The folder beside the document that CVAT exports frames to."""
_KEPT_DOCUMENTS = 4
_VIDEO = re.compile(r"\.(mp4|avi|mov|mkv|webm|mpe?g|m4v)$", re.IGNORECASE)


@dataclass
class _Tracks:
    """What a document says of one task."""

    pixels: dict[int, TrackPixels] = field(default_factory=dict)
    """{track id: its pixels}."""
    labels: dict[int, str] = field(default_factory=dict)
    without_area: int = 0


@dataclass(frozen=True)
class _Place:
    """Where a video comes from."""

    path: str
    task: CvatTask


class CvatSource(AnnotatedSource):
    """Videos are tasks: of one document, or of a folder of <video>.xml or <video>/annotations.xml."""

    def __init__(self, annotations: str, config: DatasetConfig) -> None:
        super().__init__()
        self.mask_location, self.orientation = annotations, config.orientation
        folder = annotations if g_pathmgr.isdir(annotations) else annotations.rpartition("/")[0] or "."
        self.given = config.img_folder
        self.location = frame_root(config.img_folder, folder)
        self.library = FrameLibrary(self.location, config.orientation)
        self._places: dict[str, _Place] | None = None
        self._documents: Recent[str, dict[str, _Tracks]] = Recent(_KEPT_DOCUMENTS)

    def identity(self) -> str:
        return "\0".join([super().identity(), self.mask_location, self.orientation or ""])

    def videos(self) -> list[str]:
        return sorted(self._listed(), key=natural_key)

    def reading(self, tallies: Mapping[str, int]) -> list[str]:
        lines = ["tracks are objects: id = number of the track + 1"]
        if tallies.get("interpolated"):
            lines.append(f"{tallies['interpolated']} regions between keyframes are computed as CVAT does")
        if tallies.get("without area"):
            lines.append(f"{tallies['without area']} tracks of points, lines or the like are not used")
        if tallies.get("in one frame"):
            lines.append(
                f"{tallies['in one frame']} tracks are in one frame only: what is drawn as single shapes in CVAT has "
                "no identity over time; draw tracks, or merge the shapes"
            )
        return lines

    def annotated(self, name: str) -> AnnotatedVideo:
        place, frames = self._place(name), self.frames_of(name)
        numbers = _frame_numbers(place, frames)
        size = place.task.size or frames.size()
        found = self._documents.get(place.path, lambda: self._read(place.path)).get(place.task.id, _Tracks())
        index_of = {number: t for t, number in enumerate(numbers) if number is not None}
        ids = _object_ids(found.pixels)
        labeled = np.zeros((len(numbers), len(ids)), np.bool_)
        labeled[sorted(index_of.values())] = True
        regions: dict[int, list[Region]] = {}
        for column, (track, pixels) in enumerate(sorted(found.pixels.items())):
            lost = sorted(pixels.regions.keys() - index_of.keys() - pixels.interpolated)
            if lost:
                raise DataError(
                    f"track {track} has a shape in frame {lost[0]}, which is not among the frames of video {name}: "
                    f"{place.path}\n  frames  {frames.location}, {len(frames.files)} of them\nGive all frames."
                )
            for number in pixels.unlabeled:
                if number in index_of:
                    labeled[index_of[number], column] = False
            for number, counts in pixels.regions.items():
                if number in index_of:  # what is computed for a deleted frame is not
                    regions.setdefault(index_of[number], []).append(Region(ids[column], counts))
        labels = [found.labels[track] for track in sorted(found.pixels)]
        tallies = {
            "interpolated": sum(len(pixels.interpolated) for pixels in found.pixels.values()),
            "without area": found.without_area,
            "in one frame": sum(len(pixels.regions) == 1 for pixels in found.pixels.values())
            if len(numbers) > 1
            else 0,
        }
        return AnnotatedVideo(
            frames,
            ids,
            labeled,
            lambda t: regions.get(t, []),
            size,
            dict(zip(ids, labels, strict=True)),
            tallies,
        )

    def annotation_path(self, name: str, frame_index: int) -> str:
        return self._place(name).path

    def annotation_files(self, name: str) -> Sequence[str]:
        return [self._place(name).path]

    def stamp(self, video: Video) -> int:
        """Does not read the document, as `annotated` would."""
        try:
            return stamp_of([*self.annotation_files(video.name), *self.frames_of(video.name).stamp_paths()])
        except DataError:
            return 0  # `facts` says what is wrong now

    def frames_of(self, name: str) -> Frames:
        """The frames of a video: of its name, in img_folder itself for the only one, or images/ beside the document."""
        folder, _, document = self._place(name).path.rpartition("/")
        if self.given is None and document == _DOCUMENT and g_pathmgr.isdir(join(folder, _IMAGES)):
            return FrameLibrary(folder, self.orientation).of_video(_IMAGES)
        known = self.library.names()
        if self.given is not None and len(self._listed()) == 1 and name not in known:
            if self.library.root_is_file and len(known) == 1:
                return self.library.of_video(known[0])
            parent, _, last = self.location.rpartition("/")
            parent = parent or ("/" if self.location.startswith("/") else ".")
            return FrameLibrary(parent, self.orientation).of_video(last)
        return self.library.of_video(name)

    def _place(self, name: str) -> _Place:
        return self._listed()[name]

    def _listed(self) -> dict[str, _Place]:
        if self._places is None:
            self._places = _places_of(self.mask_location)
        return self._places

    def _read(self, path: str) -> dict[str, _Tracks]:
        """All tasks of a document by id: it is read once."""
        names = {place.task.id: name for name, place in self._listed().items() if place.path == path}
        sizes: dict[str, Size | None] = {}
        found: dict[str, _Tracks] = {}

        def size_of(task: CvatTask) -> Size | None:
            if task.id not in sizes:
                try:
                    sizes[task.id] = task.size or self.frames_of(names[task.id]).size()
                except DataError:
                    sizes[task.id] = None  # said when this video is asked for, and others can be read
            return sizes[task.id]

        def take(track: CvatTrack) -> None:
            of_task = found.setdefault(track.task.id, _Tracks())
            size = size_of(track.task)
            if track.without_area and not track.shapes:
                of_task.without_area += 1
            elif size is not None and track.shapes:
                of_task.pixels[track.id] = track_pixels(track, size, path)
                of_task.labels[track.id] = track.label or f"track {track.id}"

        read_tracks(path, take)
        return found


def _object_ids(tracks: Mapping[int, TrackPixels]) -> tuple[int, ...]:
    """Track number + 1, or, where that is too large for an id, 1, 2, 3 ... in the order of the tracks."""
    numbers = sorted(tracks)
    if numbers and numbers[-1] >= LARGEST_ID:
        return tuple(range(1, len(numbers) + 1))
    return tuple(number + 1 for number in numbers)


def _places_of(annotations: str) -> dict[str, _Place]:
    if not g_pathmgr.isdir(annotations):
        return _named([_Place(annotations, task) for task in read_tasks(annotations)])
    names = list_names(annotations)
    paths = {name[:-4]: join(annotations, name) for name in names if name.lower().endswith(".xml")}
    own = join(annotations, _DOCUMENT)
    if list(paths.values()) == [own]:
        return _named([_Place(own, task) for task in read_tasks(own)])
    for folder in list_folders(annotations, names):
        path = join(annotations, folder, _DOCUMENT)
        if g_pathmgr.exists(path):
            paths[folder] = path
    if not paths:
        raise DataError(
            f"no XML file of CVAT: {annotations}\nGive annotations.xml, or a folder of <video>.xml or "
            "<video>/annotations.xml, as dataset.data_path."
        )
    found: dict[str, _Place] = {}
    for name, path in paths.items():
        tasks = [_Place(path, task) for task in read_tasks(path)]
        found |= {name: tasks[0]} if len(tasks) == 1 else _named(tasks)
    return found


def _named(places: Sequence[_Place]) -> dict[str, _Place]:
    """Videos by the names of their tasks, without the ending of a video file; equal ones are told apart by id."""
    names = [_VIDEO.sub("", re.sub(r"[/\\]", "_", place.task.name)) for place in places]
    names = [f"task {place.task.id}" if set(name) <= {"."} else name for name, place in zip(names, places, strict=True)]
    twice = {name for name, number in Counter(names).items() if number > 1}
    return {
        f"{name} ({place.task.id})" if name in twice else name: place for name, place in zip(names, places, strict=True)
    }


def _frame_numbers(place: _Place, frames: Frames) -> list[int | None]:
    """The number of each frame in the document; None for frames that are not of the task. Raises DataError."""
    task = place.task
    own = range(task.start, task.stop + 1, task.step)
    named = [re.fullmatch(r"frame_(\d{6,})", PurePosixPath(file).stem) for file in frames.files]
    if all(named):  # as CVAT names the frames of a video; those of deleted frames are missing
        numbers = [int(match[1]) for match in named if match]
        return [number if number in own else None for number in numbers]
    if len(frames.files) != len(own) and len(frames.files) <= task.stop:
        raise DataError(
            f"task {task.name} has {task.num_frames} frames, {task.start} to {task.stop} of what was annotated, but "
            f"there are {len(frames.files)}: {place.path}\n  frames  {frames.location}\n"
            "Give the frames of the task, or all of the video."
        )
    if task.size is None and sorted(frames.files) != list(frames.files):
        raise DataError(
            f"the order of the pictures is not sure, by name as CVAT sorts them ({some(sorted(frames.files), 3)}) or "
            f"by number: {frames.location}\n  task  {place.path}\nName them with leading zeros, in the task's order."
        )
    if len(frames.files) == len(own):
        return list(own)
    return [t if t in own else None for t in range(len(frames.files))]


def recognizes(config: DatasetConfig) -> bool:
    """Whether the XML file, or the first of the folder, begins as CVAT's."""
    root = config.annotations
    if not root:
        return False
    try:
        path = root if root.lower().endswith(".xml") else ""
        if not path and g_pathmgr.isdir(root):
            names = list_names(root)
            inside = [join(name, _DOCUMENT) for name in list_folders(root, names)[:8]]
            found = [name for name in [*names, *inside] if name.lower().endswith(".xml")]
            path = next((join(root, name) for name in found if g_pathmgr.exists(join(root, name))), "")
        return bool(path) and re.search(rb"<annotations\b", read_bytes(path, 4096)) is not None
    except DataError:
        return False  # whichever format it is read as says what is wrong


def open_source(config: DatasetConfig, seed: int) -> CvatSource:
    """Raises DataError if there is no document."""
    if not g_pathmgr.exists(config.annotations):
        raise DataError(f"dataset.data_path does not exist: {config.annotations}\nGive CVAT's annotations.xml.")
    return CvatSource(config.annotations.rstrip("/"), config)
