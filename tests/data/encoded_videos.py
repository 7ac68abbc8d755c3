"""Video files for tests, made with PyAV, whose pixels are known only after decoding."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)
OPEN_GROUPS = {"x264-params": "keyint=8:min-keyint=8:bframes=3:scenecut=0:open-gop=1:b-adapt=0:b-pyramid=0"}
CLOSED_GROUPS = {"bf": "2", "g": "10", "keyint_min": "10", "sc_threshold": "0"}


def pictures(number: int, height: int, width: int) -> np.ndarray:
    """[number, height, width, 3]: noise that moves and grows brighter."""
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return np.stack([np.roll(noise, 3 * t, 1) // 2 + 4 * t % 128 for t in range(number)])


def encode(
    path: Path,
    codec: str = "libx264",
    number: int = 30,
    size: tuple[int, int] = (48, 64),
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    pixel_format: str = "yuv420p",
    frames: np.ndarray | None = None,
) -> Path:
    """Encodes frames, 10 a second, or at `times` in milliseconds; the path. size: (height, width)."""
    frames = pictures(number, *size) if frames is None else frames
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        if times is not None:
            stream.codec_context.time_base = MILLISECOND
        for t, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = t if times is None else times[t]
            if times is not None:
                frame.time_base = MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def remux(path: Path, to: Path, first_packet: int = 0, shift: int = 0, turn: int = 0) -> Path:
    """Copies packets from the given one on, shown earlier by `shift` units: what comes before 0 is cut off by an edit
    list. turn: degrees counterclockwise that players turn the picture."""
    options = {"avoid_negative_ts": "disabled"} if shift else {}
    with av.open(str(path)) as source, av.open(str(to), "w", options=options) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        if turn:
            copy.set_display_rotation(turn)
        for place, packet in enumerate(source.demux(stream)):
            if place >= first_packet and packet.size:
                packet.pts = (packet.pts or 0) - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
                packet.stream = copy
                target.mux(packet)
    return to


def decoded(path: Path) -> list[np.ndarray]:
    """All frames by one decode from beginning to end, not turned."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
