"""Pixels of one frame or one mask file; whatever is wrong with the file is a DataError that names it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from iopath.common.file_io import g_pathmgr
from PIL import Image, UnidentifiedImageError

from sam2_training.core.current_work import working_on
from sam2_training.core.errors import DataError
from sam2_training.core.files import endless_kind
from sam2_training.data.headers import (
    PNG_SIGNATURE,
    ImageHeader,
    image_header,
    is_image,
    png_damage,
    png_header,
)
from sam2_training.data.jpeg_scans import scan_damage

IdMask = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

HEADER_BYTES = (4096, 2**18)
"""How much of a file is read for its header, first and if that does not hold it; after that all of it."""
LARGEST_PIXELS = 2**26
"""Pixels of the largest frame or mask: twice an 8K frame. More is refused by the header, before memory is taken."""
LARGEST_BYTES = 2**30
"""Bytes of the largest image file: more than the largest frame has without compression."""

_SKIP_CURE = "or set dataset.on_bad_sample=skip to leave it out"


class UnreadableFileError(DataError):
    """A file that is listed but cannot be read, or does not hold what it should."""


def read_bytes(path: str, at_most: int = LARGEST_BYTES + 1) -> bytes:
    """The file's content, or its first bytes, through iopath's path manager.

    Raises UnreadableFileError if it is missing, unreadable, empty, above LARGEST_BYTES, a pipe, a socket or a device.
    """
    kind = endless_kind(path)
    if kind:
        raise UnreadableFileError(f"this is {kind}, expected an image file: {path}\nReplace it, {_SKIP_CURE}.")
    try:
        with working_on(path), g_pathmgr.open(path, "rb") as file:
            data: bytes = file.read(at_most)
    except FileNotFoundError as error:
        raise UnreadableFileError(f"the file is gone: {path}\nPut it back, {_SKIP_CURE}.") from error
    except OSError as error:
        reason = error.strerror or error
        raise UnreadableFileError(f"the file cannot be read ({reason}): {path}\nRepair it, {_SKIP_CURE}.") from error
    if not data:
        raise UnreadableFileError(f"the file is empty: {path}\nReplace it, {_SKIP_CURE}.")
    if len(data) > LARGEST_BYTES:
        raise UnreadableFileError(
            f"the file has more than {LARGEST_BYTES:,} bytes, expected an image: {path}\nReplace it, {_SKIP_CURE}."
        )
    return data


def read_frame_header(path: str) -> ImageHeader:
    """What the first bytes of a jpg, png or webp frame say.

    Raises UnreadableFileError for a file that is none, and for what `read_image` refuses by its header.
    """
    for at_most in (*HEADER_BYTES, LARGEST_BYTES + 1):
        data = read_bytes(path, at_most)
        if image_header(data) or not is_image(data) or len(data) < at_most:
            break
    return _frame_header(data, path)


def read_image(path: str, shown: bool = False) -> npt.NDArray[np.uint8]:
    """Pixels of a jpg, png or webp frame, RGB uint8 [H, W, 3], as stored.

    shown: turned as its EXIF orientation says and viewers show it. Gray becomes RGB, alpha is dropped. Raises
    UnreadableFileError for a damaged file, for more than LARGEST_PIXELS, and for what has no single RGB reading: CMYK,
    and more than 8 bits a channel.
    """
    data = read_bytes(path)
    header = _frame_header(data, path)
    check = {"png": png_damage, "jpeg": scan_damage}.get(header.kind)
    damage = check(data) if check else None
    if damage:
        raise UnreadableFileError(f"the image is damaged, {damage}: {path}\nReplace it, {_SKIP_CURE}.")
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise UnreadableFileError(f"the image cannot be decoded ({error.err}): {path}\nReplace it.") from error
    if pixels is None:
        raise UnreadableFileError(f"the image cannot be decoded: {path}\nReplace it, {_SKIP_CURE}.")
    return turned(np.asarray(pixels, np.uint8), header.orientation) if shown else np.asarray(pixels, np.uint8)


def _frame_header(data: bytes, path: str) -> ImageHeader:
    """The header in a frame's bytes. Raises UnreadableFileError for what no frame may be by its header."""
    header = image_header(data)
    if header is None:
        found = "it ends within its header" if is_image(data) else "it is not a JPEG, PNG or WebP file"
        raise UnreadableFileError(f"the image cannot be decoded, {found}: {path}\nReplace it, {_SKIP_CURE}.")
    _require_size("image", header, path)
    if header.color == "CMYK":
        raise UnreadableFileError(f"the image is a CMYK JPEG, expected RGB or gray: {path}\nConvert it to RGB.")
    if header.bits > 8:
        raise UnreadableFileError(
            f"the image has {header.bits} bits a channel, expected 8: {path}\nConvert it to 8 bits, {_SKIP_CURE}."
        )
    return header


def _require_size(what: str, header: ImageHeader, path: str) -> None:
    if header.height * header.width > LARGEST_PIXELS:
        raise UnreadableFileError(
            f"the {what} is {header.height}x{header.width} (height x width), expected at most {LARGEST_PIXELS:,} "
            f"pixels: {path}\nResize it, {_SKIP_CURE}."
        )


def turned(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Stored pixels [H, W, C] as viewers show them, [W, H, C] for orientations 5 to 8. JEITA CP-3451, 4.6.4."""
    if orientation >= 5:  # rows and columns change places
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


@dataclass(frozen=True, eq=False)
class StoredMask:
    """The pixels of a mask file as they are stored."""

    values: IdMask
    """Palette index or gray level, [H, W]; where the channels of a color file differ, RGB [H, W, 3]."""
    palette: npt.NDArray[np.uint8] | None
    """RGB of each index, [K, 3]; None for a file without palette."""
    bits: int
    """Of a sample: 1, 2, 4, 8 or 16."""

    @property
    def is_color(self) -> bool:
        return self.values.ndim == 3


def read_mask(path: str) -> IdMask:
    """The stored value of every pixel of a mask PNG, [H, W] uint8 or uint16: palette index, or gray level.

    Raises UnreadableFileError for what `read_stored_mask` refuses, and for color.
    """
    stored = read_stored_mask(path)
    require_index(stored, path)
    return stored.values


def require_index(stored: StoredMask, path: str) -> None:
    """Raises UnreadableFileError for a mask whose pixels are colors."""
    if stored.is_color:
        raise UnreadableFileError(
            f"the mask is RGB with channels that differ, expected palette or gray (pixel value = object id, "
            f"0 = background): {path}\nColors have no order, so ids cannot be guessed from them: convert it, or say "
            "with dataset.palette=color, or a palette file, that each color is an object."
        )


def read_stored_mask(path: str) -> StoredMask:
    """The pixels of a mask PNG of 1 to 16 bits: palette, gray, or color, which is gray where its channels are equal.

    Raises UnreadableFileError for a damaged file, for more than LARGEST_PIXELS, and for one that is partly transparent.
    """
    data = read_bytes(path)
    if not data.startswith(PNG_SIGNATURE):
        raise UnreadableFileError(f"the mask is not a PNG file: {path}\nReplace it, {_SKIP_CURE}.")
    damage = png_damage(data)
    header = png_header(data)
    if damage or header is None:
        damage = damage or "it has no header"
        raise UnreadableFileError(f"the mask is damaged, {damage}: {path}\nReplace it, {_SKIP_CURE}.")
    _require_size("mask", header, path)
    if header.color not in ("palette", "gray"):
        return StoredMask(_gray_or_rgb(data, header, path), None, header.bits)
    palette = None
    try:
        # OpenCV expands a palette to colors and loses the indices.
        with Image.open(io.BytesIO(data)) as file:
            values = np.asarray(file)
            if header.color == "palette":
                palette = np.array(file.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise UnreadableFileError(f"the mask cannot be decoded ({error}): {path}\nReplace it, {_SKIP_CURE}.") from error
    kind = np.uint16 if header.bits == 16 else np.uint8
    values = np.ascontiguousarray(values.astype(kind, copy=False))
    if header.color == "gray" and header.bits in (2, 4):
        values = values // np.uint8(255 // (2**header.bits - 1))  # Pillow stretches to 0..255
    return StoredMask(values, palette, header.bits)


def _gray_or_rgb(data: bytes, header: ImageHeader, path: str) -> IdMask:
    """Pixels of a PNG with alpha or color: [H, W] if its channels are equal, else RGB [H, W, 3]."""
    # Pillow reduces 16-bit color to 8 bits.
    found: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise UnreadableFileError(f"the mask cannot be decoded: {path}\nReplace it, {_SKIP_CURE}.")
    if header.color in ("gray with alpha", "RGBA") and not (found[..., 3] == np.iinfo(found.dtype).max).all():
        raise UnreadableFileError(
            f"the mask is partly transparent, expected pixels whose value is the object id: {path}\n"
            f"Save it without transparency, {_SKIP_CURE}."
        )
    blue, green, red = (found[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return np.ascontiguousarray(red)
    return np.ascontiguousarray(found[..., 2::-1])


def id_areas(mask: IdMask) -> npt.NDArray[np.int64]:
    """Number of pixels of each value in a mask, [256] or [65536]."""
    if mask.dtype == np.uint8 and mask.size <= 2**24:  # OpenCV counts in float32, exact up to here, eight times faster
        counts: Any = cv2.calcHist([mask], [0], None, [256], [0, 256])
        return np.asarray(counts, np.int64).reshape(-1)
    return np.bincount(mask.reshape(-1), minlength=int(np.iinfo(mask.dtype).max) + 1).astype(np.int64)


def size_mismatch(
    mask_path: str, mask_size: tuple[int, int], image_path: str, image_size: tuple[int, int]
) -> UnreadableFileError:
    """The error for a mask that does not match the image size, both (H, W); says if an EXIF rotation explains it."""
    orientation = _orientation_of(image_path)
    cure = "Resize one of them, or set dataset.on_bad_sample=skip to leave this clip out."
    if orientation >= 5 and mask_size == image_size[::-1]:
        cure = (
            f"The image's EXIF orientation ({orientation}) explains the difference: change dataset.orientation, which "
            "says whether masks lie on the stored pixels or on the picture as viewers show it."
        )
    return UnreadableFileError(
        f"the mask is {mask_size[0]}x{mask_size[1]}, its image {image_size[0]}x{image_size[1]} (height x width)\n"
        f"  mask   {mask_path}\n  image  {image_path}\n{cure}"
    )


def _orientation_of(path: str) -> int:
    try:
        return read_frame_header(path).orientation
    except DataError:
        return 1  # only the text of an error depends on it
