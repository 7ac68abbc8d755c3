"""Masks as one COCO-video document, annotations.json, that `dataset.dataset_type=coco` reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sam2_training.data import rle
from sam2_training.writers.json_spool import JsonSpool
from sam2_training.writers.writer import MaskWriter, WrittenFrame, WrittenVideo

DOCUMENT = "annotations.json"


class Writer(MaskWriter):
    """One annotation an object and frame, with its id as track_id; pixels of which nothing is known are a crowd.

    Names of objects are categories; an object without one is of the category "object". Ids of images and annotations
    count from 1. Frames without labels have no place in the document: an image without annotations shows nothing.
    """

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self._spool = JsonSpool(["videos", "images", "annotations"])
        self._categories: dict[str, int] = {}
        self._written = 0

    def files(self, videos: Sequence[WrittenVideo]) -> list[str]:
        return [DOCUMENT]

    def begin(self, video: WrittenVideo) -> None:
        super().begin(video)
        height, width = video.size
        number = self._spool.lengths["videos"] + 1
        facts = {"id": number, "name": video.name, "height": height, "width": width}
        self._spool.add("videos", {**facts, "length": len(video.frame_files)})
        self._written = 0

    def write(self, frame: WrittenFrame) -> None:
        video, video_id = self.video, self._spool.lengths["videos"]
        height, width = video.size
        image_id = self._spool.lengths["images"] + 1
        image: dict[str, Any] = {"id": image_id, "video_id": video_id, "order_in_video": frame.index}
        self._spool.add(
            "images", {**image, "file_name": video.image_files[frame.index], "height": height, "width": width}
        )
        self.count_partly_labeled(frame)
        for number, object_id in enumerate(video.object_ids):
            if frame.masks[number].any():
                category = self._category(video.object_names.get(object_id, "object"))
                self._annotate(image_id, frame.masks[number], track_id=object_id, category_id=category, iscrowd=0)
        if (ignored := frame.ignored_for_any) is not None:
            self._annotate(image_id, ignored, category_id=self._category("object"), iscrowd=1)
        self._written += 1

    def end(self) -> None:
        self.losses["frames without labels, left out"] += len(self.video.frame_files) - self._written

    def close(self) -> None:
        names = self._categories or {"object": 1}
        self._spool.save(
            self.folder / DOCUMENT,
            categories=[{"id": number, "name": name} for name, number in names.items()],
        )

    def _category(self, name: str) -> int:
        return self._categories.setdefault(name, len(self._categories) + 1)

    def _annotate(self, image_id: int, mask: np.ndarray, **more: int) -> None:
        counts, size = rle.encode(mask), self.video.size
        self._spool.add(
            "annotations",
            {
                "id": self._spool.lengths["annotations"] + 1,
                "image_id": image_id,
                "video_id": self._spool.lengths["videos"],
                **more,
                "segmentation": rle.as_json(counts, size),
                "area": rle.area(counts, size),
                "bbox": rle.box(counts, size),
            },
        )
