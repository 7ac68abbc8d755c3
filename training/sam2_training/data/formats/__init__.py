"""The formats that videos are read from, one module each; only this table knows their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sam2_training.data.config import DatasetConfig
    from sam2_training.data.source import VideoSource


@dataclass(frozen=True)
class Format:
    """A kind of dataset, as dataset.dataset_type names it."""

    module: str
    """Has `open_source(config: DatasetConfig, seed: int) -> VideoSource`, and, if files can be told to be of this
    format, `recognizes(config: DatasetConfig) -> bool`, which is quick and reads little. Imported when it is used."""
    needs: tuple[str, ...] = ()
    """Keys of the dataset section that must be set; "annotations": data_path, or gt_folder in its place."""
    generated: bool = False
    """Videos have no files and no names of their own, so none can be held out."""
    options: tuple[str, ...] = ()
    """Keys in `OF_SOME_FORMATS` that this format heeds; any other of them is refused."""


LABEL_VALUES = ("ignore_ids", "object_ids", "binary_masks", "palette")
"""Keys that say what the values of pixels mean, for formats whose masks are pictures."""
DOCUMENT_KEYS = ("orientation", "targets")
"""Keys of formats in which one document describes all videos."""
SAV_KEYS = ("masklets", "ann_every")
"""Keys of SA-V."""
OF_SOME_FORMATS = (
    *LABEL_VALUES,
    "orientation",
    "intensity",
    "channel",
    "targets",
    *SAV_KEYS,
    "identity",
    "identity_iou",
)
"""Keys of the dataset section that only some formats heed."""

AUTO = "auto"
"""The value of dataset.dataset_type that leaves it to the files."""
FORMATS: dict[str, Format] = {
    "video": Format(
        "sam2_training.data.formats.folders",
        needs=("img_folder", "gt_folder"),
        options=(*LABEL_VALUES, "orientation"),
    ),
    "mots": Format(
        "sam2_training.data.formats.mots",
        needs=("img_folder", "annotations"),
        options=("ignore_ids", "object_ids", "orientation"),
    ),
    "sav": Format("sam2_training.data.formats.sav", needs=("annotations",), options=("orientation", *SAV_KEYS)),
    "sa1b": Format("sam2_training.data.formats.sa1b", needs=("annotations",), options=("orientation",)),
    "cvat": Format("sam2_training.data.formats.cvat", needs=("annotations",), options=("orientation",)),
    "yolo_seg": Format(
        "sam2_training.data.formats.yolo_seg",
        needs=("annotations",),
        options=("orientation", "identity", "identity_iou"),
    ),
    "labelme": Format("sam2_training.data.formats.labelme", needs=("annotations",), options=("orientation",)),
    "stack": Format(
        "sam2_training.data.formats.stacks",
        needs=("annotations",),
        options=(*LABEL_VALUES, "orientation", "intensity", "channel"),
    ),
    "coco": Format("sam2_training.data.formats.coco_video", needs=("annotations",), options=DOCUMENT_KEYS),
    "ytvis": Format("sam2_training.data.formats.youtube_vis", needs=("annotations",), options=DOCUMENT_KEYS),
    "supervisely": Format("sam2_training.data.formats.supervisely", needs=("annotations",), options=("orientation",)),
    "synthetic": Format("sam2_training.data.formats.synthetic", generated=True),
}
"""{value of dataset.dataset_type: its format}; a line here adds one."""
SPELLINGS: dict[str, str] = {
    "coco_video": "coco",
    "youtube_vis": "ytvis",
    "folders": "video",
    "roboflow": "sa1b",
    "davis": "video",
    "xanylabeling": "labelme",
    "tiff": "stack",
}
"""{other names of formats: theirs}."""


_CURE = (
    "Name the format in dataset.dataset_type; its messages then say what is missing. docs/data.md shows what each "
    "looks like."
)


def format_name(dataset_type: str) -> str:
    """The name in FORMATS, or AUTO, of a value of dataset.dataset_type; the value itself if it is none."""
    return SPELLINGS.get(dataset_type, dataset_type)


def detected_format(config: DatasetConfig) -> str:
    """The name of the format that the files are of; "video" if no other is recognized.

    Raises DataError if they could be of several, and for annotations in data_path that are of none.
    """
    found = [name for name, one in FORMATS.items() if _recognizes(one, config)]
    if len(found) > 1:
        raise DataError(
            f"the dataset could be of several formats, {' and '.join(found)}: {config.annotations}\n"
            f"Set dataset.dataset_type to one of them."
        )
    if not found and config.data_path and not config.gt_folder:
        is_there = g_pathmgr.exists(config.data_path)
        raise DataError(
            f"dataset.data_path {'is of no format that is recognized' if is_there else 'does not exist'}: "
            f"{config.data_path}\n{_CURE if is_there else 'Correct the path.'}"
        )
    return found[0] if found else "video"


def open_source(config: DatasetConfig, seed: int = 0) -> VideoSource:
    """The videos that a configuration names. seed: of generated ones. Raises DataError, ConfigError."""
    name = format_name(config.dataset_type)
    if name == AUTO:
        name = detected_format(config)
        problems = list(format_problems(config, name, "dataset"))
        if problems:
            raise ConfigError(problems)
    source: VideoSource = import_module(FORMATS[name].module).open_source(config, seed)
    source.format_name = name
    return source


def format_problems(config: DatasetConfig, name: str, where: str) -> Iterator[str]:
    """What is not set that a format needs, and what is set that it does not heed. where: the section's name."""
    yield from missing_keys(config, name, where)
    chosen = FORMATS[name]
    plain: Any = type(config)()
    for key in OF_SOME_FORMATS:
        if key not in chosen.options and getattr(config, key) != getattr(plain, key):
            why = "generated videos have no files" if chosen.generated else f"format {name} does not use it"
            yield f"{where}.{key} has no effect here: {why}; remove it"


def missing_keys(config: DatasetConfig, name: str, where: str) -> Iterator[str]:
    """What is not set that a format needs. where: the section's name."""
    for key in FORMATS[name].needs:
        if not getattr(config, key):
            if key == "annotations":
                yield f"{where}.data_path is not set: format {name} needs the annotation file or folder"
            else:
                yield f"{where}.{key} is not set: give the folder with one folder of files per video"


def _recognizes(one: Format, config: DatasetConfig) -> bool:
    recognizes = getattr(import_module(one.module), "recognizes", None)
    try:
        return recognizes is not None and bool(recognizes(config))
    except NotImplementedError:
        return False  # a store's path handler that lists and opens only cannot say whether one path is there
