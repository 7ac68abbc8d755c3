"""Pixels of one frame or one mask file; whatever is wrong with the file is a DataError that names it."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from iopath.common.file_io import g_pathmgr
from PIL import Image, UnidentifiedImageError

from sam2_training.core.errors import DataError
from sam2_training.data.headers import jpeg_damage, jpeg_header, png_damage, png_header

IdMask = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_EXIF_ORIENTATION = 0x0112
_SKIP_CURE = "or set dataset.on_bad_sample=skip to leave it out"


class UnreadableFileError(DataError):
    """A file that is listed but cannot be read, or does not hold what it should."""


def read_bytes(path: str) -> bytes:
    """The file's content, through iopath's path manager. Raises UnreadableFileError if missing, unreadable or empty."""
    try:
        with g_pathmgr.open(path, "rb") as file:
            data: bytes = file.read()
    except FileNotFoundError as error:
        raise UnreadableFileError(f"the file is gone: {path}\nPut it back, {_SKIP_CURE}.") from error
    except OSError as error:
        reason = error.strerror or error
        raise UnreadableFileError(f"the file cannot be read ({reason}): {path}\nRepair it, {_SKIP_CURE}.") from error
    if not data:
        raise UnreadableFileError(f"the file is empty: {path}\nReplace it, {_SKIP_CURE}.")
    return data


def read_image(path: str) -> npt.NDArray[np.uint8]:
    """Pixels of a jpg, png or webp frame, RGB uint8 [H, W, 3], as stored.

    An EXIF orientation is not applied: masks are drawn on stored pixels by the tools that SAM 2's users have, and SAM
    2's own loader does not apply it either. Gray becomes RGB, alpha is dropped. Raises UnreadableFileError for a
    damaged file, and for what has no single RGB reading: CMYK, and more than 8 bits a channel.
    """
    data = read_bytes(path)
    png, jpeg = png_header(data), jpeg_header(data)
    damage = png_damage(data) if png else jpeg_damage(data) if data.startswith(b"\xff\xd8") else None
    if damage:
        raise UnreadableFileError(f"the image is damaged, {damage}: {path}\nReplace it, {_SKIP_CURE}.")
    header = png or jpeg
    if header and header.color == "CMYK":
        raise UnreadableFileError(f"the image is a CMYK JPEG, expected RGB or gray: {path}\nConvert it to RGB.")
    if header and header.bits > 8:
        raise UnreadableFileError(
            f"the image has {header.bits} bits a channel, expected 8: {path}\nConvert it to 8 bits, {_SKIP_CURE}."
        )
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise UnreadableFileError(f"the image cannot be decoded ({error.err}): {path}\nReplace it.") from error
    if pixels is None:
        raise UnreadableFileError(f"the image cannot be decoded: {path}\nReplace it, {_SKIP_CURE}.")
    return np.asarray(pixels, np.uint8)


def read_mask(path: str) -> IdMask:
    """The stored value of every pixel of a mask PNG, [H, W] uint8 or uint16: palette index, or gray level.

    1-, 2-, 4-, 8- and 16-bit gray and palette files. Raises UnreadableFileError for a damaged file and for color.
    """
    data = read_bytes(path)
    header = png_header(data)
    if header is None:
        raise UnreadableFileError(f"the mask is not a PNG file: {path}\nReplace it, {_SKIP_CURE}.")
    damage = png_damage(data)
    if damage:
        raise UnreadableFileError(f"the mask is damaged, {damage}: {path}\nReplace it, {_SKIP_CURE}.")
    if header.color not in ("palette", "gray"):
        raise UnreadableFileError(
            f"the mask is {header.color}, expected palette or gray (pixel value = object id, 0 = background): {path}\n"
            "Convert it: colors have no order, so ids cannot be guessed from them."
        )
    try:
        # OpenCV expands a palette to colors and loses the indices.
        with Image.open(io.BytesIO(data)) as file:
            values = np.asarray(file)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise UnreadableFileError(f"the mask cannot be decoded ({error}): {path}\nReplace it, {_SKIP_CURE}.") from error
    if header.bits == 16:
        return np.ascontiguousarray(values.astype(np.uint16, copy=False))
    if header.color == "gray" and header.bits in (2, 4):
        return values.astype(np.uint8) // np.uint8(255 // (2**header.bits - 1))  # Pillow stretches to 0..255
    return np.ascontiguousarray(values.astype(np.uint8, copy=False))


def id_areas(mask: IdMask) -> npt.NDArray[np.int64]:
    """Number of pixels of each value in a mask, [256] or [65536]."""
    if mask.dtype == np.uint8 and mask.size <= 2**24:  # OpenCV counts in float32, exact up to here, eight times faster
        counts: Any = cv2.calcHist([mask], [0], None, [256], [0, 256])
        return np.asarray(counts, np.int64).reshape(-1)
    return np.bincount(mask.reshape(-1), minlength=int(np.iinfo(mask.dtype).max) + 1).astype(np.int64)


def size_mismatch(
    mask_path: str, mask_size: tuple[int, int], image_path: str, image_size: tuple[int, int]
) -> DataError:
    """The error for a mask that does not match the image size, both (H, W); says if an EXIF rotation explains it."""
    orientation = _exif_orientation(image_path)
    cure = "Resize one of them, or set dataset.on_bad_sample=skip to leave this clip out."
    if orientation >= 5 and mask_size == image_size[::-1]:
        cure = (
            f"The image's EXIF orientation ({orientation}) turns it to the mask's size, but pixels are read as stored: "
            "save the image turned, or turn the mask."
        )
    return DataError(
        f"the mask is {mask_size[0]}x{mask_size[1]}, its image {image_size[0]}x{image_size[1]} (height x width)\n"
        f"  mask   {mask_path}\n  image  {image_path}\n{cure}"
    )


def _exif_orientation(path: str) -> int:
    try:
        with Image.open(io.BytesIO(read_bytes(path))) as file:
            return int(file.getexif().get(_EXIF_ORIENTATION, 1))
    except (DataError, UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return 1  # only the text of an error depends on it
