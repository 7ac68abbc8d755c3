"""Configuration of data: which files, and what happens with those that are damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from sam2_training.core.settings import setting
from sam2_training.data.formats import AUTO, FORMATS, SPELLINGS, format_name, format_problems, missing_keys
from sam2_training.data.labels import LARGEST_VALUE, LabelRules

Orientation = Literal["stored", "shown"]
"""Pixels of a frame as they are stored, or turned as its EXIF orientation says and viewers show them."""


@dataclass(frozen=True)
class SyntheticConfig:
    """Generated videos (dataset.dataset_type=synthetic): textured shapes that move, cross, leave and return."""

    num_videos: int = setting(256, at_least=1)
    """Different videos in the dataset."""
    num_frames: int = setting(8, at_least=1)
    """Frames of each generated video."""
    size: int = setting(96, at_least=32, unit="pixels")
    """Side of the square frames."""
    num_objects: int = setting(2, at_least=1)
    """Objects in each video."""


@dataclass(frozen=True)
class IntensityConfig:
    """Which values of stacks of frames (dataset.dataset_type=stack) become black and white, 0 and 255.

    Values between are scaled linearly, others cut off. Without a setting, frames of 8 bits stay as they are, and others
    are scaled between the percentiles 0.5 and 99.5.
    """

    percentiles: tuple[float, float] | None = setting(None, at_least=0, at_most=100, ascending=True, unit="percent")
    """From each video's values: such a share of all its pixels is darker than black, or than white. Exact for integers
    of up to 16 bits; for others from 4 million pixels at equal distances."""
    range: tuple[float, float] | None = setting(None, ascending=True)
    """The same two values for all videos, such as [0, 4095]."""


@dataclass(frozen=True)
class DatasetConfig:
    """Which videos, and what happens with those that do not fit."""

    dataset_type: str = setting(AUTO, free=True)
    """The format, see docs/data.md; "auto": the one that the files are of, which the start says. "video": a folder of
    frames and a folder of masks per video; "synthetic": generated videos, no files."""
    data_path: str | None = setting(None, free=True)
    """Annotation file, or folder of them, of formats that have documents in place of mask PNGs; gt_folder is read as
    such where this is null."""
    img_folder: str | None = setting(None, free=True)
    """Folder with one folder of frames (jpg, jpeg, png, webp) or one video file (mp4, m4v, mov, avi, mkv, webm) per
    video; or one video file; or a text file that lists video files."""
    gt_folder: str | None = setting(None, free=True)
    """Folder with one folder of mask PNGs per video (palette, 8- or 16-bit gray: pixel value = object id), or, inside
    that, one folder per object."""
    file_list_txt: str | None = setting(None, free=True)
    """Text file with one video name a line: only these are used. Empty lines and lines that start
    with # are skipped."""
    masklets: Literal["manual", "auto", "both"] = "manual"
    """Which of SA-V's files are read: <video>_manual.json, <video>_auto.json, or both, manual masklets first."""
    ann_every: int | None = setting(None, at_least=1, unit="frames")
    """Distance of SA-V's annotated frames in the frames that are given, from the first one on. null: 1, or 4, as in
    SA-V itself, or the smallest other that fits the numbers of frames and annotated frames."""
    decoder: Literal["pyav"] = "pyav"
    """What decodes video files: pyav, FFmpeg's libraries as they come with PyAV. Its version stands in provenance.json;
    pixels that it decodes to others are noticed when a run is resumed."""
    orientation: Orientation | None = None
    """What masks and prompts lie on where frames have an EXIF orientation: the pixels as they are stored, or the
    picture as viewers show it (frames are then turned when they are read). null: such frames are an error. Frames of
    an mp4 are always read as players show them."""
    targets: Literal["track", "category"] | None = None
    """What an object is, for formats coco and ytvis: track, one object for each track (track_id, instance_id, or CVAT's
    attributes.track_id; with ytvis each annotation is one), or category, all annotations of a category in a frame.
    null: track where annotations have one, else category."""
    ignore_ids: tuple[int, ...] = setting((), at_least=1, at_most=LARGEST_VALUE)
    """Values of mask pixels that take no part in losses, prompts and scores, such as [255] for a rim of void."""
    object_ids: tuple[int, ...] | None = setting(None, at_least=0, at_most=LARGEST_VALUE)
    """Only these are objects: values of pixels, or, with a folder per object, ids of folders. Other values are
    background, and the start says how many. null: every value but 0 and ignore_ids is an object."""
    binary_masks: Literal["nonzero", "half"] | None = None
    """Each mask file is one object, whatever its values: nonzero, any but 0; half, those of at least half of the
    range, which undoes soft edges. null: values are ids, and soft edges are refused."""
    palette: str | None = setting(None, aliases=(".colors",))
    """What palette PNGs mean. null: indices are ids, and files of one video must agree on the colors of the indices
    that they use; index: indices are ids whatever their colors; color (or first_seen): each color is an object,
    numbered in the order of a video's first masks, and black is background (also for RGB masks); else a file that names
    the id of each color, a palette PNG, or text with lines "id red green blue"."""
    intensity: IntensityConfig = field(default_factory=IntensityConfig)
    channel: int | None = setting(None, at_least=1)
    """Which channel of TIFF stacks with several is the picture, counted from 1."""
    identity: Literal["track", "overlap", "class"] | None = None
    """How regions of different frames are one object, in formats that do not say it (yolo_seg), whose folders are then
    videos. track: by the number at the end of a line; overlap: with the region of the same class in the labeled frame
    before that overlaps most, see identity_iou; class: all regions of a class. null: each image is a video."""
    identity_iou: float = setting(0.3, above=0, at_most=1)
    """With identity=overlap: the smallest IoU of two regions that are linked. The banner says how many links had
    several candidates. SORT takes the same threshold: Bewley et al., "Simple online and realtime tracking", 2016."""
    on_bad_sample: Literal["error", "skip"] = "error"
    """A clip whose files turn out damaged while training: stop, or leave it out of its batch and count it."""
    max_bad_fraction: float = setting(0.01, at_least=0, at_most=1)
    """With on_bad_sample=skip: the run stops when more than this fraction of an epoch's clips was left out."""
    val_fraction: float = setting(0.0, at_least=0, below=1)
    """Without val_dataset: hold out about this fraction of the videos for validation. A hash of a video's name decides,
    so that videos stay on their side when others are added; at least one is held out and one is trained on. With
    val_dataset all videos are trained on."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)

    def __post_init__(self) -> None:
        if self.palette == "first_seen":
            object.__setattr__(self, "palette", "color")  # one value has one spelling in what a run keeps

    @property
    def is_generated(self) -> bool:
        name = format_name(self.dataset_type)
        return name in FORMATS and FORMATS[name].generated

    @property
    def annotations(self) -> str:
        """The annotation file or folder; "" if none is set."""
        return self.data_path or self.gt_folder or ""

    @property
    def label_rules(self) -> LabelRules:
        """What the values in mask files mean."""
        return LabelRules(self.ignore_ids, self.object_ids, self.binary_masks, self.palette)

    def problems(self, where: str) -> Iterator[str]:
        """What does not go together in this section, which stands at `where` in the configuration."""
        yield from self._label_problems(where)
        name = format_name(self.dataset_type)
        if name == AUTO:
            if self.data_path is None:
                yield from missing_keys(self, "video", where)
        elif name not in FORMATS:
            close = get_close_matches(self.dataset_type, [*FORMATS, *SPELLINGS], n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            formats = ", ".join([AUTO, *FORMATS])
            yield f"{where}.dataset_type={self.dataset_type!r} is not a format; {hint}there are: {formats}"
        else:
            yield from format_problems(self, name, where)
        if self.val_fraction and where != "dataset":
            yield f"{where}.val_fraction={self.val_fraction}: only dataset.val_fraction holds videos out; remove it"
        if self.val_fraction and self.is_generated:
            yield (
                f"{where}.val_fraction={self.val_fraction}: generated videos have no names; give a val_dataset, or "
                "set it to 0"
            )

    def _label_problems(self, where: str) -> Iterator[str]:
        if self.intensity.percentiles is not None and self.intensity.range is not None:
            yield f"{where}.intensity.percentiles and {where}.intensity.range are both set: set one of them to null"
        both = sorted(set(self.ignore_ids) & set(self.object_ids or ()))
        if both:
            yield f"{where}.object_ids and {where}.ignore_ids both name {both[0]}: a value is an object or ignored"
        if self.object_ids is not None and not self.object_ids:
            yield f"{where}.object_ids is empty, so nothing would be an object: name ids, or null for all"
        if self.binary_masks is not None and self.palette == "color":
            yield (
                f"{where}.binary_masks={self.binary_masks} with {where}.palette=color: a file is one object, or each "
                "color is; set one of them to null"
            )
        if self.palette == "color" and self.ignore_ids:
            yield (
                f"{where}.palette=color numbers the colors itself, so {where}.ignore_ids cannot name one: give a "
                "palette file with the ids of all colors"
            )
