"""Still pictures of whole clips: film strips that compare masks, and contact sheets."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sam2_training.core.errors import DataError
from sam2_training.pictures.overlay import (
    NO_OBJECT,
    NO_PREDICTION,
    Frame,
    Masks,
    check_masks,
    fitting_size,
    overlay,
    resized,
)
from sam2_training.pictures.palette import RGB, object_color

BACKGROUND: RGB = (22, 24, 29)
INK: RGB = (236, 238, 242)
FAINT_INK: RGB = (158, 164, 175)
EMPTY: RGB = (43, 46, 54)
CELL_BOX = (220, 170)
"""Maximum width and height of one frame in a strip, pixels."""
MIN_COLUMN = 112
"""Pixels: room for the scores of two objects."""
GAP = 4
GUTTER = 64
"""Width of the row labels, pixels."""
LINE = 22
"""Height of a line of text, pixels."""
FONT_SIZE = 15
SWATCH = 9
ABSENT = "n/a"
"""An absent score; the font has no dash of its own."""

ObjectScores = Sequence[float | None]
"""One score for each object; None where it cannot be computed."""


@dataclass(frozen=True)
class StripRow:
    """One row of a film strip: a clip's frames with one set of masks."""

    label: str
    """Stands at the left: "truth", "before", ..."""
    masks: Sequence[Masks | None] | None = None
    """For each column bool [N, H, W], or None where there are none (an unlabeled frame). None: the bare frames."""
    scores: Sequence[ObjectScores | None] | None = None
    """For each column the objects' scores, written under it; None: no line of scores, or nothing in this column."""
    empty_note: str = NO_PREDICTION
    """Stands on a frame whose masks have no pixel."""


def spread_frames(num_frames: int, num_chosen: int) -> list[int]:
    """At most `num_chosen` frame indices, evenly spread, the first and the last among them."""
    if num_frames <= num_chosen:
        return list(range(num_frames))
    if num_chosen == 1:
        return [0]
    return [round(place * (num_frames - 1) / (num_chosen - 1)) for place in range(num_chosen)]


def strided_frames(num_frames: int, stride: int, max_length: int) -> list[int]:
    """Every `stride`-th frame index from the first, at most `max_length` of them."""
    return list(range(0, num_frames, stride))[:max_length]


def film_strip(
    frames: Sequence[Frame], rows: Sequence[StripRow], object_ids: Sequence[int], column_labels: Sequence[str]
) -> Frame:
    """A picture [H', W', 3] uint8 RGB: a column for each frame, a row for each set of masks, scores underneath.

    frames: uint8 RGB [H, W, 3], those to show, all of one size. column_labels: one for each, such as "frame 12". Where
    the scores of all objects do not fit, their mean is shown. Raises DataError if counts or sizes disagree.
    """
    _check_strip(frames, rows, object_ids, column_labels)
    width, height = fitting_size((frames[0].shape[1], frames[0].shape[0]), CELL_BOX)
    column_width = max(width, MIN_COLUMN)
    heights = [height + (LINE if row.scores else 0) + GAP for row in rows]
    image = Image.new(
        "RGB", (GUTTER + len(frames) * (column_width + GAP) + GAP, LINE + sum(heights) + 2 * GAP), BACKGROUND
    )
    draw = ImageDraw.Draw(image)
    lefts = [GUTTER + column * (column_width + GAP) for column in range(len(frames))]
    for left, label in zip(lefts, column_labels, strict=True):
        _centered(draw, left + column_width // 2, GAP + LINE // 2, label, FAINT_INK)
    top = LINE + GAP
    for row, row_height in zip(rows, heights, strict=True):
        draw.text((GAP + 2, top + height // 2), row.label, INK, _font(), anchor="lm")
        for column, (left, frame) in enumerate(zip(lefts, frames, strict=True)):
            indent = left + (column_width - width) // 2
            masks = None if row.masks is None else row.masks[column]
            if row.masks is not None and masks is None:
                draw.rectangle((indent, top, indent + width - 1, top + height - 1), EMPTY)
                _centered(draw, indent + width // 2, top + height // 2, "no mask", FAINT_INK)
            else:
                image.paste(
                    Image.fromarray(_cell(frame, masks, object_ids, width, height, row.empty_note)), (indent, top)
                )
            scores = None if row.scores is None else row.scores[column]
            if scores is not None:
                middle = (left + column_width // 2, top + height + LINE // 2 + 1)
                _write_scores(draw, middle, scores, object_ids, column_width)
        top += row_height
    return np.asarray(image)


def comparison_strip(
    frames: Sequence[Frame],
    ground_truth: Sequence[Masks | None],
    before: Sequence[Masks | None],
    after: Sequence[Masks | None],
    object_ids: Sequence[int],
    *,
    j_before: Sequence[ObjectScores | None],
    j_after: Sequence[ObjectScores | None],
    column_labels: Sequence[str],
) -> Frame:
    """`film_strip` with the rows frame, ground truth, before, after, and every object's J under the last two.

    All sequences hold one entry for each column. A J of None inside an entry is written as "n/a"; None for an entry
    leaves the place empty, as for the frame whose mask was given.
    """
    rows = [
        StripRow("frame"),
        StripRow("truth", ground_truth, empty_note=NO_OBJECT),
        StripRow("before", before, j_before),
        StripRow("after", after, j_after),
    ]
    return film_strip(frames, rows, object_ids, column_labels)


def contact_sheet(
    frames: Sequence[Frame],
    masks: Sequence[Masks | None],
    object_ids: Sequence[int],
    labels: Sequence[str],
    num_columns: int = 5,
) -> Frame:
    """A picture [H', W', 3] uint8 RGB of a clip's frames with their masks, line by line, a label under each.

    frames: uint8 RGB [H, W, 3], all of one size; masks: for each bool [N, H, W], or None for the bare frame. To keep
    the sheet small give it `spread_frames` of a long clip. Raises DataError if counts or sizes disagree.
    """
    _check_strip(frames, [StripRow("masks", masks)], object_ids, labels)
    width, height = fitting_size((frames[0].shape[1], frames[0].shape[0]), CELL_BOX)
    num_columns = min(num_columns, len(frames))
    num_lines = -(-len(frames) // num_columns)
    size = (num_columns * (width + GAP) + GAP, num_lines * (height + LINE) + GAP)
    image = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(image)
    for number, (frame, frame_masks, label) in enumerate(zip(frames, masks, labels, strict=True)):
        line, column = divmod(number, num_columns)
        left, top = GAP + column * (width + GAP), GAP + line * (height + LINE)
        image.paste(Image.fromarray(_cell(frame, frame_masks, object_ids, width, height)), (left, top))
        _centered(draw, left + width // 2, top + height + LINE // 2 - 1, label, FAINT_INK)
    return np.asarray(image)


def _check_strip(
    frames: Sequence[Frame], rows: Sequence[StripRow], object_ids: Sequence[int], labels: Sequence[str]
) -> None:
    if not frames:
        raise DataError("a film strip needs at least one frame; none was given")
    counts = {"column labels": len(labels)}
    for row in rows:
        counts |= {f"masks of row {row.label}": len(row.masks)} if row.masks is not None else {}
        counts |= {f"scores of row {row.label}": len(row.scores)} if row.scores is not None else {}
        for frame, masks in zip(frames, row.masks or (), strict=False):
            if masks is not None:
                check_masks(frame, masks, object_ids)
    wrong = [f"{count} {what}" for what, count in counts.items() if count != len(frames)]
    if wrong:
        raise DataError(f"a film strip of {len(frames)} frames got {', '.join(wrong)}: give one for each frame")


def _cell(
    frame: Frame, masks: Masks | None, object_ids: Sequence[int], width: int, height: int, note: str = NO_PREDICTION
) -> Frame:
    """The frame in the strip's size; masks are drawn after resizing, so that outlines stay crisp."""
    ids = object_ids if masks is not None else ()
    shown = masks if masks is not None else np.zeros((0, *frame.shape[:2]), bool)
    small, small_masks = resized(frame, shown, width, height)
    return overlay(small, small_masks, ids, numbers=len(ids) > 1, empty_note=note)


@functools.lru_cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)


def _centered(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, color: RGB) -> None:
    draw.text((x, y), text, color, _font(), anchor="mm")


def _write_scores(
    draw: ImageDraw.ImageDraw, middle: tuple[int, int], scores: ObjectScores, object_ids: Sequence[int], width: int
) -> None:
    """A swatch and a number for each object, or "mean 0.81" if those would not fit."""
    texts = [score_text(score) for score in scores]
    widths = [SWATCH + 4 + draw.textlength(text, _font()) for text in texts]
    total = sum(widths) + 10 * (len(widths) - 1)
    if len(scores) == 1 or total > width:
        known = [score for score in scores if score is not None]
        mean = score_text(float(np.mean(known)) if known else None)
        _centered(draw, *middle, f"J {mean}" if len(scores) == 1 else f"mean J {mean}", INK)
        return
    x, y = middle[0] - total / 2, middle[1]
    for text, text_width, object_id in zip(texts, widths, object_ids, strict=True):
        draw.rectangle((x, y - SWATCH // 2, x + SWATCH - 1, y + SWATCH // 2), object_color(object_id))
        draw.text((x + SWATCH + 4, y), text, INK, _font(), anchor="lm")
        x += text_width + 10


def score_text(score: float | None) -> str:
    """A score between 0 and 1 with two digits, "n/a" for an absent one."""
    return ABSENT if score is None else f"{score:.2f}"
