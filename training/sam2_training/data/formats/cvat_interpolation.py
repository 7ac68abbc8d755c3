"""Shapes between two keyframes, computed as CVAT computes them (cvat/apps/dataset_manager/annotation.py)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
"""Corners [N, 2] as (x, y)."""


def rotation_between(first: float, second: float, offset: float) -> float:
    """Degrees at `offset` (0 to 1) of the shorter way around; as in CVAT, it is 1 degree long for opposite ones."""
    difference = (second - first + 180) % 360 - 180
    return (first + (1 if difference == -180 else difference) * offset + 360) % 360


def polygon_between(first: Points, second: Points, offset: float) -> Points:
    """The polygon at `offset` (0 to 1) of the way from one to another, which may have another number of corners.

    Corners are matched by their place along the outline, from the first corner on. Where several corners of one are
    matched to the same one of the other, those that come close to each other on the way are left out.
    """
    left, right = np.vstack([first, first[:1]]), np.vstack([second, second[:1]])
    matches = _matches(_places(left), _places(right))
    moved = [[left[i] + (right[j] - left[i]) * offset for j in of_left] for i, of_left in enumerate(matches)]
    points: list[Points] = []
    start = 0
    while start < len(left):
        end = start + 1
        if len(matches[start]) > 1:
            chosen = right[matches[start][0] : matches[start][-1] + 1]
            points += _thinned(moved[start], chosen)
        else:
            while end < len(left) and matches[end] == matches[start]:
                end += 1
            points += _thinned([moved[i][0] for i in range(start, end)], left[start:end])
        start = end
    return np.array(points[:-1])


def _length(curve: Points) -> float:
    return float(np.hypot(*np.diff(curve, axis=0).T).sum())


def _places(curve: Points) -> Points:
    """How far along the curve each corner lies, 0 to 1."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    return np.asarray(along / along[-1] if along[-1] else along)


def _matches(left: Points, right: Points) -> list[list[int]]:
    """For each place of the left curve those of the right one: the nearest, and all that have it as their nearest."""
    distances = np.abs(left[:, None] - right[None])
    found = [[int(j)] for j in distances.argmin(1)]
    taken = {of_left[0] for of_left in found}
    for j, i in enumerate(distances.argmin(0).tolist()):
        if j not in taken:
            found[i].append(j)
    return [sorted(of_left) for of_left in found]


def _thinned(points: list[Points], original: Points) -> list[Points]:
    """First and last of the points, and those between at least half of the original curve's mean distance apart."""
    if len(points) == 1:
        return points
    threshold = _length(original) / (2 * len(original))
    kept = [points[0]]
    for point in points[1:-1]:
        if np.hypot(*(point - kept[-1])) >= threshold:
            kept.append(point)
    if len(kept) == 1 and np.hypot(*(points[-1] - points[0])) < threshold:
        return [(points[0] + points[-1]) / 2]
    return [*kept, points[-1]]
