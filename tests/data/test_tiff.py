"""TIFFs as stacks: axes, compressions and kinds of files, pixel by pixel; what is damaged or has two meanings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.data.tiff import TiffStack

from tests.data.formats.real_videos import damages, read_or_named

RNG = np.random.default_rng(0)


def pages_of(path: Path, channel: int | None = None) -> np.ndarray:
    stack = TiffStack(str(path), channel)
    return np.stack([stack.read(number) for number in range(stack.num_pages)])


def pixels(*shape: int, kind: str = "u2") -> np.ndarray:
    return RNG.integers(0, 200, shape).astype(kind)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "i2", "i4", "f4", "u8", ">u2"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"tile": (16, 16)}])
def test_every_type_of_numbers_is_read_as_it_was_written(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    written = pixels(5, 20, 30, kind=kind)
    tifffile.imwrite(tmp_path / "a.tif", written, **options)
    assert np.array_equal(pages_of(tmp_path / "a.tif"), written)


@pytest.mark.parametrize(
    ("axes", "shape", "along"),
    [
        ("TYX", (4, 20, 30), 0),
        ("ZYX", (4, 20, 30), 0),
        ("TZYX", (4, 1, 20, 30), 0),
        ("TZYX", (1, 4, 20, 30), 1),
        ("TCYX", (4, 1, 20, 30), 0),
        ("YX", (20, 30), None),
    ],
)
@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_the_video_runs_along_time_or_else_along_depth(
    tmp_path: Path, axes: str, shape: tuple[int, ...], along: int | None, kind: str
) -> None:
    written = pixels(*shape)
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    tifffile.imwrite(path, written, metadata={"axes": axes}, **{kind: True})
    assert np.array_equal(pages_of(path), written.reshape(-1, 20, 30))


def test_a_channel_is_chosen_and_never_guessed(tmp_path: Path) -> None:
    written = pixels(4, 2, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", written, imagej=True, metadata={"axes": "TCYX"})
    for channel in (1, 2):
        assert np.array_equal(pages_of(tmp_path / "a.tif", channel), written[:, channel - 1])
    with pytest.raises(DataError, match=r"has 2 channels, expected one: .*a\.tif\nSet dataset\.channel"):
        TiffStack(str(tmp_path / "a.tif"))
    with pytest.raises(DataError, match=r"dataset\.channel=3, but the TIFF has 2"):
        TiffStack(str(tmp_path / "a.tif"), 3)


def test_time_and_depth_together_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(4, 3, 20, 30), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(DataError, match=r"has the axes TZYX of 4x3 pages, expected one of time or depth: .*a\.tif"):
        TiffStack(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_color_is_read_with_its_samples_last(tmp_path: Path, samples: int, planes: str) -> None:
    written = pixels(5, 20, 30, samples, kind="u1")
    stored = written if planes == "contig" else np.moveaxis(written, -1, 1)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planes, extrasamples=["unassalpha"] * (samples - 3)
    )
    assert np.array_equal(pages_of(tmp_path / "a.tif"), written)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "zstd", "tiff_adobe_deflate", "tiff_lzma", None])
@pytest.mark.parametrize("kind", ["u1", "u2", "i4", "f4"])
def test_compressions_of_microscopy_are_read(tmp_path: Path, compression: str | None, kind: str) -> None:
    """Written by Pillow's libtiff; the first two tifffile cannot read alone."""
    written = pixels(4, 20, 30, kind=kind)
    first, *more = [Image.fromarray(page) for page in written]
    first.save(tmp_path / "a.tif", save_all=True, append_images=more, compression=compression)
    assert np.array_equal(pages_of(tmp_path / "a.tif"), written)


def test_a_compression_that_would_lose_bits_is_refused_by_name(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(2, 16, 16, 3), photometric="rgb", compression="zlib")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        for page in file.pages:
            tag = page.tags["Compression"]
            data[tag.valueoffset : tag.valueoffset + 2] = (50002).to_bytes(2, "little")
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(DataError, match=r"JPEGXL.*: .*a\.tif\nSave it again, .* deflate, LZW or zstd"):
        pages_of(tmp_path / "a.tif")


def test_images_of_two_sizes_in_one_file_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels(20, 30))
        file.write(pixels(10, 30))
    with pytest.raises(DataError, match=r"holds 2 images of different kinds \(YX \(20, 30\), YX \(10, 30\)\)"):
        TiffStack(str(tmp_path / "a.tif"))


def test_white_as_zero_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(20, 30, kind="u1"), photometric="miniswhite")
    with pytest.raises(DataError, match="counts 0 as white"):
        TiffStack(str(tmp_path / "a.tif"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"ome": True, "metadata": {"axes": "TYX"}},
        {"metadata": None},
    ],
)
def test_a_file_that_was_cut_is_never_a_shorter_video(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RNG.integers(0, 60000, (5, 40, 50)).astype("u2"), **options)
    data = (tmp_path / "a.tif").read_bytes()
    whole = pages_of(tmp_path / "a.tif")
    for left in (0, 8, 100, len(data) // 3, len(data) // 2, 2 * len(data) // 3):
        (tmp_path / "b.tif").write_bytes(data[:left])
        with pytest.raises(DataError, match=r"b\.tif"):
            pages_of(tmp_path / "b.tif")
    (tmp_path / "b.tif").write_bytes(data)
    assert np.array_equal(pages_of(tmp_path / "b.tif"), whole)


def test_a_file_that_is_gone_or_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the file is gone: .*a\.tif"):
        TiffStack(str(tmp_path / "a.tif"))
    (tmp_path / "a.tif").write_text("no picture")
    with pytest.raises(DataError, match=r"the TIFF cannot be read \(.*\): .*a\.tif"):
        TiffStack(str(tmp_path / "a.tif"))


def test_a_page_is_read_without_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(50, 20, 30), compression="zlib")
    read = []
    decode = tifffile.TiffPage.asarray
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda page, **k: (read.append(page.index), decode(page, **k))[1])
    TiffStack(str(tmp_path / "a.tif")).read(0)
    assert read == [0]
    tifffile.imwrite(tmp_path / "b.tif", pixels(50, 20, 30))
    assert isinstance(TiffStack(str(tmp_path / "b.tif"))._map, np.memmap)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"ome": True}, "lzw"])
def test_any_damage_is_read_or_named(tmp_path: Path, options: Any, data: st.DataObject) -> None:
    path = tmp_path / "whole.tif"
    if not path.exists():
        if options == "lzw":
            Image.fromarray(pixels(20, 30)).save(path, compression="tiff_lzw")
        else:
            tifffile.imwrite(path, pixels(2, 20, 30), **options)
    (tmp_path / "b.tif").write_bytes(data.draw(damages(path.read_bytes())))
    read_or_named(lambda: pages_of(tmp_path / "b.tif"), "b.tif")
