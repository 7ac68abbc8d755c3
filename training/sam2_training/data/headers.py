"""Headers of image files, read without decoding them, and checks that the files are complete."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOR_TYPES = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGBA"}
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class ImageHeader:
    """Properties of a PNG or JPEG file that decide whether its pixels can be read as they are."""

    kind: str
    """"png" or "jpeg"."""
    bits: int
    """Bits per sample."""
    color: str
    """For a PNG one of PNG_COLOR_TYPES; for a JPEG "gray", "YCbCr" or "CMYK"."""


def png_header(data: bytes) -> ImageHeader | None:
    """The header of a PNG file's bytes, or None for any other file."""
    if not data.startswith(PNG_SIGNATURE) or len(data) < 33:
        return None
    return ImageHeader("png", data[24], PNG_COLOR_TYPES.get(data[25], f"color type {data[25]}"))


def png_damage(data: bytes) -> str | None:
    """What is wrong with the chunks of a PNG file ("it ends too early", "checksum of IDAT"), or None.

    Decoders differ in what they forgive; a mask must be whole or refused. PNG specification, 5.3.
    """
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        (stored,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != stored:
            return f"the checksum of its {data[at + 4 : at + 8].decode('latin-1')} chunk is wrong"
        if data[at + 4 : at + 8] == b"IEND":
            return None
        at = end
    return "it ends too early"


def jpeg_header(data: bytes) -> ImageHeader | None:
    """The header of a JPEG file's bytes, or None for any other file and for one without a frame header."""
    at = _jpeg_frame_header(data)
    if at is None:
        return None
    color = {1: "gray", 4: "CMYK"}.get(data[at + 9], "YCbCr")
    return ImageHeader("jpeg", data[at + 4], color)


def jpeg_damage(data: bytes) -> str | None:
    """What is wrong with the end of a JPEG file, or None. Decoders fill what is missing with gray, without an error.

    Compressed data never contain the end marker FF D9; a thumbnail's lies before the frame header.
    """
    at = _jpeg_frame_header(data)
    if at is None:
        return "it has no frame header"
    return None if data.rfind(b"\xff\xd9", at) >= 0 else "it ends too early"


def _jpeg_frame_header(data: bytes) -> int | None:
    """Offset of the frame header's marker (SOF0 to SOF15). ITU-T T.81, B.2."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _JPEG_FRAME_MARKERS:
            return at
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None
