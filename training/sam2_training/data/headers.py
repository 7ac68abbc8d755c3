"""Headers of image files (JPEG, PNG, WebP), read without decoding them, and whether a PNG is complete."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOR_TYPES = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGBA"}
EXIF_ORIENTATION = 0x0112
JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15; ITU-T T.81, B.1."""


@dataclass(frozen=True)
class ImageHeader:
    """Properties of an image file that decide whether and how its pixels can be read."""

    kind: str
    """"png", "jpeg" or "webp"."""
    bits: int
    """Bits per sample."""
    color: str
    """For a PNG one of PNG_COLOR_TYPES; for a JPEG "gray", "YCbCr" or "CMYK"; for a WebP "RGB"."""
    height: int
    """As stored, in pixels."""
    width: int
    orientation: int = 1
    """EXIF orientation, 1 to 8: how viewers turn the stored pixels; 1: not at all. JEITA CP-3451, 4.6.4."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) as stored."""
        return self.height, self.width


def image_header(data: bytes) -> ImageHeader | None:
    """The header of a JPEG, PNG or WebP file, of which data are the first bytes, or all.

    None for any other file, and if the header does not end within data. The few first KiB hold most headers; a JPEG's
    follows its thumbnail and color profile, and the EXIF data of a WebP follow its pixels.
    """
    return png_header(data) or jpeg_header(data) or webp_header(data)


def is_image(data: bytes) -> bool:
    """Whether a file that begins with data says that it is a JPEG, PNG or WebP."""
    return data.startswith((PNG_SIGNATURE, b"\xff\xd8")) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def png_header(data: bytes) -> ImageHeader | None:
    """The header of a PNG file's bytes, or None: see `image_header`. PNG specification, 11.2.1 and 11.3.2."""
    if not data.startswith(PNG_SIGNATURE) or len(data) < 33:
        return None
    width, height, bits, color = struct.unpack_from(">IIBB", data, 16)
    orientation, at = 1, 33
    while data[at + 4 : at + 8] not in (b"IDAT", b"IEND"):
        if at + 12 > len(data):
            return None
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"eXIf":
            orientation = _exif_orientation(data[at + 8 : at + 8 + length])
        at += 12 + length
    return ImageHeader("png", bits, PNG_COLOR_TYPES.get(color, f"color type {color}"), height, width, orientation)


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
    """The header of a JPEG file's bytes, or None: see `image_header`. ITU-T T.81, B.2.2."""
    at = _jpeg_frame_header(data)
    if at is None:
        return None
    bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
    color = {1: "gray", 4: "CMYK"}.get(components, "YCbCr")
    return ImageHeader("jpeg", bits, color, height, width, _jpeg_orientation(data, at))


def _jpeg_frame_header(data: bytes) -> int | None:
    """Offset of the frame header's marker (SOF0 to SOF15). ITU-T T.81, B.2."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in JPEG_FRAME_MARKERS:
            return at
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None


def _jpeg_orientation(data: bytes, end: int) -> int:
    """The orientation that the first EXIF segment before offset end says."""
    at = 2
    while at < end:
        (length,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return _exif_orientation(data[at + 4 : at + 2 + length])
        at += 1 if data[at + 1] == 0xFF else 2 + length
    return 1


def webp_header(data: bytes) -> ImageHeader | None:
    """The header of a WebP file's bytes, or None: see `image_header`. RFC 9649, 2.5 to 2.7."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    orientation = 1
    if data[12:16] == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif data[12:16] == b"VP8L":
        (sides,) = struct.unpack_from("<I", data, 21)
        width, height = (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    elif data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        if data[20] & 0x08:
            exif = _riff_chunk(data, b"EXIF")
            if exif is None:
                return None
            orientation = _exif_orientation(exif)
    else:
        return None
    return ImageHeader("webp", 8, "RGB", height, width, orientation)


def _riff_chunk(data: bytes, name: bytes) -> bytes | None:
    """The content of a RIFF file's chunk; None if it does not end within data."""
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        if data[at : at + 4] == name:
            return data[at + 8 : at + 8 + length] if at + 8 + length <= len(data) else None
        at += 8 + length + length % 2
    return None


def _exif_orientation(exif: bytes) -> int:
    """The orientation in the first directory of EXIF data; 1 where they hold none. TIFF 6.0, section 2."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    if at + 2 > len(tiff):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", tiff, at)
    for entry in range(at + 2, min(at + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if tag == EXIF_ORIENTATION and kind == 3 and 1 <= value <= 8:
            return int(value)
    return 1
