"""The demo's examination: unseen generated clips, a score, and pictures of truth and predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from sam2_training.core.rng import derive_seed
from sam2_training.data.rle import decode_masks, encode_masks
from sam2_training.engine.task import SampleKey
from sam2_training.vos.batch import VideoBatch
from sam2_training.vos.clips.dataset import build_dataset
from sam2_training.vos.config import AffineConfig, ColorJitterConfig, TransformsConfig, VosConfig
from sam2_training.vos.model.build import build_network
from sam2_training.vos.model.tracker import TrainableSAM2
from sam2_training.vos.model.weights import load_weights
from sam2_training.vos.propagation import mean_iou, propagate

COLORS = np.array([(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)], np.float32)
"""RGB of objects, from Okabe and Ito's palette, which color-blind people can tell apart."""
FrameMasks = list[list[dict[str, Any]]]
ZOOM = 3
"""Screen pixels per clip pixel in pictures."""
NUM_PICTURED = 4


class DemoEvaluation:
    """Clips that training never sees, and what networks make of them.

    They come from a seed of their own; nothing is augmented. Every clip starts from its first frame's true masks.
    """

    def __init__(self, config: VosConfig, num_clips: int) -> None:
        none = ColorJitterConfig()
        plain = TransformsConfig(0.0, AffineConfig(0.0, 0.0), none, 0.0, none)
        num_frames = config.dataset.synthetic.num_frames
        self.config = replace(
            config,
            seed=derive_seed(config.seed, "unseen") % 2**31,
            transforms=plain,
            dataset=replace(config.dataset, num_frames=num_frames),
        )
        self._training_config = config
        dataset = build_dataset(self.config, None)
        self.batches: list[VideoBatch] = [dataset.batch([SampleKey(0, number, number)]) for number in range(num_clips)]
        self._predictions: list[list[FrameMasks]] = []
        """For each scored network, for each clip: frames of objects' masks, run-length encoded."""

    def score(self, checkpoint: str | None) -> float:
        """Mean IoU over propagated frames, with a checkpoint's weights or (None) those a fresh training starts from."""
        network = self._network(checkpoint)
        predictions = [propagate(network, batch) for batch in self.batches]
        self._predictions.append([[encode_masks(masks) for masks in clip.numpy()] for clip in predictions])
        return mean_iou(predictions, self.batches)

    def write_predictions(self, path: Path) -> None:
        """A JSON file {"clips": [{"masks": [network][frame][object] as COCO RLE}]}, networks in scored order."""
        clips = [{"masks": list(networks)} for networks in zip(*self._predictions, strict=True)]
        path.write_text(json.dumps({"clips": clips}))

    def write_picture(self, path: Path) -> None:
        """A PNG with the first clips: a row of frames with the truth, then one for each scored network."""
        strips = []
        for number, batch in enumerate(self.batches[:NUM_PICTURED]):
            frames = batch.frames[0].numpy()
            truth = [batch.masks(t).numpy() for t in range(batch.num_frames)]
            predicted = [[decode_masks(masks) for masks in networks[number]] for networks in self._predictions]
            for row in (truth, *predicted):
                overlays = [_overlay(frame, masks) for frame, masks in zip(frames, row, strict=True)]
                strips.append(np.concatenate(overlays, 1))
            strips.append(np.full((6, strips[-1].shape[1], 3), 255, np.uint8))
        cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(strips), cv2.COLOR_RGB2BGR))

    def _network(self, checkpoint: str | None) -> TrainableSAM2:
        config = self._training_config
        torch.manual_seed(derive_seed(config.seed, "init"))
        network = build_network(config.model, config.prompts, config.transforms)
        if checkpoint is not None:
            load_weights(network, checkpoint)
        return network


def _overlay(frame: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The frame, enlarged, with half-transparent masks [N, H, W] and a one-pixel gap at its right."""
    large = cv2.resize(frame, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST).astype(np.float32)
    for number, mask in enumerate(masks):
        inside = cv2.resize(mask.astype(np.uint8), None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
        edge = inside - cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=0)
        color = COLORS[number % len(COLORS)]
        large[inside > 0] = 0.55 * large[inside > 0] + 0.45 * color
        large[edge > 0] = color
    return np.pad(large.astype(np.uint8), ((1, 1), (1, 1), (0, 0)), constant_values=255)
