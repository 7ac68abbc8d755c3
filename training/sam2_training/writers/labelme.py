"""Masks as LabelMe's documents, <video>/<frame>.json, that `dataset.dataset_type=labelme` reads."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam2_training.core.files import write_text
from sam2_training.core.outputs import below
from sam2_training.data.formats.labelme import IGNORED_LABEL
from sam2_training.writers.writer import MaskWriter, WrittenFrame, WrittenVideo


class Writer(MaskWriter):
    """A document for each labeled frame; one shape of the type "mask" an object, its id as group_id."""

    def files(self, videos: Sequence[WrittenVideo]) -> list[str]:
        return [f"{video.name}/{name}.json" for video in videos for name in video.frame_names]

    def write(self, frame: WrittenFrame) -> None:
        video = self.video
        height, width = video.size
        shapes: list[dict[str, object]] = []
        self.count_partly_labeled(frame)
        for number, object_id in enumerate(video.object_ids):
            if frame.masks[number].any():
                name = video.object_names.get(object_id, "object")
                shapes.append({"label": name, "group_id": object_id, **_shape(frame.masks[number])})
        if (ignored := frame.ignored_for_any) is not None:
            shapes.append({"label": IGNORED_LABEL, "group_id": None, **_shape(ignored)})
        document: dict[str, object] = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": video.frame_files[frame.index],
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        name = f"{video.frame_names[frame.index]}.json"
        write_text(below(self.folder, video.name, name), json.dumps(document, indent=1) + "\n")


def _shape(mask: npt.NDArray[np.bool_]) -> dict[str, object]:
    """LabelMe's mask: a PNG of the pixels in its box, whose corners are the first and the last pixel in it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left, bottom, right = (int(side) for side in (rows[0], columns[0], rows[-1], columns[-1]))
    content = io.BytesIO()
    Image.fromarray(mask[top : bottom + 1, left : right + 1]).save(content, "PNG")
    return {
        "points": [[float(left), float(top)], [float(right), float(bottom)]],
        "shape_type": "mask",
        "flags": {},
        "description": "",
        "mask": base64.b64encode(content.getvalue()).decode("ascii"),
    }
