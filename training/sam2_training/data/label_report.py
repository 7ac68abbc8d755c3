"""The label report of a dataset: what its mask values cannot mean is refused, what is suspicious is said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam2_training.core.text import count, some
from sam2_training.data.label_facts import ValueFacts, VideoLabels
from sam2_training.data.labels import LabelRules, color_text
from sam2_training.data.source import LARGEST_ID
from sam2_training.data.table import VideoTable

TINY_AREA = 3
"""Pixels: an object that never has more is taken for a stray brush stroke."""
TURNS = 3
"""So many changes between objects that are never in one frame are suspicious."""
MOTS_IGNORED = 10000
"""The value of ignored pixels beside ids of class * 1000 + instance: Voigtlaender et al., "MOTS", CVPR 2019."""


@dataclass(frozen=True)
class LabelReport:
    """What the mask files of a dataset say, in sentences."""

    problems: tuple[str, ...] = ()
    """What cannot be meant, or has more than one meaning, with the setting that says which."""
    warnings: tuple[str, ...] = ()
    """What is possible but seldom meant."""
    lines: tuple[str, ...] = ()
    """How values are read."""


@dataclass(frozen=True)
class LabeledVideo:
    """The facts of one video's mask files."""

    name: str
    folder: str
    """Of its mask files, for messages."""
    labels: VideoLabels
    object_ids: tuple[int, ...] = ()
    areas: npt.NDArray[np.int32] | None = None
    """[F, N], as `Video.areas`; None for a single file."""
    object_folders: tuple[str, ...] = ()
    """As `Video.object_folders`."""

    def path(self, file: str) -> str:
        return f"{self.folder}/{file}" if self.folder else file


def labeled_videos(table: VideoTable, location: str) -> list[LabeledVideo]:
    """The videos of a table that have mask files. location: the folder of their masks."""
    found = []
    for number in range(len(table)):
        text = table.labels[number]
        if text:
            folder = f"{location}/{table.mask_folders[number] or table.names[number]}"
            labels, ids = VideoLabels.from_text(text), table.object_ids_of(number)
            objects = table.object_folders_of(number)
            found.append(LabeledVideo(table.names[number], folder, labels, ids, table.areas_of(number), objects))
    return found


def label_report(videos: Sequence[LabeledVideo], rules: LabelRules) -> LabelReport:
    """The report on videos that were read by `rules`."""
    soft = [video for video in videos if video.labels.soft is not None and not video.labels.per_object]
    holding_all = [video for video in videos if not video.labels.per_object]
    values = _Values(holding_all, rules)
    named = rules.object_ids is not None
    soft_text = _soft_edges(soft) if soft else ""
    problems = [soft_text] if soft and not named else []
    problems += _several_values([video for video in videos if video.labels.per_object], rules)
    if not soft and not named and rules.binary_masks is None:
        problems += _reserved_values(values, rules)
        problems += _no_background(holding_all, values)
    problems += _palettes(videos)
    problems += _equal_objects(videos)
    warnings = [soft_text.split("\n")[0]] if soft and named else []
    warnings += _background_colors(holding_all, rules)
    warnings += _without_background(videos)
    warnings += _taking_turns(holding_all)
    warnings += _tiny_objects(videos)
    return LabelReport(tuple(problems), tuple(warnings), tuple(_how_values_are_read(videos, values, rules)))


class _Values:
    """The values of files that hold all objects of a frame, over a dataset."""

    def __init__(self, videos: Sequence[LabeledVideo], rules: LabelRules) -> None:
        self.first: dict[int, str] = {}
        """{value: the first file that has it}"""
        self.pixels: dict[int, int] = {}
        self.files: dict[int, int] = {}
        self.most_in_a_file = max((video.labels.most[0] for video in videos), default=0)
        for video in videos:
            for one in video.labels.values:
                self.first.setdefault(one.value, video.path(one.file))
                self.pixels[one.value] = self.pixels.get(one.value, 0) + one.pixels
                self.files[one.value] = self.files.get(one.value, 0) + one.files
        self.ids = sorted(value for value in self.first if value and value not in rules.ignore_ids)

    def amount(self, value: int) -> str:
        return f"{self.pixels.get(value, 0):,} pixels in {count(self.files.get(value, 0), 'file')}"


def _soft_edges(videos: Sequence[LabeledVideo]) -> str:
    worst = max(videos, key=lambda video: video.labels.soft.between if video.labels.soft else 0)
    soft = worst.labels.soft
    assert soft is not None
    files = sum(video.labels.soft.files for video in videos if video.labels.soft)
    return (
        f"{count(files, 'mask file')} with soft edges, such as {worst.path(soft.file)}: it holds {soft.num_values} "
        f"values besides 0, and {soft.between:,} pixels whose value lies between those of their neighbors, as in "
        "masks that were smoothed, resized with interpolation or saved as JPEG, and in photos\n"
        "Export the masks without smoothing. If each file is one object, say so with dataset.binary_masks=half (values "
        "of at least half of the range) or nonzero. If every value is an object, name them in dataset.object_ids."
    )


def _several_values(videos: Sequence[LabeledVideo], rules: LabelRules) -> Iterator[str]:
    found = [video for video in videos if video.labels.most[0] > 1 and rules.binary_masks is None]
    if not found:
        return
    worst = max(found, key=lambda video: video.labels.most[0])
    number, file = worst.labels.most
    soft = worst.labels.soft
    edges = f", and {soft.between:,} pixels lie between the values of their neighbors (soft edges)" if soft else ""
    cure = (
        "Export the masks without smoothing, as PNG. "
        if soft
        else "If the values are ids, move the files up, out of their folder, and leave out folders of anything else, "
        "such as SegmentationClass. "
    )
    yield (
        f"{count(len(found), 'video')} with a folder per object whose files hold more than one value besides 0 "
        f"({some([video.name for video in found])}): {worst.path(file)} holds {number}{edges}\n{cure}If each file is "
        "one object, say so with dataset.binary_masks=half (values of at least half of the range) or nonzero."
    )


def _reserved_values(values: _Values, rules: LabelRules) -> Iterator[str]:
    """255, 65535 and 10000 beside other ids."""
    ids = [] if rules.palette == "color" else values.ids
    for value in ids:
        others = [other for other in ids if other != value]
        if not others or not _is_reserved(value, ids):
            continue
        asked = f"If these pixels are to be ignored, set dataset.ignore_ids=[{value}]"
        both = f"if {'both' if len(others) == 1 else 'all'} are objects, dataset.object_ids={_listing(ids)}"
        if len(others) == 1 and values.most_in_a_file == 1:
            yield (
                f"masks of one object with two values, {others[0]} in {values.first[others[0]]} and {value} in "
                f"{values.first[value]}; no file holds both\n"
                f"If both are the same object, set dataset.binary_masks=nonzero. {asked}; {both}."
            )
        else:
            yield (
                f"value {value} beside the object{'s' if len(others) > 1 else ''} {some([str(n) for n in others])}: "
                f"{values.amount(value)}, such as {values.first[value]}\n{value} mostly marks pixels of no object. "
                f"{asked}; {both}; if {value} is background, dataset.object_ids={_listing(others)}."
                + (" If these are MOTS masks, dataset.dataset_type=mots reads them." if value == MOTS_IGNORED else "")
            )


def _is_reserved(value: int, ids: Sequence[int]) -> bool:
    """Whether a value marks pixels to ignore in common datasets, and is not a number in a row of ids."""
    beside_instances = value == MOTS_IGNORED and any(1000 <= other < MOTS_IGNORED for other in ids)
    return (value in (255, 65535) or beside_instances) and not {value - 1, value + 1} & set(ids)


def _listing(ids: Sequence[int]) -> str:
    return f"[{','.join(map(str, ids))}]" if len(ids) <= 10 else f"[{','.join(map(str, ids[:9]))},...]"


def _no_background(videos: Sequence[LabeledVideo], values: _Values) -> Iterator[str]:
    files = sum(video.labels.num_files for video in videos)
    if files < 2 or 0 in values.first or len(values.ids) < 2:
        return
    first = values.ids[0]
    yield (
        f"no mask has a pixel of 0, the background: the values are {some([str(n) for n in values.ids], 8)} in "
        f"{count(files, 'file')}, such as {values.first[first]}\n"
        "If one of them is the background, name the others in dataset.object_ids; if all are objects, name all."
    )


def _palettes(videos: Sequence[LabeledVideo]) -> Iterator[str]:
    """Within a video any value that is used; between videos the background, if its color is an object's elsewhere."""
    found = [video for video in videos if video.labels.palettes is not None]
    if found:
        assert found[0].labels.palettes is not None
        value, file, color, other, other_color = found[0].labels.palettes
        paths = found[0].path(file), found[0].path(other)
        more = f" ({count(len(found), 'video')} of this kind)" if len(found) > 1 else ""
        yield _palette_problem(value, (color, other_color), paths) + more
        return
    first = next((pair for video in videos if (pair := _background_of(video))), None)
    for video in videos:
        own = _background_of(video)
        if first and own and own[1].color != first[1].color:
            colors = {one.color for side in (first[0], video) for one in side.labels.values if one.value}
            if colors & {own[1].color, first[1].color}:
                paths = first[0].path(first[1].color_file), video.path(own[1].color_file)
                yield _palette_problem(0, (first[1].color, own[1].color), paths)
                return


def _background_of(video: LabeledVideo) -> tuple[LabeledVideo, ValueFacts] | None:
    """The video and its value 0, if that has a color."""
    values = video.labels.values
    return (video, values[0]) if values and values[0].value == 0 and values[0].color >= 0 else None


def _palette_problem(value: int, colors: tuple[int, int], paths: tuple[str, str]) -> str:
    return (
        f"palettes disagree: value {value} is {color_text(colors[0])} in {paths[0]} and {color_text(colors[1])} in "
        f"{paths[1]}\nIf values are ids whatever their colors, set dataset.palette=index; if colors are objects, "
        "dataset.palette=color, or a palette file that names each color's id."
    )


def _equal_objects(videos: Sequence[LabeledVideo]) -> Iterator[str]:
    found = [video for video in videos if video.labels.same is not None]
    if found:
        assert found[0].labels.same is not None
        one, other = found[0].labels.same
        yield (
            f"two folders of objects hold the same masks in every frame: {found[0].path(one)} and "
            f"{found[0].path(other)}{f' ({len(found)} videos of this kind)' if len(found) > 1 else ''}\n"
            "Remove one of them, or name the objects to use in dataset.object_ids."
        )


def _background_colors(videos: Sequence[LabeledVideo], rules: LabelRules) -> Iterator[str]:
    for video in videos if rules.palette is None else ():
        own = _background_of(video)
        black = next((one for one in video.labels.values if one.value and one.color == 0), None)
        if own and own[1].color and black:
            yield (
                f"value 0, read as background, is {color_text(own[1].color)} in the palette, and object {black.value} "
                f"is black: {video.path(black.color_file)}; dataset.palette=color takes black for the background"
            )
            return


def _without_background(videos: Sequence[LabeledVideo]) -> Iterator[str]:
    found = [video.name for video in videos if 1 < video.labels.num_files == video.labels.files_without_zero]
    if found:
        yield f"in {count(len(found), 'video')} no mask has a pixel of background (value 0): {some(found)}"


def _taking_turns(videos: Sequence[LabeledVideo]) -> Iterator[str]:
    for video in videos:
        if video.areas is None or len(video.object_ids) < 2:
            continue
        visible = video.areas[(video.areas > 0).any(axis=1)] > 0
        if len(visible) and visible.sum(axis=1).max() == 1:
            order = visible.argmax(axis=1)
            turns = int(np.count_nonzero(np.diff(order)))
            if turns >= TURNS and turns > len(set(order.tolist())):
                ids = [str(video.object_ids[n]) for n in sorted(set(order.tolist()))]
                yield (
                    f"objects {some(ids)} of video {video.name} are never in one frame and take turns ({turns} changes "
                    f"in {len(order)} masks); if they are one object, set dataset.binary_masks=nonzero"
                )


def _tiny_objects(videos: Sequence[LabeledVideo]) -> Iterator[str]:
    found = []
    for video in videos:
        if video.areas is not None and len(video.areas):
            largest = video.areas.max(axis=0)
            tiny = np.flatnonzero((largest > 0) & (largest <= TINY_AREA)).tolist()
            found += [f"{video.name}: {video.object_ids[n]}" for n in tiny]
    if found:
        objects = count(len(found), "object")
        yield f"{objects} of at most {TINY_AREA} pixels in every mask, as stray brush strokes are: {some(found)}"


def _numbered_folders(videos: Sequence[LabeledVideo]) -> Iterator[str]:
    """On folders that are not named by an id, such as SA-V's 000: their objects have other numbers."""
    numbered: dict[str, int] = {}
    for video in videos:
        for folder, number in zip(video.object_folders, video.object_ids, strict=False):
            if folder and (not folder.isdecimal() or int(folder) != number):
                numbered.setdefault(folder, number)
    if numbered:
        names = some([f"{folder} is {number}" for folder, number in numbered.items()], 3)
        yield f"objects are numbered from 1 in each video where a folder's name is no id from 1 to 65535: {names}"


def _how_values_are_read(videos: Sequence[LabeledVideo], values: _Values, rules: LabelRules) -> Iterator[str]:
    if not videos:
        return
    if rules.binary_masks is not None:
        kept = "values of at least half of the range" if rules.binary_masks == "half" else "any value but 0"
        yield f"each file is one object: {kept} (dataset.binary_masks={rules.binary_masks})"
    elif values.ids:
        objects = [n for n in values.ids if rules.object_ids is None or n in rules.object_ids]
        names = some([str(n) for n in objects], 8)
        if rules.palette not in (None, "index"):
            yield f"objects are numbered by their colors (dataset.palette={rules.palette}): {names}"
        elif len(objects) == 1:
            yield f"one object: value {names} is object {names}"
        else:
            yield f"objects are numbered by their values: {names}"
    if any(video.labels.per_object for video in videos) and rules.binary_masks is None:
        yield "a folder per object: any value but 0 is the object"
        yield from _numbered_folders(videos)
    numbered = [(f"{value} is {n}", video.name) for video in videos for value, n in video.labels.numbered]
    if numbered:
        names = some([name for name, _ in numbered], 3)
        many = count(len({video for _, video in numbered}), "video")
        yield f"objects are numbered from 1 in {many} with values above {LARGEST_ID}, in their order: {names}"
    per_value: dict[int, list[int]] = {}
    for video in videos:
        for one in video.labels.values:
            amount = per_value.setdefault(one.value, [0, 0])
            amount[0] += one.pixels
            amount[1] += one.files
    for value in rules.ignore_ids:
        pixels, files = per_value.get(value, (0, 0))
        yield f"value {value} is ignored: {pixels:,} pixels in {count(files, 'file')} (dataset.ignore_ids)"
    if rules.object_ids is not None:
        known = {number for video in videos for number in video.object_ids}
        lost = [str(n) for n in rules.object_ids if n not in known]
        if lost:
            yield f"no mask shows {some(lost)} of dataset.object_ids"
        left = [n for n in values.ids if n not in rules.object_ids]
        if left:
            pixels = sum(values.pixels[n] for n in left)
            names = some([str(n) for n in left], 8)
            yield f"read as background, not being in dataset.object_ids: {names} ({pixels:,} pixels)"
