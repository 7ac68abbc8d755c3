"""A JPEG whose compressed data are not whole is found, and one that is whole is not refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.data.images import read_image
from sam2_training.data.jpeg_scans import scan_damage

KINDS = {"sequential": {}, "progressive": {"progressive": True}, "with restarts": {"restart_marker_rows": 1}}


def textured(height: int = 96, width: int = 128) -> np.ndarray:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.int64)
    return np.clip(smooth + rng.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **({"quality": 90} | options))
    return file.getvalue()


@pytest.mark.parametrize(
    "options", [*KINDS.values(), {"quality": 100}, {"quality": 1}, {"optimize": True}, {"subsampling": 0}]
)
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (17, 3), (96, 128), (97, 131)])
def test_whole_files_of_every_kind_are_read(options, shape):
    for pixels in (textured()[: shape[0], : shape[1]], np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)):
        assert scan_damage(jpeg(pixels, **options)) is None


def test_padding_before_and_a_second_picture_after_the_end_are_no_damage():
    whole = jpeg(textured())
    assert scan_damage(whole[:-2] + bytes(3) + b"\xff\xff\xd9") is None
    assert scan_damage(whole + jpeg(textured(64, 64))[:-500]) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97])
def test_file_cut_and_closed_with_an_end_marker_is_refused_by_name(tmp_path, kind, share):
    whole = jpeg(textured(), **KINDS[kind])
    start = whole.index(b"\xff\xda")
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[: start + int(share * (len(whole) - start))] + b"\xff\xd9")
    with pytest.raises(DataError, match=r"the image is damaged.*cut\.jpg"):
        read_image(str(path))


@pytest.mark.parametrize("kind", KINDS)
def test_second_half_of_another_file_is_refused(kind):
    whole, other = jpeg(textured(), **KINDS[kind]), jpeg(textured()[::-1], **KINDS[kind])
    assert scan_damage(whole[: len(whole) // 2] + other[-len(other) // 3 :]) is not None


def test_zeroed_page_is_refused():
    whole = jpeg(textured(480, 640))
    found = []
    for at in range(len(whole) // 4 // 4096 * 4096, len(whole) - 8192, 4096):
        found.append(scan_damage(whole[:at] + bytes(4096) + whole[at + 4096 :]))
    assert len(found) > 5
    assert None not in found


def test_short_runs_of_zeros_are_refused_when_they_put_the_decoder_out_of_step():
    whole, rng = jpeg(textured()), np.random.default_rng(0)
    starts = rng.integers(len(whole) // 3, len(whole) - 514, 20)
    found = [scan_damage(whole[:at] + bytes(512) + whole[at + 512 :]) for at in starts]
    assert sum(one is not None for one in found) >= 15
    # libjpeg notices none of these either: the picture ends with the data, whatever it shows.


def test_missing_restart_interval_is_refused():
    whole = jpeg(textured(), restart_marker_rows=1)
    first, second = whole.index(b"\xff\xd2"), whole.index(b"\xff\xd3")
    assert "missing" in (scan_damage(whole[:first] + whole[second:]) or "")


@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes_end_in_a_verdict_and_never_in_another_error(kind):
    whole, rng = jpeg(textured(), **KINDS[kind]), np.random.default_rng(1)
    for _ in range(100):
        damaged = bytearray(whole)
        for at in rng.integers(2, len(whole), 3):
            damaged[at] = rng.integers(256)
        assert scan_damage(bytes(damaged)) is None or "\n" not in (scan_damage(bytes(damaged)) or "")
