"""R16: a bad file is named, and a good one is read as stored, whatever its kind."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.data.images import id_areas, read_image, read_mask
from sam2_training.engine.task import SampleKey
from sam2_training.vos.clips.dataset import ClipDataset
from sam2_training.vos.clips.usable import clip_index


def smooth(height: int = 24, width: int = 32) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp"])
def test_frames_of_every_format_are_read_as_rgb(tmp_path, suffix):
    path = tmp_path / f"f.{suffix}"
    Image.fromarray(smooth()).save(path, quality=95)
    assert np.abs(read_image(str(path)).astype(int) - smooth()).mean() < 4


def test_gray_and_rgba_frames_become_rgb(tmp_path):
    Image.fromarray(smooth()[..., 0]).save(tmp_path / "gray.png")
    Image.fromarray(np.dstack([smooth(), np.full((24, 32), 9, np.uint8)])).save(tmp_path / "rgba.png")
    assert (read_image(str(tmp_path / "gray.png")) == smooth()[..., :1]).all()
    assert (read_image(str(tmp_path / "rgba.png")) == smooth()).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6, 0.98])
def test_r16_truncated_frame_is_named(tmp_path, suffix, keep):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * keep)])
    with pytest.raises(DataError, match=str(path)):
        read_image(str(path))


def test_jpeg_with_a_thumbnail_and_a_trailer_is_whole_but_cut_is_not(tmp_path):
    thumbnail, outer = io.BytesIO(), io.BytesIO()
    Image.fromarray(smooth()).save(thumbnail, "JPEG")
    Image.fromarray(smooth()).save(outer, "JPEG", exif=b"Exif\0\0" + thumbnail.getvalue())
    path = tmp_path / "f.jpg"
    path.write_bytes(outer.getvalue() + b"trailer")
    assert read_image(str(path)).shape == (24, 32, 3)
    path.write_bytes(outer.getvalue()[:-40])
    with pytest.raises(DataError, match="ends too early"):
        read_image(str(path))


@pytest.mark.parametrize("what", ["text", "zeros"])
def test_r16_file_that_is_no_image_is_named(tmp_path, what):
    path = tmp_path / "f.jpg"
    path.write_bytes(b"hello" if what == "text" else bytes(5000))
    with pytest.raises(DataError, match=r"cannot be decoded.*f\.jpg"):
        read_image(str(path))


def test_r16_cmyk_frame_is_refused_by_name(tmp_path):
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "f.jpg")
    with pytest.raises(DataError, match=r"CMYK JPEG.*f\.jpg"):
        read_image(str(tmp_path / "f.jpg"))


def test_r16_sixteen_bit_frame_is_refused_by_name(tmp_path):
    cv2.imwrite(str(tmp_path / "f.png"), smooth().astype(np.uint16) * 257)
    with pytest.raises(DataError, match=r"16 bits a channel.*f\.png"):
        read_image(str(tmp_path / "f.png"))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone: .*nothing\.jpg"):
        read_image(str(tmp_path / "nothing.jpg"))


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth()).save(tmp_path / "f.jpg", exif=exif, quality=95)
    assert np.abs(read_image(str(tmp_path / "f.jpg")).astype(int) - smooth()).mean() < 4


@pytest.mark.parametrize(("mode", "largest"), [("P", 255), ("L", 255), ("1", 1), ("I;16", 60000)])
def test_mask_values_are_the_stored_ones(folders, make_squares, mode, largest):
    ids = make_squares([1, largest])
    path = folders.mask("v", "0.png", ids, mode)
    mask = read_mask(str(path))
    assert (mask == ids).all()
    assert mask.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    assert id_areas(mask)[largest] == np.count_nonzero(ids == largest)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_masks_of_few_bits_keep_their_values(tmp_path, bits):
    ids = (np.arange(48, dtype=np.uint8).reshape(6, 8) * 5) % 2**bits
    image = Image.fromarray(ids)
    image.putpalette([*range(3 * 2**bits)])
    image.save(tmp_path / "palette.png", bits=bits)
    assert (tmp_path / "palette.png").read_bytes()[24] == bits
    assert (read_mask(str(tmp_path / "palette.png")) == ids).all()
    (tmp_path / "gray.png").write_bytes(gray_png(ids, bits))
    assert (read_mask(str(tmp_path / "gray.png")) == ids).all()


def gray_png(ids: np.ndarray, bits: int) -> bytes:
    """A gray PNG of few bits, which Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def row(values: np.ndarray) -> bytes:
        text = "".join(f"{value:0{bits}b}" for value in values)
        return b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")

    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], bits, 0, 0, 0, 0)
    body = zlib.compress(b"".join(row(values) for values in ids))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_color_masks_are_refused_with_the_reason(tmp_path, mode):
    Image.fromarray(smooth()).convert(mode).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"expected palette or gray .*m\.png"):
        read_mask(str(tmp_path / "m.png"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_mask_whose_channels_are_equal_is_read_as_gray(folders, make_squares, mode):
    ids = make_squares([1, 255]).astype(np.uint8)
    path = folders.masks / "m.png"
    Image.fromarray(ids).convert(mode).save(path)
    assert (read_mask(str(path)) == ids).all()


def test_a_mask_of_16_bits_a_channel_is_read_as_gray_with_all_its_bits(tmp_path, make_squares):
    ids = make_squares([1, 300, 40000])
    assert cv2.imwrite(str(tmp_path / "m.png"), np.stack([ids] * 3, -1))
    assert (read_mask(str(tmp_path / "m.png")) == ids).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_partly_transparent_mask_is_refused(tmp_path, make_squares, mode):
    image = Image.fromarray(make_squares([1]).astype(np.uint8)).convert(mode)
    image.putalpha(Image.fromarray(make_squares([255]).astype(np.uint8)))
    image.save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"partly transparent.*m\.png"):
        read_mask(str(tmp_path / "m.png"))


def test_r16_damaged_masks_are_named(folders, make_squares):
    path = folders.mask("v", "0.png", make_squares([1, 2]))
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(30):
        at = int(rng.integers(33, len(whole) - 12))  # any byte behind the header's chunk
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        with pytest.raises(DataError, match=r"0\.png"):
            read_mask(str(path))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"ends too early.*0\.png"):
        read_mask(str(path))


def declaring(kind: str, width: int, height: int) -> bytes:
    """A small file whose header says that it is large."""
    if kind == "webp":  # 24 bits each, less one
        body = struct.pack("<4xI", width - 1)[:7] + struct.pack("<I", height - 1)[:3]
        return b"RIFF" + struct.pack("<I", 4 + 8 + len(body)) + b"WEBPVP8X" + struct.pack("<I", len(body)) + body
    buffer = io.BytesIO()
    Image.fromarray(smooth()[..., 0]).save(buffer, kind)
    data = bytearray(buffer.getvalue())
    if kind == "png":
        struct.pack_into(">II", data, 16, width, height)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    elif kind == "jpeg":
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(("width", "height"), [(8193, 8192), (13300, 13300), (30000, 50000)])
def test_frame_that_declares_too_many_pixels_is_refused_by_its_header(tmp_path, monkeypatch, kind, width, height):
    (tmp_path / "f.jpg").write_bytes(declaring(kind, width, height))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"expected at most 67,108,864 pixels: .*f\.jpg"):
        read_image(str(tmp_path / "f.jpg"))


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff", "ppm"])
def test_only_decoders_of_the_named_formats_see_a_frame(tmp_path, kind):
    Image.fromarray(smooth()).save(tmp_path / "f.jpg", kind)
    with pytest.raises(DataError, match=r"not a JPEG, PNG or WebP file: .*f\.jpg"):
        read_image(str(tmp_path / "f.jpg"))


@pytest.mark.parametrize("size", [13300, 13500, 50000])
def test_mask_that_declares_too_many_pixels_is_refused_by_its_header(tmp_path, size):
    (tmp_path / "m.png").write_bytes(declaring("png", size, size))
    with pytest.raises(DataError, match=rf"the mask is {size}x{size} .*m\.png"):
        read_mask(str(tmp_path / "m.png"))


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a device"])
def test_what_never_ends_is_refused_instead_of_read(tmp_path, monkeypatch, read, kind):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    if kind == "a named pipe":
        os.mkfifo("f.png")
    elif kind == "a device":
        Path("f.png").symlink_to("/dev/zero")
    monkeypatch.setattr("sam2_training.data.images.g_pathmgr.open", lambda *_: pytest.fail("opened"))
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "a socket":
            listener.bind("f.png")
        with pytest.raises(DataError, match=rf"this is {kind}, expected an image file: f\.png"):
            read("f.png")


def index_error(folders, **changes) -> str:
    with pytest.raises(DataError) as caught:
        clip_index(folders.config(**changes), 2)
    return str(caught.value)


def test_r16_mask_of_another_size_names_both_files_and_sizes_before_any_clip_is_read(folders, make_squares):
    folders.video("v", [[1], [1]])
    path = folders.mask("v", "00001.png", make_squares([1], 30, 40))
    message = index_error(folders)
    assert message.startswith("the mask is 30x40, its image 24x32")
    assert str(path) in message
    assert str(folders.images / "v" / "00001.png") in message
    assert "dataset.on_bad_sample=skip" in message


@pytest.mark.parametrize(("height", "width"), [(24, 32), (32, 24)])
def test_an_exif_orientation_is_refused_until_it_is_said_what_masks_lie_on(folders, make_squares, height, width):
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = Path(folders.images / "v")
    folder.mkdir()
    for t in range(2):
        Image.fromarray(smooth()).save(folder / f"{t}.jpg", exif=exif)
        folders.mask("v", f"{t}.png", make_squares([1], height, width))
    message = index_error(folders)
    assert f"2 frames of video v with an EXIF orientation, such as {folder / '0.jpg'} (6)" in message
    assert "dataset.orientation=stored if" in message
    right, wrong = ("stored", "shown") if height == 24 else ("shown", "stored")
    assert "EXIF orientation (6) explains the difference: change dataset.orientation" in index_error(
        folders, orientation=wrong
    )
    index = clip_index(folders.config(orientation=right), 2)
    video = index.video(0)
    frame = index.frame(video, 0)
    assert frame.shape == (*video.size, 3) == (height, width, 3)
    assert index.masks(video, 0, [1], video.size).sum() == 36
    expected = smooth() if right == "stored" else np.rot90(smooth(), -1)
    assert np.abs(frame.astype(int) - expected).mean() < 4


def test_an_index_of_frames_as_stored_is_not_used_for_frames_as_shown(folders, tmp_path):
    folders.video("v", [[1], [1]])
    used = {clip_index(folders.config(orientation=o), 2, tmp_path).cache_path for o in (None, "stored", "shown")}
    assert len(used) == 3


def test_r16_frames_of_two_sizes_in_one_video_are_named(folders, make_squares):
    folders.video("v", [[1], None, None])
    for name in ("00001.png", "00002.png"):
        folders.image("v", name, height=20)
    message = index_error(folders)
    assert message.startswith("2 frames of video v with another size than its first (height x width)\n")
    assert f"24x32 {folders.images / 'v' / '00000.png'}\n  20x32 {folders.images / 'v' / '00001.png'}\n" in message


@pytest.mark.parametrize("kind", ["CMYK", "16 bits", "text"])
def test_r16_frames_that_cannot_be_read_are_named_by_their_header(folders, kind):
    for name in ("v", "w"):
        folders.video(name, [[1], None, None], suffix=".jpg")
    for t in (1, 2):
        path = folders.images / "w" / f"{t:05d}.jpg"
        if kind == "CMYK":
            Image.fromarray(smooth()).convert("CMYK").save(path)
        elif kind == "text":
            path.write_text("hello")
        else:
            path.write_bytes(cv2.imencode(".png", smooth().astype(np.uint16) * 257)[1].tobytes())
    message = index_error(folders)
    assert str(folders.images / "w" / "00001.jpg") in message
    assert "This and 1 more frame of video w cannot be read." in message
    index = clip_index(folders.config(on_bad_sample="skip", max_bad_fraction=0.5), 2)
    assert list(index.names) == ["v"]
    assert "left out: 1 video with files that cannot be used: w" in index.describe()


def test_mask_overwritten_after_indexing_is_noticed(folders, make_squares, tmp_path):
    folders.video("v", [[1], [1]])
    config = folders.train_config()
    dataset = ClipDataset(config, clip_index(config.dataset, 2, tmp_path / "run"))
    path = folders.masks / "v" / "00001.png"
    changed = make_squares([1])
    changed[0, 0] = 1
    other = folders.mask("w", "0.png", changed)
    path.write_bytes(other.read_bytes())  # in place: the folder's modification time stays
    with pytest.raises(DataError, match=r"has changed since .* 37 pixels, expected 36: .*00001\.png") as caught:
        dataset[SampleKey(0, 0, 0)]
    assert dataset.index.cache_path in str(caught.value)
