"""J and F of a clip against a plain evaluation: 100 frames of 854x480, 3 objects.

No part of SAM 2 scores masks, so the "stock" column is the plain evaluation below: whole images, frame by frame, with
numpy, and OpenCV's dilation by a disk. Both must agree in every frame to the last bit. The clips are generated; where
the real test data are at hand, predictions and truth of a real one are timed too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "training"))

from sam2_training.vos.metrics.boundary import Scratch, tolerance_pixels  # noqa: E402
from sam2_training.vos.metrics.scores import frame_score  # noqa: E402

FRAMES, HEIGHT, WIDTH = 100, 480, 854
RADII = {"usual": (40, 80, 130), "large": (200, 230, 260)}
"""Mean radius of each of the three objects, pixels."""
TARGET_SECONDS = 1.0
TARGET_RATIO = 5.0
ROUNDS = 5

Masks = NDArray[np.bool_]
Clip = list[tuple[Masks, Masks]]
"""For each object its predicted masks and its ground truth, [T, H, W] each."""


def plain_outline(mask: Masks) -> Masks:
    """Pixels that differ from their right, lower or lower right neighbor inside the image."""
    points = np.zeros_like(mask)
    points[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    points[:-1] |= mask[:-1] != mask[1:]
    points[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return points


def plain_frame(mask: Masks, truth: Masks) -> tuple[float, float]:
    """J and F of one frame, by the definition."""
    union = np.sum(mask | truth)
    j = np.sum(mask & truth) / union if union else 1.0
    radius = int(np.ceil(0.008 * np.linalg.norm(mask.shape)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    ours, theirs = plain_outline(mask), plain_outline(truth)
    if not ours.any() or not theirs.any():
        return float(j), float(ours.any() == theirs.any())
    precision = np.sum(ours & (cv2.dilate(theirs.astype(np.uint8), disk) > 0)) / np.sum(ours)
    recall = np.sum(theirs & (cv2.dilate(ours.astype(np.uint8), disk) > 0)) / np.sum(theirs)
    f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return float(j), float(f)


def plain_video(clip: Clip) -> list[list[tuple[float, float]]]:
    """J and F of every object in every frame after the first."""
    return [[plain_frame(masks[t], truth[t]) for t in range(1, len(masks))] for masks, truth in clip]


def fast_video(clip: Clip) -> list[list[tuple[float, float]]]:
    """The same as an evaluation computes it."""
    radius, scratch = tolerance_pixels(HEIGHT, WIDTH), Scratch()
    found = []
    for masks, truth in clip:
        scores = [frame_score(masks[t], truth[t], radius, scratch) for t in range(1, len(masks))]
        found.append([(score.j, score.f) for score in scores])
    return found


def moving_object(rng: np.random.Generator, radius: float) -> tuple[Masks, Masks]:
    """Truth and prediction of a wobbling outline that crosses the image and leaves it for some frames; [T, H, W]."""
    truth, masks = (np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8) for _ in range(2))
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    start, phase = rng.uniform(0, WIDTH), rng.uniform(0, 6)
    for t in range(FRAMES):
        center_x = (start + 9.0 * t) % (WIDTH + radius) - radius / 2
        center_y = HEIGHT / 2 + 80 * np.sin(t / 15 + phase)
        lengths = radius * (1 + 0.2 * np.sin(5 * angles + t / 10) + 0.1 * np.sin(11 * angles + phase))
        for canvas, error in ((truth, 0.0), (masks, 6.0)):
            noisy = lengths + rng.normal(0, 1, len(angles)) * error
            points = np.stack([center_x + noisy * np.cos(angles), center_y + noisy * np.sin(angles)], 1)
            cv2.fillPoly(canvas[t], [points.round().astype(np.int32)], 1)
    return truth.astype(bool), masks.astype(bool)


def generated_clip(radii: tuple[int, ...]) -> Clip:
    rng = np.random.default_rng(0)
    clip = []
    for radius in radii:
        truth, masks = moving_object(rng, radius)
        clip.append((masks, truth))
    return clip


def real_clip() -> Clip:
    """Three real one-object clips of 40 to 80 frames of 854x480, repeated to 100 frames; nothing without the data."""
    data = Path(os.environ.get("SAM2_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    folder = data / "reference_metrics" / "davis2016"
    if not folder.is_dir():
        return []
    clip = []
    for name in ("blackswan", "bmx-trees", "libby"):
        stacks = []
        for part in ("pred/osvos", "gt"):
            frames = [np.array(Image.open(path)) > 0 for path in sorted((folder / part / name).glob("*.png"))]
            stacks.append(np.stack([frames[t % len(frames)] for t in range(FRAMES)]))
        clip.append((stacks[0], stacks[1]))
    return clip


def median_seconds(work: Callable[[], Any]) -> float:
    """The median over ROUNDS runs, after one that is not counted."""
    seconds = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def measure(name: str, clip: Clip) -> dict[str, Any]:
    """The row of one clip: plain against ours on one thread. Raises unless both find the same J and F everywhere."""
    if fast_video(clip) != plain_video(clip):
        raise RuntimeError("the fast and the plain evaluation differ")
    plain = median_seconds(lambda: plain_video(clip))
    ours = median_seconds(lambda: fast_video(clip))
    print(f"{name}: plain {plain:.3f} s, ours {ours:.3f} s, ratio {plain / ours:.1f}", file=sys.stderr)
    return {
        "name": f"J and F, 100 frames 854x480, 3 objects, {name}",
        "unit": "s",
        "stock": plain,
        "ours": ours,
        "target": min(TARGET_SECONDS, plain / TARGET_RATIO),
        "note": f"one thread, median of {ROUNDS}; stock: a plain evaluation, equal in every frame; "
        f"target: 1 s and {TARGET_RATIO:.0f}x",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = [measure(f"{name} size", generated_clip(radii)) for name, radii in RADII.items()]
    if real := real_clip():
        rows.append(measure("real predictions", real))
    print(json.dumps(rows, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
