"""Colors of objects in pictures, and the palette of DAVIS's mask files."""

from __future__ import annotations

import colorsys

RGB = tuple[int, int, int]

BASE_COLORS: tuple[RGB, ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
)
"""Objects 1 to 7: Okabe and Ito, "Color Universal Design", 2008, without its black, which is for outlines."""

SHADES = (None, 0, 255)
"""What the base colors are mixed with: nothing (ids 1-7), black (8-14), white (15-21)."""
SHADE_SHARE = 0.5
LIGHTNESSES = (0.30, 0.75, 0.45, 0.60)
"""HLS lightness of the ids after those, in turn: people who see few hues still see neighbors apart."""
GOLDEN_SHARE = 0.6180339887498949
"""(sqrt(5) - 1) / 2: multiples of it, modulo 1, spread evenly for any count, so that hues do not repeat early."""


def object_color(object_id: int) -> RGB:
    """The RGB color (0-255) of an object: depends on its id only, so it is the same in every picture.

    Ids 1 to 7 can be told apart with every kind of color vision. More colors than that no palette can offer; later
    ids therefore differ in lightness first, and pictures with several objects also carry the ids as numbers.
    Raises ValueError for an id below 1: 0 is the background, which has no color.
    """
    if object_id < 1:
        raise ValueError(f"object id {object_id} has no color: ids start at 1, 0 is the background")
    tier, hue = divmod(object_id - 1, len(BASE_COLORS))
    if tier >= len(SHADES):
        return _generated_color(object_id - 1 - len(BASE_COLORS) * len(SHADES))
    shade = SHADES[tier]
    red, green, blue = BASE_COLORS[hue]
    return (red, green, blue) if shade is None else (_mixed(red, shade), _mixed(green, shade), _mixed(blue, shade))


def hex_color(object_id: int) -> str:
    """The color of an object as HTML wants it, such as "#e69f00"."""
    return "#{:02x}{:02x}{:02x}".format(*object_color(object_id))


def contrasting_gray(color: RGB) -> RGB:
    """Black for a light color, white for a dark one: a rim of it is visible on any background.

    Light or dark by relative luminance, WCAG 2.2; 0.179 is where black and white contrast equally.
    """
    linear = [((c / 255 + 0.055) / 1.055) ** 2.4 if c > 10 else c / 255 / 12.92 for c in color]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def davis_palette() -> bytes:
    """The 256 RGB triples of DAVIS's and PASCAL VOC's mask files, 768 bytes: entry i belongs to pixel value i.

    Bits 0, 3, 6 of i (low to high) are the red channel's bits 7, 6, 5; bits 1, 4, 7 green's, bits 2, 5 blue's.
    """
    return bytes(
        sum(((index >> (3 * place + channel)) & 1) << (7 - place) for place in range(3))
        for index in range(256)
        for channel in range(3)
    )


def _mixed(value: int, other: int) -> int:
    return round((1 - SHADE_SHARE) * value + SHADE_SHARE * other)


def _generated_color(number: int) -> RGB:
    hue = number * GOLDEN_SHARE % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, LIGHTNESSES[number % len(LIGHTNESSES)], 0.7)
    return round(255 * red), round(255 * green), round(255 * blue)
