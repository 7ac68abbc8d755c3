"""Configuration of data: which files, and what happens with those that are damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal


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
        if not 0 <= self.max_bad_fraction <= 1:
            yield f"{where}.max_bad_fraction={self.max_bad_fraction} must lie between 0 and 1"
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
