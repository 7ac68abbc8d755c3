"""Masks as one YouTube-VIS document, instances.json, that `dataset.dataset_type=ytvis` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sam2_training.data import rle
from sam2_training.writers.json_spool import JsonSpool
from sam2_training.writers.writer import MaskWriter, WrittenFrame, WrittenVideo

DOCUMENT = "instances.json"


class Writer(MaskWriter):
    """One annotation an object, with a segmentation for each labeled frame, null where it is absent.

    Names of objects are categories. Ids of annotations are those of the objects where that is possible: they are unique
    in the whole document, so that of the second video on `object_id` says which object it is.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._spool = JsonSpool(["videos", "annotations"])
        self._categories: dict[str, int] = {}
        self._files: list[str] = []
        self._segmentations: dict[int, list[dict[str, Any] | None]] = {}

    def files(self, videos: Sequence[WrittenVideo]) -> list[str]:
        return [DOCUMENT]

    def begin(self, video: WrittenVideo) -> None:
        super().begin(video)
        self._files = []
        self._segmentations = {object_id: [] for object_id in video.object_ids}

    def write(self, frame: WrittenFrame) -> None:
        self._files.append(self.video.image_files[frame.index])
        self.count_partly_labeled(frame)
        for mask, found in zip(frame.masks, self._segmentations.values(), strict=True):
            found.append(rle.as_json(rle.encode(mask), self.video.size) if mask.any() else None)
        self.count_ignored(frame)

    def end(self) -> None:
        video, number = self.video, self._spool.lengths["videos"] + 1
        height, width = video.size
        facts = {"id": number, "name": video.name, "height": height, "width": width}
        self._spool.add("videos", {**facts, "length": len(self._files), "file_names": self._files})
        for object_id, found in self._segmentations.items():
            name = video.object_names.get(object_id, "object")
            self._spool.add("annotations", self._annotation(number, object_id, name, found))
        self.losses["frames without labels, left out"] += len(video.frame_files) - len(self._files)

    def close(self) -> None:
        names = self._categories or {"object": 1}
        self._spool.save(
            self.folder / DOCUMENT,
            categories=[{"id": number, "name": name} for name, number in names.items()],
        )

    def _annotation(
        self, video_id: int, object_id: int, name: str, found: list[dict[str, Any] | None]
    ) -> dict[str, object]:
        size = self.video.size
        counts = [one["counts"].encode("ascii") if one else None for one in found]
        height, width = size
        return {
            "id": self._spool.lengths["annotations"] + 1,
            "video_id": video_id,
            "track_id": object_id,
            "category_id": self._categories.setdefault(name, len(self._categories) + 1),
            "iscrowd": 0,
            "height": height,
            "width": width,
            "segmentations": found,
            "areas": [rle.area(one, size) if one else None for one in counts],
            "bboxes": [rle.box(one, size) if one else None for one in counts],
        }
