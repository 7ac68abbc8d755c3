"""Files of an evaluation: scores.csv, scores.json and mask PNGs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from sam2_training.core.files import write_text
from sam2_training.core.outputs import below
from sam2_training.core.text import shown
from sam2_training.pictures.mask_png import id_map, write_id_png
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.result import Row
from sam2_training.vos.evaluation.tracker import FrameMasks

SCORES_CSV = "scores.csv"
SCORES_JSON = "scores.json"
MASKS = "masks"


def result_files(clips: Iterable[EvaluationClip]) -> list[str]:
    """Paths below the output folder of what an evaluation writes."""
    masks = [f"{MASKS}/{clip.name}/{name}.png" for clip in clips for name in clip.frame_names]
    return [SCORES_CSV, SCORES_JSON, *masks]


def is_former_evaluation(folder: Path) -> bool:
    """Whether the folder holds the scores of an evaluation by this or an earlier version."""
    try:
        values = json.loads((folder / SCORES_JSON).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"protocol", "prompt", "mean", "result"} <= values.keys()


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
    """Writes predicted masks in DAVIS's layout, <output>/masks/<video>/<frame>.png, as an evaluation produces them.

    A PNG holds one object a pixel: where masks overlap, the object with the higher presence logit is written. Frames
    before a video's first prompt are written empty.
    """

    def __init__(self, output: Path) -> None:
        self.output = output

    def write(self, clip: EvaluationClip, frame: FrameMasks) -> None:
        """Writes one frame's masks; also the empty ones before it, if it is the clip's first with any."""
        largest = max(clip.object_ids)
        prompted = np.flatnonzero(clip.visible.any(1))
        if frame.frame_index == prompted[0]:
            for earlier in range(frame.frame_index):
                nothing = np.zeros(frame.masks.shape[1:], np.uint16)
                write_id_png(self._path(clip, earlier), nothing, largest)
        ids = id_map(frame.masks, frame.object_ids, frame.presence)
        write_id_png(self._path(clip, frame.frame_index), ids, largest)

    def _path(self, clip: EvaluationClip, frame_index: int) -> Path:
        return below(self.output, MASKS, clip.name, f"{clip.frame_names[frame_index]}.png")
