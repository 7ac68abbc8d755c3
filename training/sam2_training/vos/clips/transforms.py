"""Augmentation of a clip: a pure function of the sample and its generator."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from sam2_training.vos.clips.color import ColorOperation, apply_color, draw_jitter
from sam2_training.vos.clips.config import TransformsConfig
from sam2_training.vos.clips.geometry import draw_affine, present, warp_frame, warp_matrix, warp_nearest, warp_planes
from sam2_training.vos.clips.sample import VideoSample


def apply_transforms(
    sample: VideoSample, config: TransformsConfig, resolution: int, rng: np.random.Generator
) -> VideoSample:
    """The augmented clip, `resolution` pixels square, still uint8; its `augmentation` holds what was drawn.

    In this order: horizontal flip, affine map, resize (these three as one warp, the same for all frames and masks),
    color jitter and grayscale of the clip, color jitter of every frame (these as one pass per frame). If the affine
    map would move an object wholly out of the first frame, the clip goes without it, because an object is prompted
    there. In a later frame such an object counts as absent, as the picture shows it. No object is lost by the resize:
    see `warp_planes`. What the affine map brings in from outside the frame takes part, as what is in no mask.
    """
    height, width = sample.frames[0].shape[:2]
    flip = bool(rng.random() < config.horizontal_flip_prob)
    affine = draw_affine(config.affine, width, height, rng)
    clip_color = draw_jitter(config.clip_jitter, rng)
    if rng.random() < config.grayscale_prob:
        clip_color = (*clip_color, ColorOperation("grayscale"))

    matrix = warp_matrix(width, height, resolution, flip, affine)
    first = warp_planes(sample.mask_planes[0], matrix, resolution, sample.num_objects)
    dropped = affine is not None and bool(
        present(sample.mask_planes[0], sample.num_objects) - present(first, sample.num_objects)
    )
    if dropped:
        affine = None
        matrix = warp_matrix(width, height, resolution, flip, None)
        first = warp_planes(sample.mask_planes[0], matrix, resolution, sample.num_objects)
    planes = [first, *(warp_planes(plane, matrix, resolution, sample.num_objects) for plane in sample.mask_planes[1:])]

    frames = np.empty((sample.num_frames, resolution, resolution, 3), np.uint8)
    frame_colors = [draw_jitter(config.frame_jitter, rng) for _ in sample.frames]
    for source, out, frame_color in zip(sample.frames, frames, frame_colors, strict=True):
        warp_frame(source, matrix, out, fill=affine is not None)
        apply_color(out, (*clip_color, *frame_color))
    drawn = {
        "flip": flip,
        "affine": asdict(affine) if affine else None,
        "affine_dropped": dropped,
        "clip_color": [asdict(operation) for operation in clip_color],
        "frame_colors": [[asdict(operation) for operation in color] for color in frame_colors],
    }
    ignored = sample.ignored_planes
    if ignored is not None:
        ignored = np.stack([warp_nearest(plane, matrix, resolution) for plane in ignored])
    return sample.with_(frames=tuple(frames), mask_planes=np.stack(planes), ignored_planes=ignored, augmentation=drawn)
