"""What one document says of many videos, gathered while it is read in arrays that hold millions of annotations."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from sam2_training.core.errors import DataError
from sam2_training.core.text import natural_key
from sam2_training.data.annotation_store import PieceWriter
from sam2_training.data.formats.json_values import Record
from sam2_training.data.json_stream import Member

Numbers = npt.NDArray[np.int64]

LARGEST_ORDER = 2**53
"""Of order_in_video: what every JSON writer keeps exactly."""
LARGEST_SIDE = 2**20
"""Of an image, in pixels; far above what is read."""


class Codes:
    """0, 1, ... for ids of any kind, in the order in which they are met."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def of(self, name: str) -> int:
        return self._codes.setdefault(name, len(self._codes))

    def __contains__(self, name: str) -> bool:
        return name in self._codes

    def __len__(self) -> int:
        return len(self._codes)

    def names(self) -> list[str]:
        """The ids, by code."""
        return list(self._codes)

    def ranks(self) -> Numbers:
        """By code: the place of the id in natural order."""
        names = self.names()
        ranks = np.zeros(len(names), np.int64)
        ranks[sorted(range(len(names)), key=lambda code: id_key(names[code]))] = np.arange(len(names))
        return ranks


class Gathered:
    """The frames and regions of a document, each in the order in which they are met."""

    def __init__(self, path: str, writer: PieceWriter) -> None:
        self.path, self._writer = path, writer
        self.videos = Codes()
        self.video_names: dict[str, str | None] = {}
        """{id: name or None} of those that the document lists."""
        self.categories: dict[str, str] = {}
        """{id: name}"""
        self.frame_videos, self.frame_orders, self.frame_files = array("q"), array("q"), list[str]()
        self.frame_sizes = array("q")
        """Height and width of each frame in turn; 0 where the document does not say."""
        self.region_frames = array("q")
        """What the format identifies a frame by while it reads."""
        self.region_categories, self.region_tracks, self.region_crowds = array("q"), array("q"), array("b")
        self.region_numbers, self.region_offsets, self.region_lengths = array("q"), array("q"), array("q")
        self.category_codes, self.tracks = Codes(), Codes()

    def whole(self) -> Record:
        """The document, for messages."""
        return Record({}, self.path)

    def add_category(self, record: Record) -> None:
        """An entry of categories. Raises DataError."""
        found = identifier(record, "id")
        if found in self.categories:
            raise record.error(f"has id={found}, as another category has", "a different id for each category")
        self.categories[found] = record.name("name", f"category {found}")

    def add_video(self, record: Record, name_key: str) -> str:
        """The id of an entry of videos. name_key: what holds its name. Raises DataError."""
        found = identifier(record, "id")
        if found in self.video_names:
            raise record.error(f"has id={found}, as another video has", "a different id for each video")
        self.video_names[found] = record.name(name_key) if record.has(name_key) else None
        self.videos.of(found)
        return found

    def add_frame(self, video: int, order: int, file_name: str, size: tuple[int, int]) -> int:
        """The frame's number. video: its code. size: (H, W), or (0, 0)."""
        self.frame_videos.append(video)
        self.frame_orders.append(order)
        self.frame_files.append(file_name)
        self.frame_sizes.extend(size)
        return len(self.frame_files) - 1

    def add_region(self, frame: int, labels: tuple[int, int, bool], number: int, segmentation: object) -> None:
        """labels: code of the category, code of the track or -1, whether it is a crowd. number: the annotation's."""
        piece = json.dumps(segmentation, separators=(",", ":")).encode()
        self.region_frames.append(frame)
        self.region_categories.append(labels[0])
        self.region_tracks.append(labels[1])
        self.region_crowds.append(labels[2])
        self.region_numbers.append(number)
        self.region_offsets.append(self._writer.add(piece))
        self.region_lengths.append(len(piece))

    def labels_of(self, record: Record, track: str | None) -> tuple[int, int, bool]:
        """What `add_region` takes of an annotation whose track is known. Raises DataError."""
        category = self.category_codes.of(identifier(record, "category_id"))
        return category, -1 if track is None else self.tracks.of(track), bool(record.integer("iscrowd", 0, at_least=0))


class DistinctIds:
    """Sees to it that no two entries of a list have one id; entries may have none."""

    def __init__(self) -> None:
        self._numbers = array("q")
        self._texts: set[str] = set()
        self._count = 0

    def add(self, record: Record) -> int:
        """The number of the entry among those that were added. Raises DataError."""
        self._count += 1
        value = record.values.get("id")
        if type(value) is int and abs(value) < 2**63:
            self._numbers.append(value)
        elif value is not None:
            name = identifier(record, "id")
            if name in self._texts:
                raise record.error(f"has id={name}, as another has", "a different id for each")
            self._texts.add(name)
        return self._count - 1

    def check(self, whole: Record, what: str) -> None:
        """Raises DataError if two ids that are numbers are equal. what: the list's name."""
        numbers = np.sort(as_numbers(self._numbers))
        twice = np.flatnonzero(numbers[1:] == numbers[:-1])
        if len(twice):
            raise whole.error(f"has {what} with the same id={numbers[twice[0]]}", "a different id for each")


def entry_of(member: Member, path: str) -> Record:
    """An entry of one of a document's lists. Raises DataError if the member is no list of objects."""
    if member.number is None:
        raise Record({}, path).error(f"has {member.key} that is not a list", f"{member.key} to be a list of objects")
    return Record.of(member.value, path, f"{member.key}[{member.number}]")


def check_lists(gathered: Gathered) -> None:
    """Raises DataError for a document without categories or annotations, and for ids of them that it does not have."""
    if not gathered.categories:
        raise missing_list(gathered, "categories")
    if not gathered.region_frames:
        raise missing_list(gathered, "annotations")
    known = gathered.categories
    unknown = [code for code, name in enumerate(gathered.category_codes.names()) if name not in known]
    if unknown:
        region = gathered.region_categories.index(unknown[0])
        raise gathered.whole().error(
            f"has annotations[{gathered.region_numbers[region]}] with "
            f"category_id={gathered.category_codes.names()[unknown[0]]}",
            "the id of one of its categories",
        )
    unlisted = [name for name in gathered.videos.names() if name not in gathered.video_names]
    if gathered.video_names and unlisted:
        raise gathered.whole().error(f"uses video_id={unlisted[0]}", "the id of one of its videos")


def missing_list(gathered: Gathered, what: str) -> DataError:
    """The error for a document without any entry of a list."""
    return gathered.whole().error(f"has no {what}", f"a list {what} with at least one entry")


def id_key(name: str) -> tuple[object, ...]:
    """Sort key of ids: whole numbers by their value, then others in natural order."""
    digits = name.removeprefix("-")
    is_number = digits.isascii() and digits.isdecimal() and len(digits) < 20
    return (0, int(name), name) if is_number else (1, natural_key(name))


def identifier(record: Record, key: str) -> str:
    """An id as text: a whole number, also one written as 7.0, or text. Raises DataError."""
    value = record.values.get(key)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return record.name(key)


def track_of(record: Record) -> str | None:
    """The track that an annotation is of: track_id, instance_id, or CVAT's attributes.track_id; None if it has none.

    Raises DataError.
    """
    for key in ("track_id", "instance_id"):
        if record.has(key):
            return identifier(record, key)
    if isinstance(record.values.get("attributes"), dict) and record.record("attributes").has("track_id"):
        return identifier(record.record("attributes"), "track_id")
    return None


def file_of(record: Record, value: object, key: str) -> str:
    """A file name as it stands in a document; backslashes, as Windows writes them, become slashes. Raises DataError."""
    name = value if isinstance(value, str) else ""
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        name = ""
    if not name or "\0" in name:
        raise record.error(f"has {key}={json.dumps(value, default=repr)[:60]}", f"{key} to be the name of a file")
    return name.replace("\\", "/")


def size_of(record: Record) -> tuple[int, int]:
    """(height, width) of a record, (0, 0) if it has neither. Raises DataError."""
    if not record.has("height") and not record.has("width"):
        return 0, 0
    height, width = (record.integer(key, at_least=1) for key in ("height", "width"))
    if max(height, width) > LARGEST_SIDE:
        raise record.error(f"is {height}x{width} (height x width)", f"at most {LARGEST_SIDE} pixels a side")
    return height, width


def video_names(gathered: Gathered) -> list[str]:
    """A name for each video by code: that of the document, else that of its frames' folder, else its id.

    A name is used if it tells all videos apart; of a path the last part. Raises DataError if none does.
    """
    ids = gathered.videos.names()
    folders: dict[int, set[str]] = {code: set() for code in range(len(ids))}
    for video, file in zip(gathered.frame_videos, gathered.frame_files, strict=True):
        folders[video].add(file.rpartition("/")[0])
    kinds: list[list[str]] = [
        [gathered.video_names.get(name) or "" for name in ids],
        [folders[code].pop() if len(folders[code]) == 1 else "" for code in range(len(ids))],
        [name.replace("/", "_") for name in ids],
    ]
    for kind in kinds:
        names = [PurePosixPath(name).name for name in kind]
        if all(map(_is_name, names)) and len(set(names)) == len(names):
            return names
    raise gathered.whole().error("has videos whose ids are no names", "ids that can be names of folders")


def _is_name(name: str) -> bool:
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return bool(name) and name not in (".", "..") and "\0" not in name and len(name.encode(errors="replace")) <= 200


def as_numbers(values: Sequence[int] | array[Any]) -> Numbers:
    """The values as an array, without a copy where they are one."""
    return np.frombuffer(values, np.int64) if isinstance(values, array) and len(values) else np.array(values, np.int64)
