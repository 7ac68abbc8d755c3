"""One warp does what torchvision's flip, affine and resize do one after the other, to image and masks alike."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F
from PIL import Image
from sam2_training.vos.clips.config import AffineConfig, TransformsConfig
from sam2_training.vos.clips.geometry import (
    FILL_RGB,
    Affine,
    draw_affine,
    present,
    warp_frame,
    warp_matrix,
    warp_planes,
)
from sam2_training.vos.clips.planes import pack_planes, unpack_planes
from sam2_training.vos.clips.sample import VideoSample
from sam2_training.vos.clips.transforms import apply_transforms
from torchvision.transforms import InterpolationMode


def disc(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def sample_of(frames: np.ndarray, masks: np.ndarray) -> VideoSample:
    """frames [T, H, W, 3], masks [T, N, H, W]."""
    return VideoSample(
        frames=tuple(frames),
        mask_planes=np.stack([pack_planes(mask) for mask in masks]),
        labeled=np.ones(masks.shape[:2], np.bool_),
        object_ids=tuple(range(1, masks.shape[1] + 1)),
        video_name="v",
        frame_names=tuple(str(t) for t in range(len(frames))),
    )


@pytest.mark.parametrize("seed", range(12))
def test_warp_equals_torchvisions_flip_affine_and_resize(seed):
    rng = np.random.default_rng(seed)
    height, width, resolution = 120, 200, 96
    flip = bool(rng.random() < 0.5)
    config = AffineConfig(degrees=40, shear=25, scale=(0.8, 1.3), translate=(0.2, 0.2))
    affine = draw_affine(config, width, height, rng)
    smooth = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_CUBIC))
    mask = disc(height, width, 90, 55, 30)

    matrix = warp_matrix(width, height, resolution, flip, affine)
    ours = warp_frame(np.asarray(image), matrix, np.empty((resolution, resolution, 3), np.uint8), fill=True)
    our_mask = warp_planes(pack_planes(mask[None]), matrix, resolution, 1)[0] == 1

    expected, expected_mask = image, torch.from_numpy(mask.astype(np.uint8))[None]
    if flip:
        expected, expected_mask = F.hflip(expected), F.hflip(expected_mask)
    terms = (affine.angle, list(affine.translate), affine.scale, [affine.shear, 0.0])
    expected = F.affine(expected, *terms, interpolation=InterpolationMode.BILINEAR, fill=list(FILL_RGB))
    expected_mask = F.affine(expected_mask, *terms, interpolation=InterpolationMode.NEAREST)
    expected = np.asarray(F.resize(expected, [resolution, resolution]))
    expected_mask = F.resize(expected_mask, [resolution, resolution])[0].numpy() > 0

    assert np.abs(ours.astype(int) - expected).mean() < 2.5  # gray levels; edges towards the fill are sharper in ours
    assert iou(our_mask, expected_mask) > 0.95


@pytest.mark.parametrize("resolution", [64, 256, 512])
@pytest.mark.parametrize("seed", range(6))
def test_image_and_masks_stay_aligned_under_random_warps(seed, resolution):
    rng = np.random.default_rng(seed)
    mask = disc(150, 230, 120, 70, 40)
    image = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    affine = draw_affine(AffineConfig(degrees=180, shear=30, translate=(0.1, 0.1)), 230, 150, rng)
    matrix = warp_matrix(230, 150, resolution, bool(seed % 2), affine)
    warped = warp_frame(image, matrix, np.empty((resolution, resolution, 3), np.uint8), fill=False)[..., 0] > 127
    planes = warp_planes(pack_planes(mask[None]), matrix, resolution, 1)[0] == 1
    assert iou(warped, planes) > (0.95 if resolution == 64 else 0.985)
    shift = np.mean(np.nonzero(warped), axis=1) - np.mean(np.nonzero(planes), axis=1)
    assert np.abs(shift).max() < 0.15  # pixels: no half-pixel offset between the two interpolations


def test_resize_alone_equals_opencvs_bilinear_resize():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    out = warp_frame(image, warp_matrix(60, 40, 96, False, None), np.empty((96, 96, 3), np.uint8), fill=False)
    assert np.abs(out.astype(int) - cv2.resize(image, (96, 96)).astype(int)).max() <= 6  # of 255, white noise


def test_flip_without_resize_is_exact():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    matrix = warp_matrix(64, 64, 64, True, None)
    assert (warp_frame(image, matrix, np.empty_like(image), fill=False) == image[:, ::-1]).all()
    assert (warp_planes(image[None, ..., 0], matrix, 64, 8)[0] == image[:, ::-1, 0]).all()


def test_strong_reduction_averages_instead_of_skipping_pixels():
    stripes = np.zeros((400, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    out = warp_frame(stripes, warp_matrix(600, 400, 64, False, None), np.empty((64, 64, 3), np.uint8), fill=False)
    assert np.abs(out.astype(int) - 127).max() <= 15  # 9 stripes a pixel: 4 or 5 of them white


def test_outside_is_filled_with_the_mean_color_and_no_object():
    white = np.full((50, 80, 3), 255, np.uint8)
    matrix = warp_matrix(80, 50, 64, False, Affine(45.0, (0, 0), 1.0, 0.0))
    out = warp_frame(white, matrix, np.empty((64, 64, 3), np.uint8), fill=True)
    assert tuple(out[0, 0]) == FILL_RGB
    assert warp_planes(np.full((1, 50, 80), 255, np.uint8), matrix, 64, 8)[0, 0, 0] == 0


def test_ten_overlapping_objects_survive_a_warp_on_two_planes():
    masks = np.stack([disc(80, 80, 20 + 4 * n, 40, 12) for n in range(10)])
    matrix = warp_matrix(80, 80, 64, True, Affine(20.0, (0, 0), 1.0, 10.0))
    together = unpack_planes(warp_planes(pack_planes(masks), matrix, 64, 10), 10)
    for n in range(10):
        alone = warp_planes(pack_planes(masks[n : n + 1]), matrix, 64, 1)[0] == 1
        assert (together[n] == alone).all()


def test_small_objects_survive_the_resize_where_they_are_and_others_keep_their_bits():
    """20 objects of 3x3 pixels in 4K at 1024: nearest neighbor steps over 8 of them."""
    height, width, resolution = 2160, 3840, 1024
    rng = np.random.default_rng(0)
    masks = np.zeros((21, height, width), np.bool_)
    corners = rng.integers(0, (height - 3, width - 3), (20, 2))
    for mask, (row, column) in zip(masks, corners.tolist(), strict=False):
        mask[row : row + 3, column : column + 3] = True
    masks[20, 1001] = True  # a line of one pixel
    matrix = warp_matrix(width, height, resolution, False, None)
    planes = pack_planes(masks)
    plain = unpack_planes(warp_planes(planes, matrix, resolution, num_objects=0), 21)  # nearest neighbor alone
    warped = unpack_planes(warp_planes(planes, matrix, resolution, num_objects=21), 21)
    lost = ~plain.any(axis=(1, 2))
    assert lost[:20].any()
    assert lost[20]
    assert (warped[~lost] == plain[~lost]).all()
    for mask, (row, column) in zip(warped, corners.tolist(), strict=False):
        center = np.argwhere(mask).mean(axis=0) + 0.5
        assert np.abs(center - np.array([row + 1.5, column + 1.5]) * resolution / [height, width]).max() < 1
    assert warped[20].any(axis=0).all(), "a thin line stays a line"


def test_an_object_that_is_moved_out_of_the_picture_is_gone():
    mask = np.zeros((1, 60, 60), np.bool_)
    mask[0, 30, 58] = True
    matrix = warp_matrix(60, 60, 30, False, Affine(0.0, (5, 0), 1.0, 0.0))
    assert not warp_planes(pack_planes(mask), matrix, 30, 1).any()


def test_affine_that_loses_an_object_of_the_first_frame_is_dropped_for_the_whole_clip(resize_only):
    masks = np.zeros((2, 2, 60, 60), np.bool_)
    masks[:, 0] = disc(60, 60, 30, 30, 8)
    masks[:, 1, :3, :3] = True  # a corner: gone after any turn
    frames = np.random.default_rng(0).integers(0, 256, (2, 60, 60, 3), dtype=np.uint8)
    config = replace(resize_only, affine=AffineConfig(degrees=45, shear=0))
    rng = np.random.default_rng(3)
    out = apply_transforms(sample_of(frames, masks), config, 60, rng)
    assert out.augmentation["affine_dropped"]
    assert out.augmentation["affine"] is None
    assert (np.stack(out.frames) == frames).all()
    without = apply_transforms(sample_of(frames, masks[:, :1]), config, 60, np.random.default_rng(3))
    assert not without.augmentation["affine_dropped"]
    assert (np.stack(without.frames) != frames).any()


def test_object_that_is_only_in_later_frames_does_not_stop_the_affine(resize_only):
    masks = np.zeros((2, 2, 60, 60), np.bool_)
    masks[:, 0] = disc(60, 60, 30, 30, 8)
    masks[1, 1, :3, :3] = True
    config = replace(resize_only, affine=AffineConfig(degrees=45, shear=0))
    frames = np.zeros((2, 60, 60, 3), np.uint8)
    assert apply_transforms(sample_of(frames, masks), config, 60, np.random.default_rng(3)).augmentation["affine"]


def test_geometry_is_the_same_for_all_frames_and_transforms_are_pure():
    rng = np.random.default_rng(5)
    frames = np.repeat(rng.integers(0, 256, (1, 70, 90, 3), dtype=np.uint8), 3, axis=0)
    masks = np.repeat(disc(70, 90, 45, 35, 20)[None, None], 3, axis=0)
    sample = sample_of(frames.copy(), masks)
    first = apply_transforms(sample, TransformsConfig(), 64, np.random.default_rng(9))
    second = apply_transforms(sample, TransformsConfig(), 64, np.random.default_rng(9))
    assert (np.stack(first.frames) == np.stack(second.frames)).all()
    assert first.augmentation == second.augmentation
    assert (np.stack(sample.frames) == frames).all()  # the input is untouched
    assert (first.mask_planes == first.mask_planes[:1]).all()
    assert (first.frames[0] != first.frames[1]).any()  # only color differs from frame to frame


def test_no_affine_draws_nothing_when_switched_off():
    assert draw_affine(AffineConfig(degrees=0, shear=0), 10, 10, np.random.default_rng(0)) is None


def test_present_finds_objects_on_any_plane():
    masks = np.zeros((10, 4, 4), np.bool_)
    masks[0, 1, 1] = masks[9, 2, 2] = True
    assert present(pack_planes(masks), 10) == {0, 9}
