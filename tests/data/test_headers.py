"""Headers say what the decoders say, from the first bytes of a file."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from sam2_training.core.errors import DataError
from sam2_training.data import images
from sam2_training.data.headers import EXIF_ORIENTATION, image_header
from sam2_training.data.images import read_frame_header, read_image, turned

KINDS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}


def picture(height: int = 20, width: int = 44) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 5, y * 9, 255 - x * 5], axis=-1).astype(np.uint8)


def encoded(kind: str, pixels: np.ndarray, orientation: int | None = None, **options: object) -> bytes:
    exif = Image.Exif()
    if orientation is not None:
        exif[EXIF_ORIENTATION] = orientation
        options["exif"] = exif
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, KINDS[kind], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_size_and_orientation_are_those_that_pillow_reads(kind: str, orientation: int | None) -> None:
    header = image_header(encoded(kind, picture(), orientation))
    assert header is not None
    assert (header.kind, header.size, header.bits) == ({"jpg": "jpeg"}.get(kind, kind), (20, 44), 8)
    assert header.orientation == (orientation or 1)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("channels", [3, 4])
def test_every_kind_of_webp_has_a_size(lossless: bool, channels: int) -> None:
    pixels = np.dstack([picture(33, 71), np.full((33, 71), 90, np.uint8)])[..., :channels]
    header = image_header(encoded("webp", pixels, lossless=lossless))
    assert header is not None
    assert header.size == (33, 71)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pixels_are_those_that_viewers_show(orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    shown = Image.fromarray(picture())
    shown.getexif()[EXIF_ORIENTATION] = orientation
    assert np.array_equal(turned(picture(), orientation), np.asarray(ImageOps.exif_transpose(shown)))


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_read_as_stored_or_as_shown(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"f.{kind}"
    path.write_bytes(encoded(kind, picture(), 6))
    stored, shown = read_image(str(path)), read_image(str(path), shown=True)
    assert stored.shape == (20, 44, 3)
    assert np.array_equal(shown, turned(stored, 6))


@pytest.mark.parametrize("kind", KINDS)
def test_headers_behind_large_profiles_are_found(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"f.{kind}"
    path.write_bytes(encoded(kind, picture(), 3, icc_profile=np.random.default_rng(0).bytes(300_000)))
    assert path.stat().st_size > images.HEADER_BYTES[1]
    header = read_frame_header(str(path))
    assert (header.size, header.orientation) == ((20, 44), 3)


def test_only_the_first_bytes_of_an_ordinary_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.jpg"
    path.write_bytes(encoded("jpg", np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)))
    read: list[int] = []
    real = images.read_bytes
    monkeypatch.setattr(images, "read_bytes", lambda path, at_most=-1: read.append(at_most) or real(path, at_most))
    assert read_frame_header(str(path)).size == (400, 600)
    assert read == [4096]


@pytest.mark.parametrize("kind", KINDS)
def test_any_cut_of_a_header_is_an_error_that_names_the_file(tmp_path: Path, kind: str) -> None:
    whole = encoded(kind, picture(), 3)
    path = tmp_path / f"f.{kind}"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        try:
            assert read_frame_header(str(path)).size == (20, 44)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017 - either of the two is right


def test_headers_of_any_bytes_are_read_without_an_error() -> None:
    """A changed byte may change what a header says; it never ends in a traceback."""
    rng = np.random.default_rng(0)
    for kind in KINDS:
        whole = np.frombuffer(encoded(kind, picture(), 3), np.uint8)
        for _ in range(300):
            changed = whole.copy()
            changed[rng.integers(0, min(120, len(whole)), 3)] = rng.integers(0, 256, 3)
            image_header(changed.tobytes()[: rng.integers(0, len(whole))])


def test_what_has_no_single_reading_is_refused_by_the_header(tmp_path: Path) -> None:
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "cmyk.jpg")
    cv2.imwrite(str(tmp_path / "deep.png"), picture().astype(np.uint16) * 257)
    (tmp_path / "text.jpg").write_text("hello")
    for name, message in (("cmyk.jpg", "CMYK"), ("deep.png", "16 bits"), ("text.jpg", "not a JPEG, PNG or WebP")):
        with pytest.raises(DataError, match=rf"{message}.*{name}"):
            read_frame_header(str(tmp_path / name))
