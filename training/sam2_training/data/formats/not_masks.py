"""Files that people have in place of mask PNGs, and what to do about each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

_COMPRESSED = "whose compression changes pixel values, and those are the objects' ids: export each mask as a PNG"
_KINDS = {
    (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"): f"is a video, {_COMPRESSED} named like its frame",
    (".jpg", ".jpeg"): f"is a JPEG, {_COMPRESSED} from its source; a JPEG saved as PNG keeps the changes",
    (".json",): "holds annotations as JSON, which this version does not read: write each mask as a PNG",
    (".txt", ".xml"): "is not a picture: write each mask as a PNG",
    (".npy", ".npz", ".tif", ".tiff"): "is a stack: dataset.dataset_type=stack reads it",
    (".bmp", ".gif", ".webp"): "is not a PNG: save each mask as one, without scaling",
}
"""{suffixes: what such a file is, and the cure}."""


_BRUSH = re.compile(r"task-\d+-annotation-\d+-.*\.png", re.IGNORECASE)
"""How Label Studio's export of brush labels as PNG names its files."""


def instead_of_masks(names: Sequence[str]) -> str:
    """A sentence on what the first of these files is that is known not to be a mask PNG; "" if there is none."""
    for name in names:
        if _BRUSH.fullmatch(name):
            return (
                f"{name} is a PNG of one brush label from Label Studio, named by its task and not by its frame: give "
                "each object a folder (<video>/<object>/<frame>.png) with its PNGs renamed by the frame of the task."
            )
        suffix = PurePosixPath(name).suffix.lower()
        for suffixes, words in _KINDS.items():
            if suffix in suffixes:
                return f"{name} {words}."
    return ""
