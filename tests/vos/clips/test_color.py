"""One pass of color equals torchvision's operations one after the other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F
from PIL import Image
from sam2_training.vos.clips.color import ColorOperation, apply_color, draw_jitter
from sam2_training.vos.clips.config import ColorJitterConfig

PUBLISHED = ColorJitterConfig(0.1, 0.05, 0.05)


def image_without_extremes(seed: int) -> np.ndarray:
    """Gray levels from 60 to 190, so that no operation clips."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 190, (9, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (80, 64), interpolation=cv2.INTER_LINEAR)


def sequential(image: np.ndarray, operations: tuple[ColorOperation, ...], as_float: bool = False) -> np.ndarray:
    """torchvision's operations one after the other, on an 8-bit Pillow image (as stock) or on floats."""
    result = torch.from_numpy(image).permute(2, 0, 1) / 255 if as_float else Image.fromarray(image)
    for operation in operations:
        if operation.kind == "grayscale":
            result = F.rgb_to_grayscale(result, 3) if as_float else F.to_grayscale(result, 3)
        else:
            result = getattr(F, f"adjust_{operation.kind}")(result, operation.amount)
    return result.permute(1, 2, 0).numpy() * 255 if as_float else np.asarray(result).astype(float)


@pytest.mark.parametrize("seed", range(20))
def test_one_pass_equals_torchvisions_sequence(seed):
    rng = np.random.default_rng(seed)
    operations = draw_jitter(ColorJitterConfig(0.15, 0.15, 0.15), rng)
    if seed % 3 == 0:
        operations = (*operations, ColorOperation("grayscale"))
    operations = (*operations, *draw_jitter(PUBLISHED, rng))
    image = image_without_extremes(seed)
    ours = apply_color(image.copy(), operations).astype(float)
    assert np.abs(ours - sequential(image, operations, as_float=True)).max() <= 1  # gray levels
    stock = ours - sequential(image, operations)
    assert stock.min() >= -1.5
    assert stock.max() <= 1.5 + len(operations)  # Pillow rounds down after every operation


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation", "grayscale"])
def test_each_operation_alone_equals_torchvision(kind):
    image = image_without_extremes(1)
    for amount in (0.8, 1.0, 1.2):
        operations = (ColorOperation(kind, amount),)
        difference = np.abs(apply_color(image.copy(), operations).astype(int) - sequential(image, operations))
        assert difference.max() <= 1


@pytest.mark.parametrize("shift", [-0.4, -0.1, 0.05, 0.3])
def test_hue_shift_equals_torchvision(shift):
    operations = (ColorOperation("brightness", 1.1), ColorOperation("hue", shift), ColorOperation("contrast", 0.95))
    image = image_without_extremes(2)
    difference = np.abs(apply_color(image.copy(), operations).astype(int) - sequential(image, operations))
    assert difference.mean() < 2  # both pass through 8-bit HSV, with roundings of their own
    assert difference.max() <= 8


def test_results_are_clipped_not_wrapped():
    white = np.full((8, 8, 3), 250, np.uint8)
    assert (apply_color(white, (ColorOperation("brightness", 1.3),)) == 255).all()


def test_jitter_draws_each_part_in_range_and_in_any_order():
    rng = np.random.default_rng(0)
    drawn = [draw_jitter(ColorJitterConfig(0.1, 0.03, 0.0, 0.2), rng) for _ in range(300)]
    assert {tuple(operation.kind for operation in d) for d in drawn} == {
        tuple(order)
        for order in (
            ("brightness", "contrast", "hue"),
            ("brightness", "hue", "contrast"),
            ("contrast", "brightness", "hue"),
            ("contrast", "hue", "brightness"),
            ("hue", "brightness", "contrast"),
            ("hue", "contrast", "brightness"),
        )
    }
    amounts = {
        kind: [o.amount for d in drawn for o in d if o.kind == kind] for kind in ("brightness", "contrast", "hue")
    }
    for kind, (low, high) in {"brightness": (0.9, 1.1), "contrast": (0.97, 1.03), "hue": (-0.2, 0.2)}.items():
        assert low <= min(amounts[kind]) < low + 0.02 * (high - low) * 2
        assert high - 0.02 * (high - low) * 2 < max(amounts[kind]) <= high


def test_nothing_to_do_changes_nothing():
    image = image_without_extremes(3)
    assert draw_jitter(ColorJitterConfig(), np.random.default_rng(0)) == ()
    assert (apply_color(image.copy(), ()) == image).all()
