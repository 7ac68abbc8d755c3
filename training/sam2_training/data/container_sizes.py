"""Whether a video file is as long as its container says: what was cut off is often not noticed by decoders."""

from __future__ import annotations

import struct
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_BOXES_OF_MEDIA = (b"mdat", b"moov", b"moof")


def missing_bytes(file: BinaryIO, length: int) -> int:
    """Bytes by which a file of this length is shorter than its container says; 0 if it is whole or does not say.

    Knows MP4 and QuickTime (ISO/IEC 14496-12, 4.2), Matroska and WebM (RFC 8794, 5 and 6), and AVI (RIFF chunks). A
    size that was never filled in, as in a live recording, says nothing.
    """
    file.seek(0)
    start = file.read(12)
    if start.startswith(_EBML):
        end = _end_of_segment(file)
    elif start.startswith(b"RIFF") and start[8:] == b"AVI ":
        end = _end_of_riff(file, length)
    else:
        end = _end_of_boxes(file, length)
    return max(0, end - length)


def _end_of_boxes(file: BinaryIO, length: int) -> int:
    at = 0
    while at + 8 <= length:
        file.seek(at)
        header = file.read(16)
        size, kind = struct.unpack(">I4s", header[:8])
        if size == 1 and len(header) == 16:
            (size,) = struct.unpack(">Q", header[8:])
        if size < 8:  # 0: to the end of the file; others are none
            return 0
        at += size
        if at > length and kind not in _BOXES_OF_MEDIA:
            return 0
    return at if at > length else 0


def _end_of_riff(file: BinaryIO, length: int) -> int:
    at = 0
    while at + 8 <= length:
        file.seek(at)
        kind, size = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or size in (0, 0xFFFFFFFF):
            return 0
        at += 8 + size
    return at


def _end_of_segment(file: BinaryIO) -> int:
    file.seek(4)
    header = _ebml_size(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != _SEGMENT:
        return 0
    size = _ebml_size(file)
    return 0 if size is None else file.tell() + size


def _ebml_size(file: BinaryIO) -> int | None:
    """The number at the file's position; None if it is unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    value = first[0] & (0xFF >> width)
    for byte in file.read(width - 1):
        value = value << 8 | byte
    return None if value == (1 << 7 * width) - 1 else value
