"""Configuration of clips: which videos they are cut from, and how they are augmented."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from sam2_training.core.settings import setting
from sam2_training.data.config import DatasetConfig


def both_ends(value: Any) -> Any:
    """[n, n] for a single n."""
    return [value, value] if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass(frozen=True)
class VosDatasetConfig(DatasetConfig):
    """Which videos, what happens with those that do not fit, and how clips are cut from them."""

    multiplier: int = setting(1, at_least=1)
    """How often each video is seen per epoch."""
    frame_selection: Literal["all", "annotated"] = "all"
    """"all": clips run over all frames, and frames without a mask are tracked through without loss;
    "annotated": clips are made of frames with a mask only (for sparsely labeled videos)."""
    gt_stride: int = setting(1, at_least=1)
    """Training uses every n-th labeled frame of a video as labeled, from its first one on; 1: all. The others are
    frames without a mask: tracked through without loss, and never a clip's first frame."""
    frame_interval: tuple[int, int] = setting(
        (1, 1), at_least=1, ascending=True, unit="frames", read=both_ends, aliases=(".stride",)
    )
    """Distance between neighboring frames of a clip, drawn per clip between these two (inclusive); one number: always
    that."""
    reverse_time_prob: float = setting(0.0, at_least=0, at_most=1)
    """Probability that a clip runs backwards."""
    short_videos: Literal["error", "skip", "repeat_last"] = "error"
    """Videos with fewer frames than a clip needs: stop, leave out and count, or repeat their last frame."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        yield from super().problems(where)
        if where == "dataset" or where.startswith("dataset.sets["):
            return
        plain = type(self)()
        for name, why in WITHOUT_EFFECT_IN_MEASURED_SETS.items():
            if getattr(self, name) != getattr(plain, name):
                yield f"{where}.{name}={getattr(self, name)} has no effect here: {why}; remove it"


WITHOUT_EFFECT_IN_MEASURED_SETS = {
    "multiplier": "each video of it is measured once",
    "gt_stride": "it is measured in all of its labeled frames",
    "reverse_time_prob": "it is measured forward in time",
    "short_videos": "all of its videos are measured, short ones too",
}
"""{key of a dataset: why it changes nothing where videos are measured and not trained on}."""


@dataclass(frozen=True)
class ColorJitterConfig:
    """Factors are drawn from [1 - value, 1 + value]; 0 switches a part off. Hue is a shift in [-hue, hue],
    at most 0.5."""

    brightness: float = setting(0.0, at_least=0)
    """Blend with black."""
    contrast: float = setting(0.0, at_least=0)
    """Blend with the image's mean gray."""
    saturation: float = setting(0.0, at_least=0)
    """Blend with the gray image."""
    hue: float = setting(0.0, at_least=0, at_most=0.5)
    """Shift of the hue, as a fraction of the color circle."""


@dataclass(frozen=True)
class AffineConfig:
    """Random affine map about the image center, the same for all frames of a clip; all zero or null switches it off."""

    degrees: float = setting(25.0, at_least=0, at_most=180, unit="degrees")
    """Rotation is drawn from [-degrees, degrees]."""
    shear: float = setting(20.0, at_least=0, below=90, unit="degrees")
    """Horizontal shear is drawn from [-shear, shear]."""
    scale: tuple[float, float] | None = setting(None, above=0, ascending=True)
    """Zoom factor is drawn between these two; null: 1."""
    translate: tuple[float, float] | None = setting(None, at_least=0, at_most=1)
    """Largest shift as a fraction of width and of height; null: none."""


@dataclass(frozen=True)
class TransformsConfig:
    """Augmentation, in this order: flip, affine, resize to a square, jitter per clip, grayscale, jitter per frame."""

    horizontal_flip_prob: float = setting(0.5, at_least=0, at_most=1)
    """Probability that a whole clip is mirrored."""
    affine: AffineConfig = field(default_factory=AffineConfig)
    clip_jitter: ColorJitterConfig = field(default_factory=lambda: ColorJitterConfig(0.1, 0.03, 0.03))
    """Drawn once per clip."""
    grayscale_prob: float = setting(0.05, at_least=0, at_most=1)
    """Probability that a whole clip turns gray."""
    frame_jitter: ColorJitterConfig = field(default_factory=lambda: ColorJitterConfig(0.1, 0.05, 0.05))
    """Drawn for every frame."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted per channel (RGB, range 0 to 1), on the device."""
    std: tuple[float, float, float] = setting((0.229, 0.224, 0.225), above=0)
    """Divided by per channel, after the mean."""


@dataclass(frozen=True)
class MixedSetConfig(VosDatasetConfig):
    """One dataset of several that are trained on. What is not set has its own default, not that of section dataset."""

    weight: float = setting(1.0, above=0)
    """How often an epoch goes through it: 1: each video once; 0.5: half of the videos, others in every epoch."""
    num_frames: int | None = setting(None, at_least=1)
    """Frames per clip; null: dataset.num_frames."""
    max_num_objects: int | None = setting(None, at_least=1)
    """Objects per clip, at most; null: dataset.max_num_objects."""
    batch_size: int | None = setting(None, at_least=1)
    """Clips per device in one forward pass; null: loader.batch_size."""
    transforms: TransformsConfig | None = None
    """Its augmentation; null: that of section transforms."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        yield from super().problems(where)
        if self.multiplier != 1:
            yield f"{where}.multiplier={self.multiplier} has no effect here: set {where}.weight={self.multiplier}"


@dataclass(frozen=True)
class ValidationSetConfig(VosDatasetConfig):
    """Videos that are measured and not trained on."""

    data_path: str | None = setting(None, free=True, aliases=("data.val_path",))
    """Annotation file, or folder of them, as dataset.data_path. Frames are then looked for in dataset.img_folder, if
    this section has no img_folder of its own."""
    num_frames: int | None = setting(None, at_least=1, aliases=(".video_clip_length",))
    """Frames of the clip that the validation loss is computed over; null: dataset.num_frames."""
    batch_size: int = setting(1, at_least=1, at_most=1)
    """Videos at once: they are measured one by one, so that numbers do not depend on it."""
    num_workers: int = setting(1, at_least=0)
    """Threads that read frames ahead of the network, per process; 0: none, each is read when it is needed. Numbers do
    not depend on it."""
    shuffle: bool = False
    """Always false: a validation takes its videos in their order."""

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        yield from super().problems(where)
        if self.shuffle:
            yield f"{where}.shuffle=true: a validation takes its videos in their order, so its numbers can be compared"


@dataclass(frozen=True)
class TrainingSetConfig(VosDatasetConfig):
    """Which videos are trained on, and what a clip is."""

    data_path: str | None = setting(None, free=True, aliases=("data.train_path",))
    """Annotation file, or folder of them, of formats that have documents in place of mask PNGs; gt_folder is read as
    such where this is null."""
    img_folder: str | None = setting(None, free=True, aliases=("data.img_folder",))
    """Folder with one folder of frames (jpg, jpeg, png, webp) per video; with data_path, the folder that paths of
    frames start from (null: that of the annotations), also for val_dataset if that has data_path and no img_folder."""
    num_frames: int = setting(1, at_least=1, aliases=("scratch.num_frames", ".video_clip_length"))
    """Frames per clip."""
    max_num_objects: int = setting(3, at_least=1, aliases=("scratch.max_num_objects", "model.max_objects"))
    """Objects per clip, at most; chosen at random among those visible in the clip's first frame."""

    sets: tuple[MixedSetConfig, ...] = setting((), free=True)
    """Further datasets, of any formats, that are trained on beside the section's own videos (img_folder null: instead
    of them), such as pictures (num_frames 1) beside videos. A step's clips are of one dataset; see docs/data.md."""

    @property
    def has_own_videos(self) -> bool:
        return not self.sets or bool(self.img_folder or self.data_path) or self.is_generated

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        if self.has_own_videos:
            yield from super().problems(where)
        elif self.val_fraction:
            yield (
                f"{where}.val_fraction={self.val_fraction} holds out videos of {where}.img_folder, of which there are "
                f"none: set {where}.val_fraction=0, and give the videos to measure as val_dataset"
            )

    def of_set(self, number: int) -> TrainingSetConfig:
        """Clips of one of the further datasets."""
        chosen = self.sets[number]
        values = {item.name: getattr(chosen, item.name) for item in fields(VosDatasetConfig)}
        return TrainingSetConfig(
            **values,
            num_frames=chosen.num_frames or self.num_frames,
            max_num_objects=chosen.max_num_objects or self.max_num_objects,
        )

    def with_videos_of(self, other: VosDatasetConfig) -> TrainingSetConfig:
        """The same clips, cut from the videos of another dataset, and as long as that says."""
        found = replace(self, **{item.name: getattr(other, item.name) for item in fields(VosDatasetConfig)})
        num_frames = other.num_frames if isinstance(other, ValidationSetConfig) else None
        return found if num_frames is None else replace(found, num_frames=num_frames)
