"""Bit planes carry any number of overlapping objects without loss."""

from __future__ import annotations

import numpy as np
import pytest
from sam2_training.vos.clips.planes import pack_planes, unpack_planes
from sam2_training.vos.clips.sample import VideoSample


@pytest.mark.parametrize("num_objects", [1, 7, 8, 9, 17, 40])
def test_planes_round_trip_with_overlapping_objects(num_objects: int) -> None:
    masks = np.random.default_rng(num_objects).random((num_objects, 13, 21)) < 0.5
    planes = pack_planes(masks)
    assert planes.shape == (-(-num_objects // 8), 13, 21)
    assert planes.dtype == np.uint8
    assert (masks.sum(0) > 1).any() or num_objects == 1
    assert np.array_equal(unpack_planes(planes, num_objects), masks)


def test_object_n_is_bit_n_modulo_8_of_plane_n_over_8() -> None:
    masks = np.zeros((10, 1, 1), bool)
    masks[9] = True
    assert pack_planes(masks).ravel().tolist() == [0, 2]


def test_no_object_gives_one_empty_plane() -> None:
    assert pack_planes(np.zeros((0, 4, 5), bool)).tolist() == np.zeros((1, 4, 5)).tolist()


def test_a_sample_knows_its_files_and_is_never_changed_in_place() -> None:
    frame = np.zeros((4, 6, 3), np.uint8)
    sample = VideoSample(
        frames=(frame, frame),
        mask_planes=np.zeros((2, 1, 4, 6), np.uint8),
        labeled=np.ones((2, 1), bool),
        object_ids=(7,),
        video_name="surf",
        frame_names=("00000", "00001"),
        image_paths=("data/surf/00000.jpg", "data/surf/00001.jpg"),
    )
    other = sample.with_(object_ids=(9,))
    assert (sample.object_ids, other.object_ids) == ((7,), (9,))
    assert (sample.num_frames, sample.num_objects) == (2, 1)
    assert sample.source == "surf frames 00000..00001 (data/surf)"
    assert sample.with_(image_paths=()).source.endswith("(generated)")
