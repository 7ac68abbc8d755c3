"""COCO-style video data: one JSON document whose images name their video and their place in it."""

from __future__ import annotations

from array import array

import numpy as np

from sam2_training.core.shared_work import HeartbeatCallback
from sam2_training.data.annotation_store import PieceWriter
from sam2_training.data.config import DatasetConfig
from sam2_training.data.formats.gathered import (
    LARGEST_ORDER,
    Codes,
    DistinctIds,
    Gathered,
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

_VIDEO_KEYS_CURE = (
    "Give each image video_id, which video it is a frame of, and order_in_video (or frame_id), its place there."
)


class CocoVideo(OneDocument):
    """Videos of such a document."""

    def read_document(self, writer: PieceWriter, targets: Targets | None, heartbeat: HeartbeatCallback) -> ObjectTable:
        reader = _Reader(self.document, writer)
        for member in self.members(heartbeat):
            reader.take(member)
        return reader.table(targets)


class _Reader:
    """Takes a document's entries, in whatever order its lists come."""

    def __init__(self, path: str, writer: PieceWriter) -> None:
        self.gathered = Gathered(path, writer)
        self._images, self._frames = Codes(), array("q")
        """Ids of images, and by their codes the numbers of their frames; -1: the image has not come yet."""
        self._image_codes = array("q")
        """By frame."""
        self._annotations = DistinctIds()
        self._lists = {
            "images": self._take_image,
            "annotations": self._take_annotation,
            "categories": self._take_category,
            "videos": self._take_video,
        }

    def take(self, member: Member) -> None:
        """Raises DataError."""
        take = self._lists.get(member.key)
        if take is not None:
            take(entry_of(member, self.gathered.path))

    def table(self, targets: Targets | None) -> ObjectTable:
        """Raises DataError for what only the whole document shows."""
        gathered, images = self.gathered, self._images.names()
        if not gathered.frame_files:
            raise missing_list(gathered, "images")
        check_lists(gathered)
        codes = as_numbers(gathered.region_frames)
        frames = as_numbers(self._frames)[codes]
        lost = np.flatnonzero(frames < 0)
        if len(lost):
            region = int(lost[0])
            raise gathered.whole().error(
                f"has annotations[{gathered.region_numbers[region]}] with image_id={images[int(codes[region])]}",
                "the id of one of its images",
            )
        self._annotations.check(gathered.whole(), "annotations")
        return table_of(gathered, frames, targets, lambda frame: f"image {images[self._image_codes[frame]]}")

    def _image(self, name: str) -> int:
        code = self._images.of(name)
        if code == len(self._frames):
            self._frames.append(-1)
        return code

    def _take_image(self, record: Record) -> None:
        name = identifier(record, "id")
        record = record.at(f"image {name}")
        for keys in (("file_name",), ("video_id",), ("order_in_video", "frame_id")):
            if not any(record.has(key) for key in keys):
                cure = "Give each image the file it is in." if keys == ("file_name",) else _VIDEO_KEYS_CURE
                raise record.error(f"has no {keys[0]}", " or ".join(keys), cure)
        order = record.integer("order_in_video" if record.has("order_in_video") else "frame_id")
        if abs(order) > LARGEST_ORDER:
            raise record.error(f"has order_in_video={order}", f"at most {LARGEST_ORDER}")
        code = self._image(name)
        if self._frames[code] >= 0:
            raise record.error("is there twice", "a different id for each image")
        video = self.gathered.videos.of(identifier(record, "video_id"))
        file = file_of(record, record.values["file_name"], "file_name")
        self._frames[code] = self.gathered.add_frame(video, order, file, size_of(record))
        self._image_codes.append(code)

    def _take_annotation(self, record: Record) -> None:
        number = self._annotations.add(record)
        image = self._image(identifier(record, "image_id"))
        labels = self.gathered.labels_of(record, track_of(record))
        if not record.has("segmentation"):
            raise record.error("has no segmentation", "a mask: RLE or polygons", "Export it with masks, not boxes.")
        self.gathered.add_region(image, labels, number, record.values["segmentation"])

    def _take_category(self, record: Record) -> None:
        self.gathered.add_category(record)

    def _take_video(self, record: Record) -> None:
        self.gathered.add_video(record, "name")


def open_source(config: DatasetConfig, seed: int) -> CocoVideo:
    """The videos of a configuration\'s document."""
    return CocoVideo(config)


def recognizes(config: DatasetConfig) -> bool:
    """Whether the annotations are such a document."""
    return kind_of_document(config.annotations) == "coco"
