"""Generated videos: the same for the same seed, and with everything in them that tracking is about."""

from __future__ import annotations

import numpy as np
import pytest
from sam2_training.data.config import SyntheticConfig
from sam2_training.data.formats.synthetic import synthetic_video

CONFIG = SyntheticConfig(num_frames=8, size=64, num_objects=2)


def test_same_arguments_same_video_and_others_differ():
    frames, masks = synthetic_video(3, 11, CONFIG)
    again, masks_again = synthetic_video(3, 11, CONFIG)
    assert (frames == again).all()
    assert (masks == masks_again).all()
    assert (frames != synthetic_video(3, 12, CONFIG)[0]).any()
    assert (frames != synthetic_video(4, 11, CONFIG)[0]).any()


@pytest.mark.parametrize(("num_objects", "num_frames", "size"), [(1, 1, 32), (2, 8, 64), (5, 3, 96)])
def test_shapes_and_a_first_frame_with_every_object(num_objects, num_frames, size):
    config = SyntheticConfig(num_frames=num_frames, size=size, num_objects=num_objects)
    for number in range(10):
        frames, masks = synthetic_video(0, number, config)
        assert frames.shape == (num_frames, size, size, 3)
        assert frames.dtype == np.uint8
        assert masks.shape == (num_frames, num_objects, size, size)
        assert masks.dtype == np.bool_
        assert (masks[0].sum(axis=(1, 2)) > size).all()
        assert (masks.sum(axis=1) <= 1).all()  # what is hidden belongs to nobody else


def test_objects_move_cross_leave_and_return():
    moved = crossed = left_and_returned = 0
    for number in range(60):
        _, masks = synthetic_video(0, number, CONFIG)
        area = masks.sum(axis=(2, 3))
        moved += bool((masks[0] & ~masks[-1]).any())
        crossed += bool((area[:, 0] < 0.7 * area[0, 0])[1:].any() and masks[:, 1].any(axis=(1, 2)).all())
        gone = np.flatnonzero(area[:, 0] == 0)
        left_and_returned += bool(len(gone) and area[-1, 0] > 0)
    assert moved > 55
    assert crossed > 10
    assert left_and_returned > 5


def test_objects_stand_out_from_the_background():
    distances = []
    for number in range(20):
        frames, masks = synthetic_video(0, number, CONFIG)
        inside = frames[0][masks[0].any(axis=0)].mean(axis=0)
        outside = frames[0][~masks[0].any(axis=0)].mean(axis=0)
        distances.append(np.abs(inside - outside).max())
    assert np.median(distances) > 30  # gray levels
