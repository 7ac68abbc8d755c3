"""Mask files in DAVIS's layout: one PNG a frame, pixel value = object id."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam2_training.core.errors import DataError
from sam2_training.core.files import write_bytes
from sam2_training.pictures.overlay import Masks
from sam2_training.pictures.palette import davis_palette

LARGEST_PALETTE_ID = 255
LARGEST_ID = 65535
IdMap = npt.NDArray[np.uint16]


def id_map(masks: Masks, object_ids: Sequence[int], scores: npt.NDArray[np.floating] | None = None) -> IdMap:
    """The object id of every pixel, [H, W] uint16, 0 where no mask is set.

    masks: bool [N, H, W]. A file of ids holds one object a pixel, so overlaps must be decided: the object with the
    highest score wins; on equal scores, or without scores, the last one in order does. scores: one for each object,
    [N]. Raises DataError for ids that no file can hold.
    """
    wrong = [object_id for object_id in object_ids if not 1 <= object_id <= LARGEST_ID]
    if wrong or len(masks) != len(object_ids):
        raise DataError(
            f"{len(masks)} masks cannot be written with object ids {list(object_ids)}: "
            f"a mask file holds ids 1 to {LARGEST_ID}, one for each mask; 0 is the background. Renumber the objects."
        )
    ids = np.zeros(masks.shape[1:], np.uint16)
    # A stable sort: of equal scores the last one in order is written last.
    order = range(len(masks)) if scores is None else np.argsort(scores, kind="stable").tolist()
    for number in order:
        ids[masks[number]] = object_ids[number]
    return ids


def write_id_png(path: Path, ids: npt.NDArray[np.integer], largest_id: int) -> None:
    """Writes a map of object ids, [H, W], as PNG with DAVIS's palette (PIL mode P), whole or not at all.

    largest_id: of all frames of the video, so that its files are of one kind: above 255 they are 16-bit gray, which
    the reader of this project takes too. The palette is DAVIS's, not that of our pictures: other tools expect it.
    Makes the folder if need be. Raises DataError when the map holds a larger id.
    """
    if int(ids.max(initial=0)) > largest_id or largest_id > LARGEST_ID:
        raise DataError(
            f"{path} would hold object id {int(ids.max(initial=0))}, but ids up to {largest_id} were announced "
            f"(at most {LARGEST_ID}). Give the largest id of the whole video."
        )
    if largest_id > LARGEST_PALETTE_ID:
        image = Image.fromarray(ids.astype(np.uint16))
    else:
        image = Image.fromarray(ids.astype(np.uint8))
        image.putpalette(davis_palette())
    content = io.BytesIO()
    image.save(content, "PNG")
    write_bytes(path, content.getvalue())


def write_masks_png(path: Path, masks: Masks, object_ids: Sequence[int]) -> None:
    """Writes masks [N, H, W] as one PNG of ids; in an overlap the last object wins. See `write_id_png`.

    object_ids: all of the video's, also those with an empty mask here.
    """
    write_id_png(path, id_map(masks, object_ids), max(object_ids, default=0))
