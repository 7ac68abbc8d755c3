"""Files of an evaluation: scores.csv, scores.json and mask PNGs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sam2_training.core.files import write_text
from sam2_training.core.text import shown
from sam2_training.pictures.mask_png import id_map, write_id_png
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.result import Row
from sam2_training.vos.evaluation.tracker import FrameMasks

SCORES_CSV = "scores.csv"
SCORES_JSON = "scores.json"
MASKS = "masks"


def remove_scores(folder: Path) -> None:
    """Removes the scores of an earlier evaluation, so that they do not stay beside the masks of a new one."""
    for name in (SCORES_CSV, SCORES_JSON):
        (folder / name).unlink(missing_ok=True)


def write_scores_csv(path: Path, rows: list[Row]) -> None:
    """Writes one line per object; an absent number is an empty field, with its reason in the column `reason`.

    Names stand there as they are `shown`, so that the file is UTF-8 whatever they are; scores.json has them exactly.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: shown(value) if isinstance(value, str) else value for name, value in row.items()})
    write_text(path, text.getvalue())


def write_scores_json(path: Path, values: Mapping[str, object]) -> None:
    """Writes plain values as JSON; refuses NaN and infinity (ValueError), which JSON does not have."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")


class MaskFolder:
    """Writes predicted masks in DAVIS's layout, <folder>/<video>/<frame>.png, as an evaluation produces them.

    A PNG holds one object a pixel: where masks overlap, the object with the higher presence logit is written. Frames
    before a video's first prompt are written empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, clip: EvaluationClip, frame: FrameMasks) -> None:
        """Writes one frame's masks; also the empty ones before it, if it is the clip's first with any."""
        largest, video = max(clip.object_ids), self.folder / clip.name
        prompted = np.flatnonzero(clip.visible.any(1))
        if frame.frame_index == prompted[0]:
            for earlier in range(frame.frame_index):
                nothing = np.zeros(frame.masks.shape[1:], np.uint16)
                write_id_png(video / f"{clip.frame_names[earlier]}.png", nothing, largest)
        ids = id_map(frame.masks, frame.object_ids, frame.presence)
        write_id_png(video / f"{clip.frame_names[frame.frame_index]}.png", ids, largest)
