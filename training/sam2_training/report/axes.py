"""Axes of a chart: scale, ticks and labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

NICE_STEPS = (1, 2, 2.5, 5, 10)
LOG_MANTISSAS = ((1,), (1, 3), (1, 2, 5))
"""Ticks within a decade, from few to many."""
TINY = 1e-3
"""Below, numbers are written with an exponent."""
MAX_DIGITS = 6
FLAT_MARGIN = 0.05
"""Share by which a range of one value is widened on both sides."""


@dataclass(frozen=True)
class Axis:
    """Maps a range of values to a line from `start` to `end` (SVG units), linearly or logarithmically."""

    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """The position of a value on the line."""
        low, high, at = (
            (math.log10(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def linear_axis(low: float, high: float, start: float, end: float, num_ticks: int = 5) -> Axis:
    """An axis whose ends are ticks at round numbers around [low, high]; equal bounds are widened."""
    if low == high:
        margin = abs(low) * FLAT_MARGIN or 1.0
        low, high = low - margin, high + margin
    step = nice_step((high - low) / (num_ticks - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(number * step for number in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], start, end, False, ticks)


def step_axis(low: float, high: float, start: float, end: float, num_ticks: int = 5) -> Axis:
    """An axis that ends where the steps do, with ticks at whole round numbers inside; a start close to 0 becomes 0."""
    if low == high:
        low, high = low - 1, high + 1
    if low < 0.05 * high:
        low = 0.0
    step = float(math.ceil(nice_step((high - low) / (num_ticks - 1))))
    ticks = tuple(n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1))
    return Axis(low, high, start, end, False, ticks)


def log_axis(low: float, high: float, start: float, end: float, num_ticks: int = 5) -> Axis:
    """A logarithmic axis a little wider than [low, high], both above 0; ticks at 1, 2, 5, or 1, 3, or powers of 10."""
    low, high = low * 0.9, high * 1.1
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in reversed(LOG_MANTISSAS):
        ticks = [m * 10.0**decade for decade in decades for m in mantissas if low <= m * 10.0**decade <= high]
        if len(ticks) <= num_ticks + 1:
            break
    stride = -(-len(ticks) // (num_ticks + 1))
    return Axis(low, high, start, end, True, tuple(ticks[::stride]))


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in NICE_STEPS if nice * power >= rough * (1 - 1e-9))


def tick_labels(axis: Axis) -> list[str]:
    """Labels of an axis's ticks: thousands as 12k, tiny numbers as 1e-5, and as many digits as tell them apart."""
    ticks = axis.ticks
    largest = max(abs(tick) for tick in ticks)
    if axis.log or largest < TINY:
        return [_short_text(tick) for tick in ticks]
    apart = min((two - one for one, two in pairwise(ticks)), default=largest)
    for digits in range(MAX_DIGITS):
        texts = [_plain_text(tick, digits) for tick in ticks]
        if all(abs(_back(text) - tick) <= 0.02 * apart for text, tick in zip(texts, ticks, strict=True)):
            return texts
    return [f"{tick:.{MAX_DIGITS}g}" for tick in ticks]


def number_text(value: float) -> str:
    """A value for reading: four significant digits, whole numbers with separators, tiny ones as 1.2e-5."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 0 < abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _plain_text(value: float, digits: int) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:,.{digits}f}k"
    return f"{value:,.{digits}f}"


def _back(text: str) -> float:
    plain = text.replace(",", "")
    return float(plain[:-1]) * 1000 if plain.endswith("k") else float(plain)


def _short_text(value: float) -> str:
    """A number with three significant digits at most, such as 0.02, 3,000, 12k or 5e-6."""
    if value == 0 or TINY <= abs(value) < 10_000:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if 10_000 <= abs(value) < 1_000_000:
        return f"{value / 1000:.3g}k"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
