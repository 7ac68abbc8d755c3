"""YouTube-VIS: one JSON document in which each annotation is an object, with a segmentation for each frame of a video.

Also SA-Co/VEval's files.
"""

from __future__ import annotations

from array import array

import numpy as np

from sam2_training.core.shared_work import HeartbeatCallback
from sam2_training.data.annotation_store import PieceWriter
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.gathered import (
    DistinctIds,
    Gathered,
    Numbers,
    as_numbers,
    check_lists,
    entry_of,
    file_of,
    identifier,
    missing_list,
    size_of,
    track_of,
)
from sam2_training.data.formats.json_values import Record
from sam2_training.data.formats.object_table import ObjectTable, Targets, table_of
from sam2_training.data.formats.one_document import OneDocument, kind_of_document
from sam2_training.data.json_stream import Member

_LENGTH_CURE = "An object has an entry for each frame of its video: null where it is not visible."


class YouTubeVis(OneDocument):
    """Videos of such a document."""

    frame_number_is = "With a video file, names of frames are their numbers in it, such as 00012.jpg."

    def frame_number(self, file: str, order: int) -> int:
        return int(file.rpartition("/")[2].rpartition(".")[0])

    def read_document(self, writer: PieceWriter, targets: Targets | None, heartbeat: HeartbeatCallback) -> ObjectTable:
        reader = _Reader(self.document, writer)
        for member in self.members(heartbeat):
            reader.take(member)
        return reader.table(targets or "track")


class _Reader:
    """Takes a document's entries, in whatever order its lists come."""

    def __init__(self, path: str, writer: PieceWriter) -> None:
        self.gathered = Gathered(path, writer)
        self._first_frames: dict[int, tuple[int, int]] = {}
        """{code of a video: (number of its first frame, frames)}"""
        self._annotation_videos, self._annotation_lengths = array("q"), array("q")
        self._ids, self._untracked = DistinctIds(), array("q")
        self._lists = {
            "videos": self._take_video,
            "annotations": self._take_annotation,
            "categories": self.gathered.add_category,
        }

    def take(self, member: Member) -> None:
        """Raises DataError."""
        take = self._lists.get(member.key)
        if take is not None:
            take(entry_of(member, self.gathered.path))

    def table(self, targets: Targets) -> ObjectTable:
        """Raises DataError for what only the whole document shows."""
        gathered = self.gathered
        if not gathered.frame_files:
            raise missing_list(gathered, "videos")
        check_lists(gathered)
        self._ids.check(gathered.whole(), "annotations")
        if 0 < len(self._untracked) < len(self._annotation_videos):
            raise gathered.whole().error(
                f"has annotations[{self._untracked[0]}] without track_id or instance_id", "one, as others have"
            )
        return table_of(gathered, self._frames(), targets, self._place_of)

    def _frames(self) -> Numbers:
        """[R]: numbers of frames. Raises DataError for an annotation of another length than its video."""
        firsts = np.zeros((len(self.gathered.videos), 2), np.int64)
        firsts[list(self._first_frames)] = list(self._first_frames.values())
        videos, lengths = as_numbers(self._annotation_videos), as_numbers(self._annotation_lengths)
        wrong = np.flatnonzero(firsts[videos, 1] != lengths)
        if len(wrong):
            number = int(wrong[0])
            raise self.gathered.whole().error(
                f"has annotations[{number}] with {lengths[number]} segmentations",
                f"{firsts[videos[number], 1]}, as many as its video has file_names",
                _LENGTH_CURE,
            )
        annotations = as_numbers(self.gathered.region_numbers)
        return np.asarray(firsts[videos[annotations], 0] + as_numbers(self.gathered.region_frames), np.int64)

    def _place_of(self, frame: int) -> str:
        return f"frame {self.gathered.frame_files[frame]}"

    def _take_video(self, record: Record) -> None:
        name_key = "video_name" if record.has("video_name") else "name"
        found = self.gathered.add_video(record, name_key)
        record, code = record.at(f"video {found}"), self.gathered.videos.of(found)
        files = [file_of(record, value, f"file_names[{t}]") for t, value in enumerate(record.items("file_names"))]
        if record.integer("length", len(files)) != len(files):
            raise record.error(f"has length={record.values['length']}", f"its number of file_names, {len(files)}")
        size = size_of(record)
        self._first_frames[code] = (len(self.gathered.frame_files), len(files))
        for t, file in enumerate(files):
            self.gathered.add_frame(code, t, file, size)

    def _take_annotation(self, record: Record) -> None:
        number = self._ids.add(record)
        name = identifier(record, "id")
        record = record.at(f"annotation {name}")
        self._annotation_videos.append(self.gathered.videos.of(identifier(record, "video_id")))
        track = track_of(record)
        if track is None:
            self._untracked.append(number)
        labels = self.gathered.labels_of(record, name if track is None else track)
        segmentations = record.items("segmentations")
        self._annotation_lengths.append(len(segmentations))
        for t, segmentation in enumerate(segmentations):
            if segmentation is not None:
                self.gathered.add_region(t, labels, number, segmentation)


def open_source(config: DatasetConfig, seed: int) -> YouTubeVis:
    """The videos of a configuration\'s document."""
    return YouTubeVis(config)


def recognizes(config: DatasetConfig) -> bool:
    """Whether the annotations are such a document."""
    return kind_of_document(config.annotations) == "ytvis"
