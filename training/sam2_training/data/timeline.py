"""When the frames of a video file are shown, and from where each can be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from sam2_training.core.current_work import working_on
from sam2_training.core.errors import DataError
from sam2_training.core.files import endless_kind, utf8_path
from sam2_training.core.text import count
from sam2_training.data.container_sizes import missing_bytes
from sam2_training.data.images import LARGEST_PIXELS, UnreadableFileError

CONTAINERS = frozenset({"mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg"})
"""FFmpeg's names of containers that hold videos: it would also take text for a picture, and a play list for a video."""
MISCOUNTED_AT_MOST = 2
"""Frames by which the header of an intact AVI may be off."""
REORDERING = frozenset({"h264", "hevc"})
"""Codecs whose frames may be shown in another order than they are stored, without the header saying so."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """The F frames of a video file that are shown, of P packets in which they are stored.

    A frame is a packet that is shown, once, whatever its duration: frames are neither repeated nor dropped to make a
    rate constant. Packets that an edit list leaves out are no frames: players do not show them.
    """

    times: npt.NDArray[np.int64]
    """[F], ascending, in units of the stream's time base; empty: the file has no use of them, see `num_frames`."""
    places: npt.NDArray[np.int32]
    """[F] which packet a frame is in."""
    packets: npt.NDArray[np.int64]
    """[P] presentation times in the order of the file, also of those that are not shown."""
    keyframes: npt.NDArray[np.int32]
    """Packets that can be decoded alone, ascending."""
    num_frames: int
    """F. Without times, counted by decoding, and a frame is found by counting from the first."""
    rate: float | None
    """Frames a second, on average."""

    def starts(self, frame_index: int) -> Iterator[int]:
        """Keyframes from which a frame can be decoded, the nearest one first.

        A frame that is stored after a keyframe and shown before it (an open group of pictures) needs the one before.
        """
        place, time = self.places[frame_index], self.times[frame_index]
        before = self.keyframes[self.keyframes <= place]
        yield from before[self.packets[before] <= time][::-1].tolist()


def open_container(path: str) -> tuple[InputContainer, VideoStream]:
    """A video file and its first video stream, which decodes in this thread. Raises UnreadableFileError."""
    kind = endless_kind(path)
    if kind:
        raise DataError(f"this is {kind}, expected a video file: {path}\nGive a folder of images, or an mp4.")
    cure = "Give a folder of images, or an mp4 (H.264 or MPEG-4)."
    try:
        with working_on(path), utf8_path(Path(path).absolute()) as name:  # a relative a:b would be a protocol
            container = av.open(name, options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise UnreadableFileError(
            f"this is neither a folder of frames nor a video that can be decoded ({reason(error)}): {path}\n{cure}"
        ) from error
    if not CONTAINERS & set(container.format.name.split(",")) or not container.streams.video:
        found = "there is no video in it" if CONTAINERS & set(container.format.name.split(",")) else "its kind"
        container.close()
        raise UnreadableFileError(
            f"this is neither a folder of frames nor a video that can be decoded ({found}): {path}\n{cure}"
        )
    stream = container.streams.video[0]
    height, width = stream.codec_context.height, stream.codec_context.width
    if height * width > LARGEST_PIXELS:
        container.close()
        raise DataError(
            f"the video's frames are {height}x{width} (height x width), expected at most {LARGEST_PIXELS:,} pixels: "
            f"{path}\nResize it."
        )
    stream.codec_context.thread_count = 1  # loader workers are the threads; and nothing is decoded ahead
    return container, stream


def read_timeline(path: str) -> Timeline:
    """Reads through a local file once, without decoding it where its packets have times of presentation.

    Raises UnreadableFileError for a file that is not a video or not whole, and for one that does not begin with a
    keyframe: what was cut off before it is needed to decode what follows.
    """
    container, stream = open_container(path)
    with container, Path(path).open("rb") as file:
        missing = missing_bytes(file, Path(path).stat().st_size)
        try:
            with working_on(path):
                return _checked(*_timeline(container, stream), stream, path, missing)
        except av.FFmpegError as error:
            raise UnreadableFileError(
                f"the video is damaged ({reason(error)}): {path}\nCopy it again, or cut it with a video tool."
            ) from error


def reason(error: Exception) -> str:
    """What FFmpeg or the system says, without the path."""
    return getattr(error, "strerror", None) or str(error)


def _timeline(container: InputContainer, stream: VideoStream) -> tuple[Timeline, int]:
    """The timeline of the frames that are there, and how many packets are cut off."""
    times: list[int | None] = []
    keyframes, shown, cut = [], [], 0
    hidden = stream.codec_context.name == "vp8"  # the only codec here whose packets may be references that nobody sees
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.is_keyframe:
            keyframes.append(len(times))
        if packet.is_corrupt:
            cut += 1
        elif not packet.is_discard and not (hidden and not bytes(packet)[0] & 0x10):  # RFC 6386, 9.1: show_frame
            shown.append(len(times))
        times.append(packet.pts)
    known = [time for time in times if time is not None]
    if len(set(known)) < len(times) or not _has_times(container, stream):
        return _counted(container, stream), cut
    packets = np.array(known, np.int64)
    places = np.array(shown, np.int32)
    places = places[np.argsort(packets[places])]
    of_frames = packets[places]
    rate = float(stream.average_rate) if stream.average_rate else None
    if len(of_frames) > 1 and stream.time_base:
        rate = float(Fraction(len(of_frames) - 1) / (int(of_frames[-1] - of_frames[0]) * stream.time_base))
    return Timeline(of_frames, places, packets, np.array(keyframes, np.int32), len(places), rate), cut


def _has_times(container: InputContainer, stream: VideoStream) -> bool:
    """Whether packets say when they are shown: an AVI counts them in the order of the file."""
    context = stream.codec_context
    return container.format.name != "avi" or not (context.has_b_frames or context.name in REORDERING)


def _counted(container: InputContainer, stream: VideoStream) -> Timeline:
    container.seek(0)
    number = sum(1 for _ in container.decode(stream))
    empty = np.zeros(0, np.int64)
    rate = float(stream.average_rate) if stream.average_rate else None
    return Timeline(empty, empty.astype(np.int32), empty, empty.astype(np.int32), number, rate)


def _checked(timeline: Timeline, cut: int, stream: VideoStream, path: str, missing: int) -> Timeline:
    cure = "Copy it again, or cut it with a video tool to what can be decoded."
    if stream.container.format.name == "avi" and timeline.num_frames < stream.frames - MISCOUNTED_AT_MOST:
        raise UnreadableFileError(
            f"the video is damaged: its header says {stream.frames} frames, {timeline.num_frames} can be decoded: "
            f"{path}\n{cure}"
        )
    if missing:
        raise UnreadableFileError(f"the video is damaged: its last {missing:,} bytes are missing: {path}\n{cure}")
    if cut:
        raise UnreadableFileError(f"the video is damaged: {count(cut, 'frame')} not whole: {path}\n{cure}")
    if not timeline.num_frames:
        raise UnreadableFileError(f"no frame of the video can be decoded: {path}\n{cure}")
    if len(timeline.times):
        first = timeline.keyframes[0] if len(timeline.keyframes) else len(timeline.packets)
        early = timeline.places < first
        if len(timeline.keyframes):
            early |= timeline.times < timeline.packets[first]
        if early.any():
            raise UnreadableFileError(
                f"the video does not begin with a keyframe, so its first {int(early.sum())} frames cannot be decoded: "
                f"{path}\nCut it at a keyframe, or encode it anew from the original."
            )
    return timeline
