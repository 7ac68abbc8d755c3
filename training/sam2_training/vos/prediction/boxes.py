"""Boxes of a frame from files: COCO JSON and YOLO text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from sam2_training.core.errors import ConfigError, DataError
from sam2_training.core.files import endless_kind

Box = tuple[float, float, float, float]
"""left, top, right, bottom, pixels."""

ROUNDING = 1.0
"""Pixels by which a file's box may stick out of the frame and is cut off: conversions round."""


def read_boxes(path: Path, frame_name: str, frame_size: tuple[int, int]) -> list[Box]:
    """The boxes that a file (.json: COCO, .txt: YOLO) holds for a frame, in the file's order.

    frame_name: stem of the frame's file, by which a COCO file with several images is searched. frame_size: (height,
    width), pixels. Raises ConfigError for another suffix, DataError for whatever is wrong with the file.
    """
    readers: dict[str, Callable[[str, Path, str, tuple[int, int]], list[Box]]] = {".json": _coco, ".txt": _yolo}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"--boxes {path}: unknown format; give a COCO file (.json) or a YOLO file (.txt)")
    kind = endless_kind(path)
    if kind:
        raise DataError(f"--boxes {path} is {kind}, expected a file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise DataError(f"--boxes {path} cannot be read: {reason}") from error
    boxes = reader(text, path, frame_name, frame_size)
    if not boxes:
        raise DataError(f"--boxes {path} holds no box for frame {frame_name}")
    return [_inside(box, number, path, frame_size) for number, box in enumerate(boxes, 1)]


def _coco(text: str, path: Path, frame_name: str, frame_size: tuple[int, int]) -> list[Box]:
    """Boxes of a data set file ({"images", "annotations"}), or of a list of detections of one image."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"--boxes {path} is not JSON: {error}") from error
    if isinstance(content, list):
        entries = content
        if len({_field(entry, "image_id", path) for entry in entries}) > 1:
            raise DataError(
                f"--boxes {path} is a list of detections in several images, and none is named: give those of the "
                'first frame only, or a file with "images" and "annotations"'
            )
    else:
        image_id = _coco_image(_list(content, "images", path), path, frame_name, frame_size)
        entries = [e for e in _list(content, "annotations", path) if _field(e, "image_id", path) == image_id]
    boxes = []
    for number, entry in enumerate(entries, 1):
        x, y, width, height = _numbers(
            _field(entry, "bbox", path), 4, f"bbox {number} of {path}", "x, y, width, height"
        )
        boxes.append((x, y, x + width, y + height))
    return boxes


def _coco_image(images: list[object], path: Path, frame_name: str, frame_size: tuple[int, int]) -> object:
    """The id of the frame's entry among a file's images: the only one, or the one with the frame's name."""
    named = [image for image in images if Path(str(_field(image, "file_name", path))).stem == frame_name]
    found = images if len(images) == 1 else named
    if len(found) != 1:
        raise DataError(
            f"--boxes {path} has {len(images)} images, {len(named)} of them named like the first frame, "
            f"{frame_name}: expected one"
        )
    image = found[0]
    identifier = _field(image, "id", path)
    sizes = image if isinstance(image, dict) else {}
    size = (sizes.get("height", frame_size[0]), sizes.get("width", frame_size[1]))
    if size != frame_size:
        raise DataError(
            f"--boxes {path} is for an image of {size[0]}x{size[1]}, the frames are {frame_size[0]}x{frame_size[1]} "
            "(height x width): scale the boxes"
        )
    return identifier


def _yolo(text: str, path: Path, frame_name: str, frame_size: tuple[int, int]) -> list[Box]:
    """Boxes of lines "class x-center y-center width height [confidence]", in fractions of the frame."""
    height, width = frame_size
    boxes = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        words, where = line.split(), f"line {number} of {path}"
        if len(words) not in (5, 6):
            raise DataError(
                f"--boxes {path}: line {number} has {len(words)} values; a YOLO box has 5 or 6: class, x and y of the "
                "center, width, height, and perhaps a confidence"
            )
        x, y, w, h = _numbers(words[1:5], 4, where, "x, y, width, height as fractions")
        if max(x, y, w, h) > 1 or min(x, y, w, h) < 0:
            raise DataError(
                f"--boxes {path}: line {number} has values outside 0 to 1; YOLO's are fractions of the frame"
            )
        boxes.append(((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height))
    return boxes


def _inside(box: Box, number: int, path: Path, frame_size: tuple[int, int]) -> Box:
    height, width = frame_size
    left, top, right, bottom = box
    problem = ""
    if right <= left or bottom <= top:
        problem = "is empty"
    elif left < -ROUNDING or top < -ROUNDING or right > width + ROUNDING or bottom > height + ROUNDING:
        problem = f"lies outside the frame of {width}x{height} (width x height)"
    if problem:
        shown = ", ".join(f"{value:g}" for value in box)
        raise DataError(f"--boxes {path}: box {number} (left, top, right, bottom: {shown}) {problem}")
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def _list(content: object, key: str, path: Path) -> list[object]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise DataError(f'--boxes {path} is not a COCO file: it has no list "{key}"')
    return found


def _field(entry: object, key: str, path: Path) -> object:
    if not isinstance(entry, dict) or key not in entry:
        raise DataError(f'--boxes {path} is not a COCO file: an entry has no "{key}"')
    return entry[key]


def _numbers(values: object, count: int, where: str, what: str) -> list[float]:
    """Raises DataError unless `values` are `count` finite numbers."""
    try:
        numbers = [float(value) for value in values] if isinstance(values, list) else []
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise DataError(f"--boxes: {where} is {values!r}, expected {count} numbers: {what}")
    return numbers
