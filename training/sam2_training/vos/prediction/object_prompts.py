"""Prompts for the objects in a video's first frame, from the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam2_training.core.errors import ConfigError, DataError
from sam2_training.data.label_facts import LabelScan
from sam2_training.data.label_report import LabeledVideo, label_report
from sam2_training.data.labels import LabelRules
from sam2_training.pictures.mask_png import LARGEST_ID
from sam2_training.vos.evaluation.prompts import Click, Prompt
from sam2_training.vos.prediction.boxes import Box, read_boxes

BOX_FORM = '"id:left,top,right,bottom" in pixels, such as "1:10,20,110,90"'
POINT_FORM = '"id:x,y,+" for a point on the object and "id:x,y,-" for one beside it, such as "1:60,45,+"'


@dataclass(frozen=True)
class PromptArguments:
    """The prompt as the command line gives it: one mask file, one file of boxes, or boxes and points."""

    mask: Path | None = None
    boxes_file: Path | None = None
    boxes: tuple[tuple[int, Box], ...] = ()
    """(object id, box)"""
    points: tuple[tuple[int, Click], ...] = ()

    @classmethod
    def parse(
        cls, mask: Path | None, boxes_file: Path | None, boxes: Sequence[str], points: Sequence[str]
    ) -> PromptArguments:
        """Raises ConfigError for no prompt, several kinds at once, and words that are not a box or point."""
        given = [mask is not None, boxes_file is not None, bool(boxes or points)]
        if sum(given) != 1:
            raise ConfigError(
                f"{'no prompt' if not any(given) else 'several kinds of prompts'}: say what to track by one of "
                f"--mask FILE.png, --boxes FILE, or --box and --point: {BOX_FORM}; {POINT_FORM}"
            )
        parsed = cls(mask, boxes_file, tuple(map(_box, boxes)), tuple(map(_point, points)))
        ids = [object_id for object_id, _ in parsed.boxes]
        twice = sorted({object_id for object_id in ids if ids.count(object_id) > 1})
        if twice:
            raise ConfigError(f"--box: object {twice[0]} has {ids.count(twice[0])} boxes; give one an object")
        known = {*ids, *(object_id for object_id, click in parsed.points if click.positive)}
        lost = sorted({object_id for object_id, _ in parsed.points} - known)
        if lost:
            raise ConfigError(f"--point: object {lost[0]} has only negative points; give a positive one, or a box")
        return parsed

    def prompts(self, frame_name: str, frame_size: tuple[int, int], rules: LabelRules | None = None) -> list[Prompt]:
        """A prompt for each object on frame 0, ids ascending. frame_size: (height, width).

        rules: what the values of a mask mean; None: they are ids.

        Raises ConfigError for boxes and points outside the frame, DataError for files that do not fit it.
        """
        if self.mask is not None:
            return mask_prompts(self.mask, frame_size, rules)
        if self.boxes_file is not None:
            boxes = read_boxes(self.boxes_file, frame_name, frame_size)
            return [Prompt(object_id, 0, box=box) for object_id, box in enumerate(boxes, 1)]
        self._check_inside(*frame_size)
        by_id = dict(self.boxes)
        ids = sorted({*by_id, *(object_id for object_id, _ in self.points)})
        clicks = {one: tuple(click for object_id, click in self.points if object_id == one) for one in ids}
        return [Prompt(one, 0, box=by_id.get(one), clicks=clicks[one]) for one in ids]

    def _check_inside(self, height: int, width: int) -> None:
        size = f"the frames are {width}x{height} (width x height)"
        for object_id, (left, top, right, bottom) in self.boxes:
            if left < 0 or top < 0 or right > width or bottom > height:
                raise ConfigError(
                    f"--box {object_id}:{left:g},{top:g},{right:g},{bottom:g} lies outside the frame: {size}"
                )
        for object_id, click in self.points:
            if not (0 <= click.x < width and 0 <= click.y < height):
                raise ConfigError(f"--point {object_id}:{click.x:g},{click.y:g} lies outside the frame: {size}")


def mask_prompts(path: Path, frame_size: tuple[int, int], rules: LabelRules | None = None) -> list[Prompt]:
    """A prompt for each object of a mask PNG, ids ascending. Raises DataError, also for what `label_report` refuses."""
    rules = rules or LabelRules()
    scan = LabelScan(rules, per_object=False)
    ids = scan.ids(str(path), str(path))
    problems = label_report([LabeledVideo(path.name, "", scan.facts())], rules).problems
    if problems:
        raise DataError("--mask: " + "\n".join(problems))
    if ids.shape != frame_size:
        given, expected = ("x".join(map(str, size)) for size in (ids.shape, frame_size))
        raise DataError(
            f"--mask {path} is {given}, the frames are {expected} (height x width): give a mask of the first frame"
        )
    found = [int(object_id) for object_id in np.unique(ids) if object_id != 0]
    if not found:
        raise DataError(f"--mask {path} is empty: no pixel has an object's id (1 or more)")
    return [Prompt(object_id, 0, mask=np.asarray(ids == object_id)) for object_id in found]


def _box(text: str) -> tuple[int, Box]:
    object_id, words = _split(text, 4, "--box", BOX_FORM)
    left, top, right, bottom = _floats(words, text, "--box", BOX_FORM)
    if right <= left or bottom <= top:
        raise ConfigError(f"--box {text!r} is empty: right must exceed left, and bottom top; write {BOX_FORM}")
    return object_id, (left, top, right, bottom)


def _point(text: str) -> tuple[int, Click]:
    object_id, words = _split(text, 3, "--point", POINT_FORM)
    if words[2] not in ("+", "-"):
        raise ConfigError(f"--point {text!r} is not a point; write {POINT_FORM}")
    x, y = _floats(words[:2], text, "--point", POINT_FORM)
    return object_id, Click(x, y, words[2] == "+")


def _split(text: str, count: int, option: str, form: str) -> tuple[int, list[str]]:
    """(object id, the words after it)."""
    first, _, rest = text.partition(":")
    words = [word.strip() for word in rest.split(",")]
    if not (first.strip().isdecimal() and 1 <= int(first) <= LARGEST_ID) or len(words) != count:
        raise ConfigError(f"{option} {text!r} is not understood; write {form}; ids from 1 to {LARGEST_ID}")
    return int(first), words


def _floats(words: Sequence[str], text: str, option: str, form: str) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is not understood ({error}); write {form}") from error
    if not all(math.isfinite(number) for number in numbers):
        raise ConfigError(f"{option} {text!r} is not finite; write {form}")
    return numbers
