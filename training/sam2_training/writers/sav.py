"""Masks as SA-V's documents, <video>_manual.json, that `dataset.dataset_type=sav` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sam2_training.core.files import write_text
from sam2_training.core.outputs import below
from sam2_training.data import rle
from sam2_training.writers.writer import MaskWriter, WrittenFrame, WrittenVideo


class Writer(MaskWriter):
    """One masklet an object, with an RLE, perhaps empty, for each labeled frame; masklet_id is the object's id.

    SA-V's annotated frames are equally far apart. Where the labeled ones are not, every frame is written, which makes
    unlabeled ones empty; they are counted as lost.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rows: dict[int, list[dict[str, Any]]] = {}

    def files(self, videos: Sequence[WrittenVideo]) -> list[str]:
        return [_document(video) for video in videos]

    def begin(self, video: WrittenVideo) -> None:
        super().begin(video)
        self._rows = {}

    def write(self, frame: WrittenFrame) -> None:
        self._rows[frame.index] = [rle.as_json(rle.encode(mask), self.video.size) for mask in frame.masks]
        self.count_partly_labeled(frame)
        self.count_ignored(frame)

    def end(self) -> None:
        self.losses["names of objects"] += len(self.video.object_names)
        write_text(below(self.folder, _document(self.video)), json.dumps(self._values()) + "\n")

    def _values(self) -> dict[str, object]:
        video, ids = self.video, self.video.object_ids
        height, width = video.size
        num_frames = len(video.frame_files)
        step = _step(sorted(self._rows), num_frames)
        empty = rle.as_json(rle.union([], video.size), video.size)
        frames = range(0, num_frames, step)
        self.losses["frames without labels, written as empty"] += len(set(frames) - set(self._rows))
        masklet = [self._rows.get(t, [empty] * len(ids)) for t in frames]
        areas = [[rle.area(row[n]["counts"].encode("ascii"), video.size) for row in masklet] for n in range(len(ids))]
        rate = video.frames_per_second or 24.0
        return {
            "video_id": video.name,
            "video_duration": num_frames / rate,
            "video_frame_count": float(num_frames),
            "video_height": float(height),
            "video_width": float(width),
            "video_resolution": float(height * width),
            "masklet": masklet,
            "masklet_id": list(ids),
            "masklet_size_abs": [_mean([area for area in of_one if area]) for of_one in areas],
            "masklet_size_rel": [_mean([area for area in of_one if area]) / (height * width) for of_one in areas],
            "masklet_first_appeared_frame": [
                float(next((t for t, area in zip(frames, of_one, strict=True) if area), 0)) for of_one in areas
            ],
            "masklet_frame_count": [len(masklet)] * len(ids),
            "masklet_type": ["manual"] * len(ids),
            "masklet_num": len(ids),
        }


def _document(video: WrittenVideo) -> str:
    return f"{video.name}_manual.json"


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _step(labeled: list[int], num_frames: int) -> int:
    """The distance of labeled frames if they are 0, d, 2d, ... to the end of the video; else 1."""
    if len(labeled) < 2:
        return 1 if num_frames == 1 or labeled != [0] else num_frames
    step = labeled[1] - labeled[0]
    return step if labeled == list(range(0, num_frames, step)) else 1
