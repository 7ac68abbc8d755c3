"""The frames of a video file, any of them at any time, equal to those of a decode from beginning to end."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeAlias
from weakref import WeakSet

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sam2_training.core.current_work import working_on
from sam2_training.core.errors import DataError
from sam2_training.data.content import VideoContent
from sam2_training.data.frames import Frames
from sam2_training.data.images import UnreadableFileError
from sam2_training.data.source import Frame
from sam2_training.data.timeline import Timeline, open_container, read_timeline, reason

DECODER = f"pyav {av.__version__} " + " ".join(
    f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in ("libavcodec", "libavformat", "libswscale")
)
"""What decodes, with its versions."""
_Packet: TypeAlias = "av.Packet[VideoStream]"
KEPT_FRAMES = 8
"""Decoded frames that are kept, for clips that are played backward."""
TRIED_STARTS = 3
"""Keyframes from which a frame is tried before the first one: some files call frames so that need older ones."""


class VideoFrames(Frames):
    """The frames of one video file, in the order in which they are shown, turned as players show them.

    They are named by their numbers from 0, with five digits. A frame is decoded from the nearest keyframe before it, or
    from the last one that was read, if that is nearer. Pixels that are not square are left as they are.
    """

    decoder = DECODER

    def __init__(self, path: str, timeline: Timeline | None = None) -> None:
        """path: a local file. timeline: `read_timeline` of it, if it is known. Raises UnreadableFileError."""
        self.location = path
        self.timeline = timeline or read_timeline(path)
        self.files = tuple(f"{t:05d}" for t in range(self.timeline.num_frames))
        self.num_decoded = 0
        """Frames that were decoded so far."""
        self._size: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._kept: OrderedDict[int, VideoFrame] = OrderedDict()
        _all.add(self)

    def size(self) -> tuple[int, int]:
        if self._size is None:
            self._size = self._decoded(0).shape[:2]
        return self._size

    def read(self, frame_index: int) -> Frame:
        frame, size = self._decoded(frame_index), self.size()
        if frame.shape[:2] != size:
            raise UnreadableFileError(
                f"frame {frame_index} of the video is {frame.shape[0]}x{frame.shape[1]}, its first {size[0]}x{size[1]} "
                f"(height x width): {self.location}\nEncode it anew in one size."
            )
        return frame

    def path(self, frame_index: int) -> str:
        return self.location

    def stamp_paths(self) -> list[str]:
        return [self.location]

    def add_to(self, content: VideoContent) -> None:
        """The file, and its first frame's pixels, which are others where a decoder gives others."""
        content.add_frames([self.location])
        content.add_decoded(self._decoded(0))

    def frames_per_second(self) -> float | None:
        return self.timeline.rate

    def close(self) -> None:
        with self._lock:
            run, self._run = self._run, None
            self._kept.clear()
            if run is not None:
                run.close()

    def __reduce__(self) -> tuple[object, ...]:
        return VideoFrames, (self.location, self.timeline)

    def forget(self) -> None:
        """Leaves what is open to another process: freeing it here could wait for threads that are only there."""
        _of_parent.append((self._run, self._kept))
        self._lock, self._run, self._kept = threading.Lock(), None, OrderedDict()

    def _decoded(self, frame_index: int) -> Frame:
        if not 0 <= frame_index < self.timeline.num_frames:
            raise self._error(frame_index, "it has no such frame")
        with self._lock, working_on(self.location):
            frame = self._kept.get(frame_index) or self._found(frame_index)
            return _turned(frame, self.location)

    def _found(self, frame_index: int) -> VideoFrame:
        """Decodes up to a frame. Raises UnreadableFileError if none of its starts leads to it."""
        starts = list(self.timeline.starts(frame_index)) if len(self.timeline.times) else [0]
        problem = "the decoder leaves it out"
        run = self._run
        if run is not None and run.position <= frame_index and run.fed >= starts[0]:
            try:
                found = self._forward(run, frame_index)
                if found is not None:
                    return found
            except av.FFmpegError as error:
                problem = reason(error)
        for start in dict.fromkeys([*islice(starts, TRIED_STARTS), starts[-1]]):
            self._kept.clear()
            try:
                run = self._run = self._run or _Run(self.location, self.timeline)
                run.restart(start)
                found = self._forward(run, frame_index)
                if found is not None:
                    return found
            except av.FFmpegError as error:
                problem = reason(error)
        raise self._error(frame_index, problem)

    def _forward(self, run: _Run, frame_index: int) -> VideoFrame | None:
        """The frame, if it comes whole; keeps those before it."""
        for number, frame in run.frames():
            self.num_decoded += 1
            if number <= frame_index and not frame.is_corrupt:
                self._kept[number] = frame
                if len(self._kept) > KEPT_FRAMES:
                    self._kept.popitem(last=False)
            if number >= frame_index:
                return frame if number == frame_index and not frame.is_corrupt else None
        return None

    def _error(self, frame_index: int, problem: str) -> DataError:
        return UnreadableFileError(
            f"frame {frame_index} of {self.timeline.num_frames} cannot be decoded ({problem}): {self.location}\n"
            "Copy the file again, or encode it anew."
        )


class _Run:
    """An open file that is decoded forward from some keyframe."""

    def __init__(self, path: str, timeline: Timeline) -> None:
        self.path, self.timeline = path, timeline
        self.container, self.stream = open_container(path)
        self.fed = 0
        """The packet that is decoded next."""
        self.position = timeline.num_frames
        """The earliest frame that may come next."""
        self._number = {time: number for number, time in enumerate(timeline.times.tolist())}
        self._place = {time: place for place, time in reversed(list(enumerate(timeline.packets.tolist())))}
        self._frames: Iterator[tuple[int, VideoFrame]] = iter(())

    def frames(self) -> Iterator[tuple[int, VideoFrame]]:
        """(number, frame), going on where the last one left off."""
        return self._frames

    def restart(self, start: int) -> None:
        """Goes to a keyframe, given by its place among the packets."""
        self.position = 0
        if not len(self.timeline.times):
            self._reopen()
            self._frames = self._counted()
            return
        self.container.seek(int(self.timeline.packets[start]), stream=self.stream, backward=True)
        packets = self.container.demux(self.stream)
        first = next(packets)
        place = self._place.get(first.pts) if first.pts is not None else None
        if place is None or place > start:  # the file's own index leads too far
            self._reopen()
            packets = self.container.demux(self.stream)
            first, place = next(packets), 0
        self.fed = start
        self._frames = self._timed(packets, first, place, start)

    def close(self) -> None:
        self._frames = iter(())
        self.container.close()

    def _reopen(self) -> None:
        self.container.close()
        self.container, self.stream = open_container(self.path)

    def _timed(
        self, packets: Iterator[_Packet], packet: _Packet | None, place: int, start: int
    ) -> Iterator[tuple[int, VideoFrame]]:
        earliest = int(self.timeline.packets[start])  # frames shown before it lack those that they refer to
        while packet is not None:
            if place >= start or not packet.size:
                self.fed = place + 1
                for frame in self.stream.decode(packet):
                    number = self._number.get(frame.pts) if frame.pts is not None else None
                    if number is not None and frame.pts is not None and frame.pts >= earliest:
                        self.position = number + 1
                        yield number, frame
            place += 1 if packet.size else 0
            packet = next(packets, None)

    def _counted(self) -> Iterator[tuple[int, VideoFrame]]:
        for number, frame in enumerate(self.container.decode(self.stream)):
            self.position = number + 1
            yield number, frame


_all: WeakSet[VideoFrames] = WeakSet()
_of_parent: list[object] = []


def _forget_in_child() -> None:
    """A forked loader worker would share each open file's position with its parent."""
    for frames in list(_all):
        frames.forget()


os.register_at_fork(after_in_child=_forget_in_child)


def _turned(frame: VideoFrame, path: str) -> Frame:
    """RGB pixels as players show them: turned and mirrored by the matrix of the frame (ISO/IEC 14496-12, 8.3.2)."""
    pixels = np.asarray(frame.to_ndarray(format="rgb24", threads=1), np.uint8)
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return pixels
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    if b == c == 0 and a and d:
        along_x, along_y = a > 0, d > 0
    elif a == d == 0 and b and c:  # stored rows become columns
        pixels = pixels.transpose(1, 0, 2)
        along_x, along_y = c > 0, b > 0
    else:
        raise DataError(
            f"the video is turned by an angle that is not a multiple of 90 degrees: {path}\n"
            "Encode it anew, turned as it is to be seen."
        )
    return np.ascontiguousarray(pixels[:: 1 if along_y else -1, :: 1 if along_x else -1])
