"""Boundary accuracy: the F of DAVIS, exact, at a fraction of the published evaluation's cost.

Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016, section 3.2,
with the outline and the match of the published evaluation, borders of the image included.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.008
"""How far apart outlines may lie and still match, as a fraction of the image's diagonal: DAVIS; 8 pixels at 854x480."""


class Scratch:
    """Working memory of one thread, kept from frame to frame.

    Memory that is freed after each step is mapped again by the next one, and meanwhile the process's other threads
    wait: with fresh arrays, two threads were slower than one.
    """

    def __init__(self) -> None:
        self._values: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, height: int, width: int) -> NDArray[np.uint8]:
        """An array [height, width] of any content, valid until the next call with this name."""
        values = self._values.get(name)
        if values is None or values.size < height * width:
            values = self._values[name] = np.empty(2 * height * width, np.uint8)
        return values[: height * width].reshape(height, width)


def tolerance_pixels(height: int, width: int, tolerance: float = TOLERANCE) -> int:
    """The tolerance in whole pixels, rounded up. tolerance: fraction of the diagonal; ValueError outside [0, 1)."""
    if not 0 <= tolerance < 1:
        raise ValueError(
            f"tolerance={tolerance} is not a fraction of the image's diagonal in [0, 1); DAVIS: {TOLERANCE}"
        )
    # numpy's norm, as in the published evaluation: another rounding of the root could tip the ceiling.
    return math.ceil(tolerance * float(np.linalg.norm((height, width))))


def outline(mask: NDArray[np.uint8], into: str, scratch: Scratch) -> NDArray[np.uint8]:
    """The mask's outline, 1 on and 0 off, uint8 [H, W], in the scratch array `into`. mask: 0 or 1, uint8 [H, W].

    A pixel is on the outline if its right, lower or lower right neighbor differs from it. Neighbors outside the
    image do not count, so a mask that touches the image's edge has no outline along that edge, and one that fills the
    image has none at all.
    """
    window = np.ones((2, 2), np.uint8)
    largest, smallest = scratch.array(into, *mask.shape), scratch.array("smallest", *mask.shape)
    cv2.dilate(mask, window, dst=largest, anchor=(0, 0))  # OpenCV leaves out what lies outside the image
    cv2.erode(mask, window, dst=smallest, anchor=(0, 0))
    cv2.subtract(largest, smallest, dst=largest)
    return largest


def boundary_f(mask: NDArray[np.uint8], ground_truth: NDArray[np.uint8], radius: int, scratch: Scratch) -> float:
    """F in [0, 1] of one frame: harmonic mean of the precision and the recall of the mask's outline.

    mask, ground_truth: 0 or 1, uint8 [H, W], of equal size. radius: pixels. A point of one outline matches if the other
    has a point at most `radius` away (Euclidean, in whole pixels). Without an outline on either side F is 1; with one
    on a single side it is 0.
    """
    ours, theirs = outline(mask, "ours", scratch), outline(ground_truth, "theirs", scratch)
    num_ours, num_theirs = cv2.countNonZero(ours), cv2.countNonZero(theirs)
    if num_ours == 0 or num_theirs == 0:
        return float(num_ours == num_theirs)
    planes = scratch.array("planes", *mask.shape)
    cv2.add(theirs, theirs, dst=planes)
    cv2.bitwise_or(planes, ours, dst=planes)
    near = within(planes, radius, scratch)  # bit 0: near ours, bit 1: near theirs
    recall = cv2.countNonZero(cv2.bitwise_and(near, theirs, dst=theirs)) / num_theirs
    cv2.add(ours, ours, dst=ours)
    precision = cv2.countNonZero(cv2.bitwise_and(near, ours, dst=ours)) / num_ours
    if precision + recall == 0:
        return 0.0
    return float(2 * precision * recall / (precision + recall))


def within(planes: NDArray[np.uint8], radius: int, scratch: Scratch) -> NDArray[np.uint8]:
    """The bits set at most `radius` pixels from each pixel, uint8 [H, W], in scratch memory.

    planes: eight sets of points, a bit each. This is dilation by the disk x*x + y*y <= radius*radius. A row of the
    disk is the row above or below it with a few pixels more on either side, so each is made from the one before:
    about 4 * radius cheap passes for all bits at once, where a dilation by the disk goes through the disk's area for
    each bit apart.
    """
    height, width = planes.shape
    padded = scratch.array("padded", height + 2 * radius, width + 2 * radius)
    cv2.copyMakeBorder(planes, radius, radius, radius, radius, cv2.BORDER_CONSTANT, dst=padded, value=0)
    run = scratch.array("run", height + 2 * radius, width)  # the bits set at most `half` pixels to the left or right
    run[:] = padded[:, radius : radius + width]
    half = 0
    found = scratch.array("found", height, width)
    found[:] = 0
    for y in range(radius, -1, -1):  # from the disk's outermost rows, which are shortest, to its middle
        while half < math.isqrt(radius * radius - y * y):
            half += 1
            for start in (radius - half, radius + half):
                cv2.bitwise_or(run, padded[:, start : start + width], dst=run)
        for start in {radius - y, radius + y}:
            cv2.bitwise_or(found, run[start : start + height], dst=found)
    return found
