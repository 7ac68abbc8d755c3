"""Colors: stable, distinct, and distinct for every kind of color vision."""

from __future__ import annotations

import colorsys
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from sam2_training.pictures.palette import contrasting_gray, davis_palette, hex_color, object_color

# How people without one kind of cone see linear RGB: Machado, Oliveira, Fernandes 2009, severity 1.0.
COLOR_VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ]),
    "tritanopia": np.array([
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(color: tuple[int, int, int], vision: str) -> npt.NDArray[np.float64]:
    """CIELAB of an sRGB color as seen with a kind of color vision."""
    share = np.array(color) / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    xyz = TO_XYZ @ (COLOR_VISION[vision] @ linear).clip(0, 1) / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", COLOR_VISION)
def test_first_seven_objects_differ_for_every_kind_of_color_vision(vision: str) -> None:
    seen = [lab(object_color(number), vision) for number in range(1, 8)]
    # A difference of 2.3 is just noticeable; 10 is seen at a glance.
    assert min(float(np.linalg.norm(one - two)) for one, two in combinations(seen, 2)) > 10


@pytest.mark.parametrize("vision", COLOR_VISION)
def test_neighboring_ids_differ_for_every_kind_of_color_vision(vision: str) -> None:
    seen = [lab(object_color(number), vision) for number in range(1, 256)]
    assert min(float(np.linalg.norm(one - two)) for one, two in pairwise(seen)) > 8


def test_no_two_of_255_objects_share_a_color() -> None:
    assert len({object_color(number) for number in range(1, 256)}) == 255


def test_colors_are_those_of_okabe_and_ito_and_never_change() -> None:
    assert [hex_color(number) for number in (1, 2, 3, 7)] == ["#e69f00", "#56b4e9", "#009e73", "#cc79a7"]
    assert hex_color(8) == "#735000"
    assert hex_color(15) == "#f2cf80"
    assert all(0 <= channel <= 255 for channel in object_color(60_000))


def test_generated_colors_take_turns_in_lightness_and_never_change() -> None:
    """Lightness is what people who see few hues tell them apart by."""
    generated = range(22, 256)
    lightness = [colorsys.rgb_to_hls(*(channel / 255 for channel in object_color(n)))[1] for n in generated]
    assert lightness[:8] == pytest.approx([0.30, 0.75, 0.45, 0.60] * 2, abs=0.005)
    assert min(abs(one - two) for one, two in pairwise(lightness)) > 0.14
    assert [hex_color(number) for number in range(22, 27)] == ["#821717", "#93adec", "#80c322", "#e052cf", "#178270"]


@pytest.mark.parametrize("object_id", [0, -1])
def test_background_has_no_color(object_id: int) -> None:
    with pytest.raises(ValueError, match="ids start at 1"):
        object_color(object_id)


def test_rims_contrast_with_every_color() -> None:
    assert contrasting_gray((240, 228, 66)) == (0, 0, 0)
    assert contrasting_gray((60, 20, 0)) == (255, 255, 255)


def test_davis_palette_is_that_of_davis(real_data) -> None:  # type: ignore[no-untyped-def]
    from PIL import Image

    with Image.open(real_data / "vos" / "Annotations" / "dogs-jump" / "00000.png") as image:
        assert bytes(image.getpalette() or ()) == davis_palette()
