"""The facts of all videos of a dataset in a few flat arrays: quick to load, and shared between forked workers."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from sam2_training.core.files import replacing
from sam2_training.data.pairing import REASONS, LeftOut, Reason
from sam2_training.data.source import Video, VideoSource

FORMAT_VERSION = 7
"""Of the file: one of another version is built again."""

_FINGERPRINTED = (
    *("names.blob", "names.ends", "frame_files.blob", "frame_files.ends", "mask_files.blob", "mask_files.ends"),
    *("object_folders.blob", "object_folders.ends", "object_ids", "frame_ends", "object_ends", "area_ends", "areas"),
    *("contents.blob", "contents.ends"),
)
"""Columns that say what the data are."""


class StringColumn(Sequence[str]):
    """A list of short texts in two arrays: their UTF-8 bytes one after the other, and where each ends."""

    def __init__(self, blob: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> None:
        self.blob, self.ends = blob, ends

    @classmethod
    def of(cls, texts: Sequence[str]) -> StringColumn:
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]  # file names may be any bytes
        ends = np.cumsum([len(part) for part in encoded], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return self.between(start, stop)[::step]
        if not 0 <= index < len(self.ends):
            raise IndexError(index)
        return self.between(index, index + 1)[0]

    def between(self, start: int, stop: int) -> tuple[str, ...]:
        """Texts start to stop - 1."""
        if start >= stop:
            return ()
        bounds = [int(self.ends[start - 1]) if start else 0, *self.ends[start:stop].tolist()]
        data = self.blob[bounds[0] : bounds[-1]].tobytes()
        base = bounds[0]
        pairs = itertools.pairwise(bounds)
        return tuple(data[a - base : b - base].decode("utf-8", "surrogateescape") for a, b in pairs)


@dataclass(frozen=True)
class VideoTable(Sequence[Video]):
    """Videos as flat arrays; `table[i]` is the i-th `Video`, whose areas are a view."""

    names: StringColumn
    frame_files: StringColumn
    mask_files: StringColumn
    object_folders: StringColumn
    object_ids: npt.NDArray[np.int64]
    frame_ends: npt.NDArray[np.int64]
    """[V]: where each video's frames end in the columns that have a row per frame."""
    object_ends: npt.NDArray[np.int64]
    area_ends: npt.NDArray[np.int64]
    areas: npt.NDArray[np.int32]
    contents: StringColumn
    mask_folders: StringColumn
    sizes: npt.NDArray[np.int32]
    """[V, 2]: `Video.size`; 0 where it is not known."""
    left_out: StringColumn
    left_out_reasons: npt.NDArray[np.uint8]
    """Places in `pairing.REASONS`, one for each name in left_out."""
    left_out_ends: npt.NDArray[np.int64]
    labels: StringColumn
    tallies: StringColumn
    """[V]: `Video.tallies` as JSON."""
    levels: npt.NDArray[np.float64]
    """[V, 2]: `Video.levels`; NaN for None."""

    @classmethod
    def of(cls, videos: Sequence[Video]) -> VideoTable:
        def ends(lengths: list[int]) -> npt.NDArray[np.int64]:
            return np.cumsum(lengths, dtype=np.int64)

        areas = [video.areas.reshape(-1) for video in videos]
        return cls(
            names=StringColumn.of([video.name for video in videos]),
            frame_files=StringColumn.of([file for video in videos for file in video.frame_files]),
            mask_files=StringColumn.of(
                [file for video in videos for file in video.mask_files or [""] * video.num_frames]
            ),
            object_folders=StringColumn.of(
                [folder for video in videos for folder in video.object_folders or [""] * len(video.object_ids)]
            ),
            object_ids=np.array([i for video in videos for i in video.object_ids], np.int64),
            frame_ends=ends([len(video.frame_files) for video in videos]),
            object_ends=ends([len(video.object_ids) for video in videos]),
            area_ends=ends([len(part) for part in areas]),
            areas=np.concatenate([np.zeros(0, np.int32), *areas]),
            contents=StringColumn.of([video.content for video in videos]),
            mask_folders=StringColumn.of([video.mask_folder for video in videos]),
            sizes=np.array([video.size or (0, 0) for video in videos], np.int32).reshape(-1, 2),
            left_out=StringColumn.of([one.name for video in videos for one in video.left_out]),
            left_out_reasons=np.array([REASONS.index(o.reason) for video in videos for o in video.left_out], np.uint8),
            left_out_ends=ends([len(video.left_out) for video in videos]),
            labels=StringColumn.of([video.labels for video in videos]),
            tallies=StringColumn.of([json.dumps(dict(video.tallies)) for video in videos]),
            levels=np.array([video.levels or (np.nan, np.nan) for video in videos], np.float64).reshape(-1, 2),
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Video:  # type: ignore[override]
        frames, objects = _span(self.frame_ends, index), _span(self.object_ends, index)
        areas = self.areas[slice(*_span(self.area_ends, index))]
        return Video(
            name=self.names[index],
            frame_files=self.frame_files.between(*frames),
            mask_files=self.mask_files.between(*frames),
            object_ids=tuple(self.object_ids[slice(*objects)].tolist()),
            object_folders=self.object_folders.between(*objects),
            areas=areas.reshape(frames[1] - frames[0], objects[1] - objects[0]),
            content=self.contents[index],
            mask_folder=self.mask_folders[index],
            size=self.size_of(index),
            left_out=self._left_out_of(index),
            labels=self.labels[index],
            tallies=json.loads(self.tallies[index]),
            levels=None if np.isnan(self.levels[index, 0]) else tuple(self.levels[index].tolist()),
        )

    def size_of(self, index: int) -> tuple[int, int] | None:
        """`Video.size` of one video."""
        height, width = self.sizes[index].tolist()
        return (height, width) if height else None

    def _left_out_of(self, index: int) -> tuple[LeftOut, ...]:
        first, last = _span(self.left_out_ends, index)
        reasons = [REASONS[reason] for reason in self.left_out_reasons[first:last].tolist()]
        return tuple(map(LeftOut, reasons, self.left_out.between(first, last)))

    def left_out_counts(self, named_at_most: int = 5) -> Iterator[tuple[Reason, int, list[str]]]:
        """(reason, number of files, the first of them as video/file) of what is not used in the videos' folders."""
        for number, reason in enumerate(REASONS):
            places = np.flatnonzero(self.left_out_reasons == number)
            if len(places):
                first = places[:named_at_most]
                videos = np.searchsorted(self.left_out_ends, first, side="right")
                names = [
                    f"{self.names[v]}/{self.left_out[int(n)]}" for v, n in zip(videos.tolist(), first, strict=True)
                ]
                yield reason, len(places), names

    def tally(self) -> dict[str, int]:
        """Sums of `Video.tallies` over all videos."""
        total: Counter[str] = Counter()
        for text in self.tallies.between(0, len(self)):
            total.update(json.loads(text))
        return dict(total)

    def areas_of(self, index: int) -> npt.NDArray[np.int32]:
        """`Video.areas` of one video, without building the rest of it."""
        (first, last), (start, stop) = _span(self.frame_ends, index), _span(self.area_ends, index)
        return self.areas[start:stop].reshape(last - first, -1)

    def object_ids_of(self, index: int) -> tuple[int, ...]:
        """`Video.object_ids` of one video."""
        return tuple(self.object_ids[slice(*_span(self.object_ends, index))].tolist())

    def object_folders_of(self, index: int) -> tuple[str, ...]:
        """`Video.object_folders` of one video."""
        return self.object_folders.between(*_span(self.object_ends, index))

    def num_frames_of(self, index: int) -> int:
        """Frames of one video."""
        first, last = _span(self.frame_ends, index)
        return last - first

    def part(self, numbers: Sequence[int]) -> VideoTable:
        """The videos at these places, in this order."""
        return VideoTable.of([self[number] for number in numbers])

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """All arrays by name; the inverse is `from_columns`."""
        found: dict[str, npt.NDArray[np.generic]] = {}
        for name, value in vars(self).items():
            if isinstance(value, StringColumn):
                found |= {f"{name}.blob": value.blob, f"{name}.ends": value.ends}
            else:
                found[name] = value
        return found

    @classmethod
    def from_columns(cls, columns: dict[str, npt.NDArray[np.generic]]) -> VideoTable:
        """Raises KeyError if a column is missing."""
        values = {}
        for name, kind in cls.__annotations__.items():
            is_text = kind == "StringColumn"
            values[name] = StringColumn(columns[f"{name}.blob"], columns[f"{name}.ends"]) if is_text else columns[name]  # type: ignore[arg-type]
        return cls(**values)  # type: ignore[arg-type]

    def fingerprint(self) -> str:
        """SHA-256 (hex) of every name, id, area and content; not of where the folders are."""
        digest = hashlib.sha256(b"video table 2")
        columns = self.columns()
        for name in _FINGERPRINTED:
            column = columns[name]
            digest.update(f"{name}:{column.dtype.str}:{column.shape}".encode())
            digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class OnDemandTable(Sequence[Video]):
    """Videos whose facts a source makes when they are asked for: nothing is kept, and nothing is read beforehand."""

    source: VideoSource
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Video:  # type: ignore[override]
        return self.source.facts(self.names[index])

    def areas_of(self, index: int) -> npt.NDArray[np.int32]:
        """`Video.areas` of one video."""
        return self[index].areas

    def num_frames_of(self, index: int) -> int:
        """Frames of one video; does not make its facts."""
        return self.source.num_frames(self.names[index])

    def part(self, numbers: Sequence[int]) -> OnDemandTable:
        """The videos at these places, in this order."""
        return OnDemandTable(self.source, [self.names[number] for number in numbers])

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the source's, and of the names where these are a part of the source's."""
        whole = self.source.fingerprint()
        if list(self.names) == list(self.source.videos()):
            return whole
        return hashlib.sha256(f"{whole} {list(self.names)}".encode()).hexdigest()


def save_table(path: Path, table: VideoTable, stamps: npt.NDArray[np.uint64]) -> None:
    """Writes table and stamps [V] as one npz file: see `core.files.replacing`."""
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, version=np.int64(FORMAT_VERSION), stamps=stamps, **table.columns())  # type: ignore[arg-type]


def load_table(path: Path) -> tuple[VideoTable, npt.NDArray[np.uint64]]:
    """What `save_table` wrote. Raises ValueError, KeyError, OSError or zipfile.BadZipFile if it is not intact."""
    with np.load(path, allow_pickle=False) as file:
        if int(file["version"]) != FORMAT_VERSION:
            raise ValueError(f"format {int(file['version'])}, expected {FORMAT_VERSION}")
        columns = {name: file[name] for name in file.files}
    return VideoTable.from_columns(columns), columns["stamps"]


def _span(ends: npt.NDArray[np.int64], index: int) -> tuple[int, int]:
    if not 0 <= index < len(ends):
        raise IndexError(index)
    return (int(ends[index - 1]) if index else 0), int(ends[index])
