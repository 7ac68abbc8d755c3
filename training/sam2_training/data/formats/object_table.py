"""The table of a document's videos, frames, objects and regions, sorted, as it is kept in an `AnnotationStore`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sam2_training.core.text import count, natural_key, shown, some
from sam2_training.data.formats.annotated import IGNORED
from sam2_training.data.formats.gathered import Gathered, Numbers, as_numbers, id_key, video_names
from sam2_training.data.source import LARGEST_ID
from sam2_training.data.table import StringColumn

Targets = Literal["track", "category"]
"""What an object is: the annotations of a track, or those of a category."""


@dataclass(frozen=True, eq=False)
class ObjectTable:
    """V videos in natural order, their F frames, O objects and R regions one video after the other."""

    video_names: StringColumn
    video_sizes: npt.NDArray[np.int64]
    """[V, 2]: (H, W); 0 where the document does not say."""
    frame_ends: Numbers
    """[V]: where each video's frames end."""
    frame_files: StringColumn
    frame_orders: Numbers
    """[F]: what the document sorts them by."""
    object_ends: Numbers
    object_ids: Numbers
    object_names: StringColumn
    region_ends: Numbers
    """[F]: where each frame's regions end."""
    region_objects: Numbers
    """[R]: object ids, or IGNORED."""
    region_numbers: Numbers
    """[R]: places of their annotations in the document's list."""
    region_offsets: Numbers
    region_lengths: Numbers
    lines: StringColumn
    """How objects were made of annotations, for the start banner."""
    unused: StringColumn
    """What of the document is not used."""

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name; the inverse is `from_columns`."""
        found: dict[str, npt.NDArray[Any]] = {}
        for name, value in vars(self).items():
            if isinstance(value, StringColumn):
                found |= {f"{name}.blob": value.blob, f"{name}.ends": value.ends}
            else:
                found[name] = value
        return found

    @classmethod
    def from_columns(cls, columns: Any) -> ObjectTable:
        """The table of these arrays, which it does not copy."""
        values: dict[str, Any] = {
            name: StringColumn(columns[f"{name}.blob"], columns[f"{name}.ends"])
            if kind == "StringColumn"
            else columns[name]
            for name, kind in cls.__annotations__.items()
        }
        return cls(**values)


def table_of(
    gathered: Gathered, region_frames: Numbers, targets: Targets | None, frame_place: Callable[[int], str]
) -> ObjectTable:
    """The sorted table of what was gathered.

    region_frames: [R], the number of each region's frame as `add_frame` gave it. frame_place: what messages call a
    frame by its number. targets: None: tracks where the annotations have them, else categories. Raises DataError.
    """
    names = video_names(gathered)
    by_name = sorted(range(len(names)), key=lambda code: natural_key(names[code]))
    rank = np.zeros(len(names), np.int64)
    rank[by_name] = np.arange(len(names))
    videos, orders = rank[as_numbers(gathered.frame_videos)], as_numbers(gathered.frame_orders)
    sorting = np.lexsort((orders, videos))
    videos, orders = videos[sorting], orders[sorting]
    _check_orders(gathered, videos, orders, sorting, frame_place)
    place = np.empty_like(sorting)
    place[sorting] = np.arange(len(sorting))
    frames = place[region_frames]
    objects = _objects(gathered, videos[frames], targets)
    by_frame = np.argsort(frames, kind="stable")
    ids, ends, object_names = _object_columns(gathered, objects, videos[frames], len(names))
    united = _united_frames(frames, objects.ids)
    lines = [*objects.lines]
    if objects.targets == "track" and united:
        lines.append(f"in {count(united, 'frame')} a track has several annotations, which are united")
    num_frames = np.bincount(videos, minlength=len(names))
    keep, empty = np.flatnonzero(num_frames), [names[by_name[n]] for n in np.flatnonzero(num_frames == 0).tolist()]
    unused = [f"{count(len(empty), 'video')} without frames: {some(empty)}"] if empty else []
    return ObjectTable(
        video_names=StringColumn.of([names[by_name[n]] for n in keep.tolist()]),
        video_sizes=_video_sizes(gathered, videos, sorting, frame_place)[keep],
        frame_ends=np.cumsum(num_frames)[keep],
        frame_files=StringColumn.of([gathered.frame_files[n] for n in sorting.tolist()]),
        frame_orders=orders,
        object_ends=ends[keep],
        object_ids=ids,
        object_names=object_names,
        region_ends=np.cumsum(np.bincount(frames, minlength=len(videos))),
        region_objects=objects.ids[by_frame],
        region_numbers=as_numbers(gathered.region_numbers)[by_frame],
        region_offsets=as_numbers(gathered.region_offsets)[by_frame],
        region_lengths=as_numbers(gathered.region_lengths)[by_frame],
        lines=StringColumn.of(lines),
        unused=StringColumn.of(unused),
    )


@dataclass(frozen=True)
class _Objects:
    targets: Targets
    ids: Numbers
    """[R]"""
    names: Callable[[int], str]
    """The name of the object of a region, by the region's number."""
    lines: Sequence[str]


def _objects(gathered: Gathered, videos: Numbers, targets: Targets | None) -> _Objects:
    """Which object each region is of. videos: [R]. Raises DataError."""
    tracks, is_crowd = as_numbers(gathered.region_tracks), np.array(gathered.region_crowds, np.bool_)
    category_of = [gathered.categories[name] for name in gathered.category_codes.names()]
    has_track = tracks >= 0
    without = np.flatnonzero(~has_track & ~is_crowd)
    if targets is None:
        targets = "track" if has_track.any() else "category"
    if targets == "category":
        return _categories(gathered)
    if len(without):
        first = int(gathered.region_numbers[int(without[0])])
        which = "none of the annotations has" if not has_track.any() else f"annotations[{first}] has"
        raise gathered.whole().error(
            f"has annotations without a track: {which} track_id, instance_id or attributes.track_id",
            "one of them in each" if not has_track.any() else "one of them, as other annotations have",
            "Export with tracks, or set dataset.targets=category: an object is then all of a category.",
        )
    ids, numbering = _track_ids(gathered, tracks, videos)
    ids[~has_track] = IGNORED
    track_names, categories = gathered.tracks.names(), as_numbers(gathered.region_categories)

    def name(region: int) -> str:
        category = category_of[int(categories[region])]
        return f"{category}, track {track_names[int(tracks[region])]}" if numbering else category

    lines = ["an object is a track (dataset.targets=track)", *numbering]
    ignored = int((~has_track).sum())
    if ignored:
        lines.append(f"{count(ignored, 'crowd region')} without a track (iscrowd=1): their pixels are ignored")
    return _Objects("track", ids, name, lines)


def _categories(gathered: Gathered) -> _Objects:
    known = sorted(gathered.categories, key=id_key)
    id_of = {category: number for number, category in enumerate(known, 1)}
    ids = np.array([id_of[category] for category in gathered.category_codes.names()], np.int64)
    codes = as_numbers(gathered.region_categories)
    category_of = [gathered.categories[name] for name in gathered.category_codes.names()]
    shown_ids = some([f"{id_of[category]} = {gathered.categories[category]}" for category in known])
    lines = [
        "an object is all annotations of a category in a frame (dataset.targets=category)",
        f"categories are numbered in the order of their ids: {shown_ids}",
    ]
    return _Objects("category", ids[codes], lambda region: category_of[int(codes[region])], lines)


def _track_ids(gathered: Gathered, tracks: Numbers, videos: Numbers) -> tuple[Numbers, list[str]]:
    """(object id of each region's track, a line on how tracks were numbered if they were)."""
    names = gathered.tracks.names()
    if all(name.isascii() and name.isdecimal() and str(int(name[:9])) == name for name in names):
        own = np.array([int(name) for name in names], np.int64)
        if not len(own) or (own.min() >= 1 and own.max() <= LARGEST_ID):
            return own[tracks] if len(own) else np.zeros(len(tracks), np.int64), []
    ranks = gathered.tracks.ranks()
    known = tracks >= 0
    ids = np.zeros(len(tracks), np.int64)
    pairs, which = np.unique(videos[known] * len(names) + ranks[tracks[known]], return_inverse=True)
    first = np.searchsorted(pairs // len(names), videos[known])
    ids[known] = which.reshape(-1) - first + 1
    line = f"tracks are numbered from 1 in each video in the order of their ids, which are not all 1 to {LARGEST_ID}"
    return ids, [line]


def _object_columns(
    gathered: Gathered, objects: _Objects, videos: Numbers, num_videos: int
) -> tuple[Numbers, Numbers, StringColumn]:
    """(object ids one video after the other, where each video's end, their names)."""
    stride = LARGEST_ID + int(objects.ids.max(initial=0)) + 1
    kept = np.flatnonzero(objects.ids != IGNORED)
    pairs, first = np.unique(videos[kept] * stride + objects.ids[kept], return_index=True)
    names = StringColumn.of([shown(objects.names(int(region))) for region in kept[first].tolist()])
    return pairs % stride, np.searchsorted(pairs // stride, np.arange(num_videos), side="right"), names


def _united_frames(frames: Numbers, ids: Numbers) -> int:
    """Frames in which an object has several regions."""
    kept = ids != IGNORED
    stride = int(ids.max(initial=0)) + 1
    pairs, times = np.unique(frames[kept] * stride + ids[kept], return_counts=True)
    return len(np.unique(pairs[times > 1] // stride))


def _check_orders(
    gathered: Gathered, videos: Numbers, orders: Numbers, sorting: Numbers, frame_place: Callable[[int], str]
) -> None:
    same = np.flatnonzero((videos[1:] == videos[:-1]) & (orders[1:] == orders[:-1]))
    if len(same):
        one, other = (frame_place(int(sorting[n])) for n in (same[0], same[0] + 1))
        raise gathered.whole().error(
            f"has {one} and {other} of one video with the same order_in_video={int(orders[same[0]])}",
            "a different place in the video for each",
        )


def _video_sizes(
    gathered: Gathered, videos: Numbers, sorting: Numbers, frame_place: Callable[[int], str]
) -> npt.NDArray[np.int64]:
    """[V, 2]: the size that a video's frames have by the document. Raises DataError if they differ."""
    sizes = as_numbers(gathered.frame_sizes).reshape(-1, 2)[sorting]
    found = np.zeros((len(gathered.videos), 2), np.int64)
    given = np.flatnonzero(sizes[:, 0])
    found[videos[given[::-1]]] = sizes[given[::-1]]  # of several the first stays
    differing = given[(sizes[given] != found[videos[given]]).any(1)]
    if len(differing):
        number = int(differing[0])
        (height, width), (first_height, first_width) = sizes[number].tolist(), found[videos[number]].tolist()
        raise gathered.whole().error(
            f"has {frame_place(int(sorting[number]))} with {height}x{width} (height x width)",
            f"{first_height}x{first_width} as in other images of its video",
        )
    return found
