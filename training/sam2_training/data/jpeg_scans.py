"""Is the compressed data of a JPEG file whole?

Decoders fill what is missing with gray and go on: libjpeg only warns, and neither OpenCV nor Pillow hands its warnings
on. So the decoder is watched instead: a whole scan needs its last bytes, and none beyond.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from sam2_training.data.headers import JPEG_FRAME_MARKERS

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_MARKER_BEHIND_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_UNREAD_AT_MOST = 16
"""Bytes at the end of a scan that a decoder may leave unread: some cameras pad."""
_SLACK = bytes(64)
"""What follows a scan here instead of a marker: decoders look a few bytes ahead."""
_NOISE = np.random.default_rng(0).integers(0, 255, 4096, np.uint8).tobytes()  # without 0xFF, which begins a marker


@dataclass(frozen=True)
class _Scan:
    """Offsets of a scan's marker, of its compressed data and of the marker behind them; ITU-T T.81, B.2.3."""

    marker: int
    data: int
    end: int


def scan_damage(data: bytes) -> str | None:
    """What is wrong with the compressed data of a JPEG file that has a frame header, or None.

    Finds missing and foreign parts; of changed bits only what puts the decoder out of step, as libjpeg's warnings do.
    Files that are neither sequential nor progressive (arithmetic coding, lossless) are only looked at from outside.
    """
    kept, frame, scans = _split(data)
    if not scans:
        return "it has no compressed data"
    if scans[-1].end == len(data):
        return "it ends too early"
    for scan in scans:
        found = [marker[0] & 7 for marker in _RESTART.findall(data, scan.data, scan.end)]
        if found != [number % 8 for number in range(len(found))]:
            return "parts of its compressed data are missing"
    if frame not in (*_SEQUENTIAL, _PROGRESSIVE):
        return None
    try:
        if frame in _SEQUENTIAL and len(scans) == 1:
            return _damage_of_only_scan(kept, data[scans[0].data : scans[0].end])
        return _damage_of_scans(data, scans)
    except (OSError, SyntaxError, ValueError, IndexError):  # what Pillow makes of headers that make no sense
        return "its headers make no sense"


def _split(data: bytes) -> tuple[bytes, int, list[_Scan]]:
    """(the file up to its first scan's data, without comments and application data; frame marker; scans)."""
    at, frame, scans = 2, 0, list[_Scan]()
    kept = data[:2]
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _END_OF_IMAGE:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        is_comment = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if not scans and not is_comment:
            kept += data[at:after]
        frame = marker if marker in JPEG_FRAME_MARKERS else frame
        if marker == _START_OF_SCAN:
            behind = _MARKER_BEHIND_SCAN.search(data, after)
            scans.append(_Scan(at, after, behind.start() if behind else len(data)))
            after = scans[-1].end
        at = after
    return kept, frame, scans


def _damage_of_only_scan(head: bytes, scan: bytes) -> str | None:
    """Decodes the scan at an eighth of its size; Pillow's decoder asks for more while it lacks data."""
    file = io.BytesIO(head + scan + _SLACK)
    image = JpegImageFile(file)
    image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
    first_read = len(head) + len(scan) - _UNREAD_AT_MOST
    image.decodermaxblock = first_read
    try:
        image.load()
    except OSError:
        return "its compressed data end too early"
    return "its compressed data do not end where its picture ends" if file.tell() <= first_read else None


def _damage_of_scans(data: bytes, scans: list[_Scan]) -> str | None:
    """Several scans must bring all bits of every coefficient, and noise behind each must not change a pixel."""
    missing_bits: dict[tuple[int, int], int] = {}
    for scan in scans:
        missing_bits.update(dict.fromkeys(_refined(data, scan), data[scan.data - 1] & 15))
    components = {component for component, _ in missing_bits}
    if any(missing_bits.get((component, place), 1) for component in components for place in range(64)):
        return "parts of its compressed data are missing"
    parts = [data[start : scan.end] for start, scan in zip([0, *(s.end for s in scans)], scans, strict=False)]
    noisy = _NOISE.join([*parts, data[scans[-1].end :]])
    return None if _grays(data) == _grays(noisy) else "its compressed data end too early"


def _refined(data: bytes, scan: _Scan) -> Iterator[tuple[int, int]]:
    """(component, place of the coefficient) of what a scan holds; T.81, G.1.2."""
    first, last = data[scan.data - 3], data[scan.data - 2]
    for number in range(data[scan.marker + 4]):
        for place in range(first, min(last, 63) + 1):
            yield data[scan.marker + 5 + 2 * number], place


def _grays(data: bytes) -> bytes:
    image = JpegImageFile(io.BytesIO(data))
    image.draft("L", image.size)
    return image.tobytes()
