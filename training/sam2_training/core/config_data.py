"""Configuration of the data: what a clip is, where videos and masks lie, how clips are augmented."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

PREFETCHED_BATCHES = 2
"""Batches that a loader worker prepares ahead."""


@dataclass(frozen=True)
class ScratchConfig:
    """The numbers that users change most, named as in SAM 2's own recipes."""

    resolution: int = 1024
    """Side of the square network input, pixels; a multiple of 32 (Hiera's strides)."""
    train_batch_size: int = 1
    """Clips per device in one forward pass."""
    num_train_workers: int = 2
    """Loader processes per device; 0 loads in the training process. Results do not depend on it."""
    num_frames: int = 1
    """Frames per clip."""
    max_num_objects: int = 3
    """Objects per clip, at most; chosen at random among those visible in the clip's first frame."""
    num_epochs: int = 10
    """Passes over the dataset (times dataset.multiplier)."""
    base_lr: float = 5.0e-6
    """Learning rate at the start of the schedule, for everything but the image encoder."""
    vision_lr: float = 3.0e-6
    """Learning rate of the image encoder."""

    def problems(self) -> Iterator[str]:
        if self.resolution < 32 or self.resolution % 32:
            low = max(32, self.resolution // 32 * 32)
            yield f"scratch.resolution={self.resolution} is not a multiple of 32; nearest: {low} or {low + 32}"
        for name in ("train_batch_size", "num_frames", "max_num_objects", "num_epochs"):
            if getattr(self, name) < 1:
                yield f"scratch.{name}={getattr(self, name)} must be at least 1"
        if self.num_train_workers < 0:
            yield f"scratch.num_train_workers={self.num_train_workers} must be 0 or more"
        for name in ("base_lr", "vision_lr"):
            if getattr(self, name) < 0:
                yield f"scratch.{name}={getattr(self, name)} must not be negative"


@dataclass(frozen=True)
class SyntheticConfig:
    """Generated clips (dataset.dataset_type=synthetic): textured shapes that move, cross, leave and return."""

    num_videos: int = 256
    """Different clips in the dataset."""
    num_frames: int = 8
    """Frames of each generated video."""
    size: int = 96
    """Side of the square frames, pixels."""
    num_objects: int = 2
    """Objects in each video."""

    def problems_at(self, where: str) -> Iterator[str]:
        """The problems of this section, which stands at `where` in the configuration."""
        for name in ("num_videos", "num_frames", "num_objects"):
            if getattr(self, name) < 1:
                yield f"{where}.{name}={getattr(self, name)} must be at least 1"
        if self.size < 32:
            yield f"{where}.size={self.size} must be at least 32 pixels"


@dataclass(frozen=True)
class DatasetConfig:
    """Which videos, and what happens with those that do not fit."""

    dataset_type: Literal["video", "synthetic"] = "video"
    """"video": a folder of frames and a folder of masks per video; "synthetic": generated clips, no files."""
    img_folder: str | None = None
    """Folder with one folder of frames (jpg, jpeg, png, webp) per video."""
    gt_folder: str | None = None
    """Folder with one folder of mask PNGs per video (palette, 8- or 16-bit gray: pixel value = object id), or, inside
    that, one folder per object."""
    file_list_txt: str | None = None
    """Text file with one video name a line: only these are used. Empty lines and lines that start
    with # are skipped."""
    multiplier: int = 1
    """How often each video is seen per epoch."""
    frame_selection: Literal["all", "annotated"] = "all"
    """"all": clips run over all frames, and frames without a mask are tracked through without loss;
    "annotated": clips are made of frames with a mask only (for sparsely labeled videos)."""
    frame_interval: tuple[int, int] = (1, 1)
    """Distance between neighboring frames of a clip, drawn per clip between these two (inclusive)."""
    reverse_time_prob: float = 0.0
    """Probability that a clip runs backwards."""
    short_videos: Literal["error", "skip", "repeat_last"] = "error"
    """Videos with fewer than scratch.num_frames frames: stop, leave out and count, or repeat their last frame."""
    on_bad_sample: Literal["error", "skip"] = "error"
    """A clip whose files turn out wrong while training: stop, or leave it out of its batch and count it."""
    max_bad_fraction: float = 0.01
    """With on_bad_sample=skip: the run stops when more than this fraction of an epoch's clips was left out."""
    val_fraction: float = 0.0
    """Without val_dataset: hold out about this fraction of the videos for validation. A hash of a video's name decides,
    so that videos stay on their side when others are added; at least one is held out and one is trained on. With
    val_dataset all videos are trained on."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)

    def problems(self) -> Iterator[str]:
        yield from self.problems_at("dataset")

    def problems_at(self, where: str) -> Iterator[str]:
        """The problems of this section, which stands at `where` in the configuration."""
        if self.dataset_type == "video":
            for name in ("img_folder", "gt_folder"):
                if not getattr(self, name):
                    yield f"{where}.{name} is not set: give the folder with one folder of files per video"
        if self.multiplier < 1:
            yield f"{where}.multiplier={self.multiplier} must be at least 1"
        low, high = self.frame_interval
        if not 1 <= low <= high:
            yield f"{where}.frame_interval={[low, high]} must be [smallest, largest] with 1 <= smallest <= largest"
        for name in ("reverse_time_prob", "max_bad_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"{where}.{name}={getattr(self, name)} must lie between 0 and 1"
        if not 0 <= self.val_fraction < 1:
            yield f"{where}.val_fraction={self.val_fraction} must lie between 0 and 1, 1 excluded"
        if self.val_fraction and where != "dataset":
            yield f"{where}.val_fraction={self.val_fraction}: only dataset.val_fraction holds videos out; remove it"
        if self.val_fraction and self.dataset_type == "synthetic":
            yield (
                f"{where}.val_fraction={self.val_fraction}: generated videos have no names; give a val_dataset, or "
                "set it to 0"
            )
        yield from self.synthetic.problems_at(f"{where}.synthetic")


@dataclass(frozen=True)
class ColorJitterConfig:
    """Factors are drawn from [1 - value, 1 + value]; 0 switches a part off. Hue is a shift in [-hue, hue],
    at most 0.5."""

    brightness: float = 0.0
    """Blend with black."""
    contrast: float = 0.0
    """Blend with the image's mean gray."""
    saturation: float = 0.0
    """Blend with the gray image."""
    hue: float = 0.0
    """Shift of the hue, as a fraction of the color circle."""

    def problems_at(self, where: str) -> Iterator[str]:
        for name in ("brightness", "contrast", "saturation"):
            if getattr(self, name) < 0:
                yield f"{where}.{name}={getattr(self, name)} must not be negative"
        if not 0 <= self.hue <= 0.5:
            yield f"{where}.hue={self.hue} must lie between 0 and 0.5"


@dataclass(frozen=True)
class AffineConfig:
    """Random affine map about the image center, the same for all frames of a clip; all zero or null switches it off."""

    degrees: float = 25.0
    """Rotation is drawn from [-degrees, degrees]."""
    shear: float = 20.0
    """Horizontal shear is drawn from [-shear, shear] degrees."""
    scale: tuple[float, float] | None = None
    """Zoom factor is drawn between these two; null: 1."""
    translate: tuple[float, float] | None = None
    """Largest shift as a fraction of width and of height; null: none."""

    def problems(self) -> Iterator[str]:
        if not 0 <= self.degrees <= 180:
            yield f"transforms.affine.degrees={self.degrees} must lie between 0 and 180"
        if not 0 <= self.shear < 90:
            yield f"transforms.affine.shear={self.shear} must lie between 0 and 90"
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            yield f"transforms.affine.scale={list(self.scale)} must be [smallest, largest] with 0 < smallest <= largest"
        if self.translate is not None and not all(0 <= part <= 1 for part in self.translate):
            yield f"transforms.affine.translate={list(self.translate)} must be two fractions between 0 and 1"


@dataclass(frozen=True)
class TransformsConfig:
    """Augmentation, in this order: flip, affine, resize to a square, jitter per clip, grayscale, jitter per frame."""

    horizontal_flip_prob: float = 0.5
    """Probability that a whole clip is mirrored."""
    affine: AffineConfig = field(default_factory=AffineConfig)
    clip_jitter: ColorJitterConfig = field(default_factory=lambda: ColorJitterConfig(0.1, 0.03, 0.03))
    """Drawn once per clip."""
    grayscale_prob: float = 0.05
    """Probability that a whole clip turns gray."""
    frame_jitter: ColorJitterConfig = field(default_factory=lambda: ColorJitterConfig(0.1, 0.05, 0.05))
    """Drawn for every frame."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted per channel (RGB, range 0 to 1), on the device."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Divided by per channel, after the mean."""

    def problems(self) -> Iterator[str]:
        for name in ("horizontal_flip_prob", "grayscale_prob"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"transforms.{name}={getattr(self, name)} must lie between 0 and 1"
        if any(part <= 0 for part in self.std):
            yield f"transforms.std={list(self.std)} must be positive"
        yield from self.affine.problems()
        yield from self.clip_jitter.problems_at("transforms.clip_jitter")
        yield from self.frame_jitter.problems_at("transforms.frame_jitter")
