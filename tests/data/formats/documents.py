"""Documents of all videos, written from mask PNGs by pycocotools and OpenCV alone, as other programs would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from tests.data.formats.outlines import outlines
from tests.places import TEST_DATA

VOS = TEST_DATA / "vos"
Kind = Literal["compressed", "uncompressed", "polygons"]


def ids_of(video: str, frame: str) -> np.ndarray:
    """[H, W] of a mask PNG."""
    return np.asarray(Image.open(VOS / "Annotations" / video / f"{frame}.png"))


def frames_of(video: str) -> list[str]:
    """Names of the frames that have a mask."""
    return sorted(path.stem for path in (VOS / "Annotations" / video).glob("*.png"))


def segmentation_of(mask: np.ndarray, kind: Kind = "compressed") -> Any:
    """A mask [H, W] as COCO writes it."""
    if kind == "polygons":
        return [np.ravel(outline).tolist() for outline in outlines(mask)]
    if kind == "uncompressed":
        flat = mask.reshape(-1, order="F").astype(np.int8)
        changes = np.flatnonzero(np.diff(flat)) + 1
        runs = np.diff([0, *changes, len(flat)]).tolist()
        return {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def coco_document(videos: Sequence[str], kind: Kind = "compressed", track_key: str = "track_id") -> dict[str, Any]:
    """Images in no order; track = value in the PNG, category = 10 times that."""
    document: dict[str, Any] = {"info": {}, "annotations": [], "images": [], "categories": []}
    used: set[int] = set()
    for number, video in enumerate(videos):
        for t, frame in enumerate(frames_of(video)):
            ids = ids_of(video, frame)
            image = {"id": 1000 * number + t, "file_name": f"{video}/{frame}.jpg", "video_id": number}
            image |= {"order_in_video": int(frame), "height": ids.shape[0], "width": ids.shape[1]}
            document["images"].insert(0, image)
            for value in np.unique(ids[ids > 0]).tolist():
                used.add(value)
                found = {"id": len(document["annotations"]), "image_id": image["id"], "category_id": 10 * value}
                track = {"attributes": {"track_id": value}} if track_key == "attributes" else {track_key: value}
                found |= {"iscrowd": 0, "segmentation": segmentation_of(ids == value, kind), **track}
                document["annotations"].append(found)
    document["categories"] = [{"id": 10 * value, "name": f"kind {value}"} for value in sorted(used)]
    return document


def ytvis_document(videos: Sequence[str], kind: Kind = "compressed") -> dict[str, Any]:
    """track_id = value in the PNG; the annotations come last video first."""
    document: dict[str, Any] = {"annotations": [], "videos": [], "categories": [{"id": 1, "name": "thing"}]}
    for number, video in enumerate(videos):
        masks = [ids_of(video, frame) for frame in frames_of(video)]
        height, width = masks[0].shape
        files = [f"{video}/{frame}.jpg" for frame in frames_of(video)]
        entry = {"id": number, "file_names": files, "length": len(files), "height": height, "width": width}
        document["videos"].append(entry)
        for value in np.unique(np.stack(masks)).tolist():
            if value:
                found = [segmentation_of(ids == value, kind) if (ids == value).any() else None for ids in masks]
                annotation = {"id": 100 * number + value, "video_id": number, "category_id": 1, "track_id": value}
                document["annotations"].insert(0, annotation | {"segmentations": found})
    return document


def write(path: Path, document: object) -> Path:
    """The path, where the document then is."""
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def small(folder: Path, num_frames: int = 3) -> dict[str, Any]:
    """A coco document on a video `v` of 20x30 with one track, whose frames are written below folder."""
    (folder / "v").mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "box"}]}
    for t in range(num_frames):
        cv2.imwrite(str(folder / "v" / f"{t}.png"), np.full((20, 30, 3), 40 * t, np.uint8))
        mask = np.zeros((20, 30), np.bool_)
        mask[t : t + 5, 2:9] = True
        document["images"].append({"id": t, "file_name": f"v/{t}.png", "video_id": 4, "order_in_video": t})
        annotation = {"id": t, "image_id": t, "category_id": 1, "track_id": 7, "segmentation": segmentation_of(mask)}
        document["annotations"].append(annotation)
    return document


def small_ytvis(folder: Path, num_frames: int = 3) -> dict[str, Any]:
    """The same as a YouTube-VIS document."""
    coco = small(folder, num_frames)
    segmentations = [annotation["segmentation"] for annotation in coco["annotations"]]
    video = {"id": 4, "file_names": [image["file_name"] for image in coco["images"]]}
    annotation = {"id": 7, "video_id": 4, "category_id": 1, "segmentations": segmentations}
    return {"videos": [video], "annotations": [annotation], "categories": coco["categories"]}
