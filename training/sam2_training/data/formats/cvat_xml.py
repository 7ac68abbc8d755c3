"""CVAT's XML ("CVAT for video 1.1"), read as a stream: tasks, and one track after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from iopath.common.file_io import g_pathmgr

from sam2_training.core.current_work import working_on
from sam2_training.core.errors import DataError
from sam2_training.core.files import endless_kind
from sam2_training.core.text import shown
from sam2_training.data.images import UnreadableFileError
from sam2_training.data.rle import Size

AREAS = ("box", "ellipse", "mask", "polygon")
"""Elements that have pixels."""
_NO_AREAS = ("cuboid", "points", "polyline", "skeleton")
_AGAIN = 'Correct it, or export it again as "CVAT for video 1.1".'


@dataclass(frozen=True)
class CvatTask:
    """A video as it was annotated: its frames are start, start + step ... of the file that was uploaded."""

    id: str
    name: str
    num_frames: int
    start: int = 0
    step: int = 1
    size: Size | None = None
    """(H, W); None for tasks of pictures, which do not say it."""

    @property
    def stop(self) -> int:
        """The last frame."""
        return self.start + (self.num_frames - 1) * self.step


@dataclass(frozen=True)
class CvatShape:
    """A shape of a track in a frame, as its element says it."""

    kind: str
    """One of AREAS."""
    frame: int
    outside: bool
    """The object is not in this frame, nor in later ones up to the next shape."""
    keyframe: bool
    """False: computed by CVAT between two keyframes."""
    values: Mapping[str, str]
    """All attributes."""
    line: int


@dataclass
class CvatTrack:
    """A track: one object."""

    id: int
    label: str
    task: CvatTask
    shapes: list[CvatShape] = field(default_factory=list)
    """In the order of the document."""
    without_area: bool = False
    """Its shapes are points, lines or the like."""


class MetaDoneError(Exception):
    """Ends reading where the first track begins."""


def read_tasks(path: str) -> list[CvatTask]:
    """The tasks of a document; stops before the first track. Raises DataError."""
    return _parsed(path, None)


def read_tracks(path: str, take: Callable[[CvatTrack], None]) -> list[CvatTask]:
    """The tasks of a document, and take(track) for each of its tracks, none of which is kept. Raises DataError."""
    return _parsed(path, take)


def _parsed(path: str, take: Callable[[CvatTrack], None] | None) -> list[CvatTask]:
    kind = endless_kind(path)
    if kind:
        raise UnreadableFileError(f"this is {kind}, expected an XML file: {path}")
    reader = _Reader(path, take)
    try:
        with working_on(path), g_pathmgr.open(path, "rb") as file:
            reader.parser.ParseFile(file)
    except MetaDoneError:
        return reader.require_tasks()
    except OSError as error:
        raise UnreadableFileError(f"the file cannot be read ({error.strerror or error}): {path}") from error
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise UnreadableFileError(f"the file is not XML ({error}): {path}\n{_AGAIN}") from error
    return reader.require_tasks()


class _Reader:
    def __init__(self, path: str, take: Callable[[CvatTrack], None] | None) -> None:
        self.path, self.take = path, take
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.StartDoctypeDeclHandler = self.refuse_document_type
        self.open: list[str] = []
        self.text = ""
        self.meta: dict[str, str] = {}
        self.tasks: list[CvatTask] = []
        self.track: CvatTrack | None = None
        self.seen: set[int] = set()

    def error(self, found: str, expected: str, cure: str = _AGAIN) -> DataError:
        line = self.parser.CurrentLineNumber
        return DataError(f"line {line} {shown(found)}, expected {expected}: {self.path}\n{cure}")

    def refuse_document_type(self, *declaration: object) -> None:
        # Entities that expand to entities fill any memory ("billion laughs"); CVAT writes none.
        raise self.error("declares a document type, which could hold entities", "plain XML as CVAT writes it")

    def start(self, tag: str, values: dict[str, str]) -> None:
        self.open.append(tag)
        self.text = ""
        depth = len(self.open)
        if depth == 1 and tag != "annotations":
            raise self.error(f"begins with <{tag}>", "<annotations> of CVAT")
        if tag in ("task", "job") and "meta" in self.open:
            self.meta = {}
        elif depth == 2 and tag == "image":
            raise self.error(
                "has pictures, whose shapes do not say which are one object",
                "tracks",
                'Export the task as "CVAT for video 1.1".',
            )
        elif depth == 2 and tag == "track":
            if self.take is None:
                raise MetaDoneError
            self.track = self.new_track(values)
        elif depth == 3 and self.track is not None:
            self.add_shape(self.track, tag, values)

    def end(self, tag: str) -> None:
        inside = self.open[-2] if len(self.open) > 1 else ""
        if inside in ("task", "job", "original_size"):
            self.meta[f"{inside} {tag}" if inside == "original_size" else tag] = self.text.strip()
        if tag in ("task", "job") and "meta" in self.open[:-1]:
            self.tasks.append(self.new_task())
        if tag == "track" and len(self.open) == 2 and self.track is not None:
            assert self.take is not None
            self.take(self.track)
            self.track = None
        self.open.pop()
        self.text = ""

    def characters(self, text: str) -> None:
        if self.track is None:  # texts of attributes are not used
            self.text += text

    def number(self, values: Mapping[str, str], key: str, what: str, at_least: int = 0) -> int:
        """A whole number of an element."""
        text = values.get(key)
        if text is None:
            raise self.error(f"has a {what} without {key}", f"{key} to be a whole number")
        if not re.fullmatch(r"-?\d{1,15}", text) or int(text) < at_least:
            raise self.error(f'has a {what} with {key}="{text[:40]}"', f"{key} to be a whole number from {at_least}")
        return int(text)

    def new_task(self) -> CvatTask:
        meta = self.meta
        num_frames = self.number(meta, "size", "task", 1)
        start = self.number(meta, "start_frame", "task") if meta.get("start_frame") else 0
        given = re.fullmatch(r"step=(\d{1,9})", meta.get("frame_filter", ""))
        step = max(int(given[1]), 1) if given else 1
        if meta.get("stop_frame"):
            stop = self.number(meta, "stop_frame", "task")
            if not given and num_frames > 1:
                step = max((stop - start) // (num_frames - 1), 1)
            if start + (num_frames - 1) * step > stop:
                raise self.error(
                    f"ends a task of {num_frames} frames from {start} to {stop} in steps of {step}",
                    "numbers that go together",
                )
        size = None
        if "original_size height" in meta:
            height = self.number(meta, "original_size height", "task", 1)
            size = (height, self.number(meta, "original_size width", "task", 1))
        number = meta.get("id", "")
        return CvatTask(number, meta.get("name") or f"task {number}", num_frames, start, step, size)

    def new_track(self, values: Mapping[str, str]) -> CvatTrack:
        number = self.number(values, "id", "track")
        if number in self.seen:
            raise self.error(f"has a second track {number}", "each id once")
        self.seen.add(number)
        tasks = self.require_tasks()
        task = tasks[0]
        if len(tasks) > 1:
            found = [one for one in tasks if one.id == values.get("task_id")]
            if len(found) != 1:
                raise self.error(f'has track {number} with task_id="{values.get("task_id")}"', "the id of one task")
            task = found[0]
        return CvatTrack(number, values.get("label", ""), task)

    def add_shape(self, track: CvatTrack, tag: str, values: Mapping[str, str]) -> None:
        if tag in _NO_AREAS:
            track.without_area = True
        if tag not in AREAS:
            return
        what = f"{tag} of track {track.id}"
        frame = self.number(values, "frame", what)
        if not track.task.start <= frame <= track.task.stop or (frame - track.task.start) % track.task.step:
            raise self.error(
                f"has a {what} in frame {frame}",
                f"frames of its task: {track.task.start} to {track.task.stop} in steps of {track.task.step}",
            )
        outside = self.number({"outside": "0"} | dict(values), "outside", what) == 1
        keyframe = self.number({"keyframe": "1"} | dict(values), "keyframe", what) == 1
        line = self.parser.CurrentLineNumber
        track.shapes.append(CvatShape(tag, frame, outside, keyframe, values, line))

    def require_tasks(self) -> list[CvatTask]:
        if not self.tasks:
            raise DataError(f"the document has no task in its meta section, expected its size: {self.path}\n{_AGAIN}")
        return self.tasks
