"""The formats that videos are read from, one module each; only this table knows their names."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam2_training.data.config import DatasetConfig
    from sam2_training.data.source import VideoSource


@dataclass(frozen=True)
class Format:
    """A kind of dataset, as dataset.dataset_type names it."""

    module: str
    """Has `open_source(config: DatasetConfig, seed: int) -> VideoSource`; imported when the format is used."""
    needs: tuple[str, ...] = ()
    """Keys of the dataset section that must be set."""
    generated: bool = False
    """Videos have no files and no names of their own, so none can be held out."""


FORMATS: dict[str, Format] = {
    "video": Format("sam2_training.data.formats.folders", needs=("img_folder", "gt_folder")),
    "synthetic": Format("sam2_training.data.formats.synthetic", generated=True),
}
"""{value of dataset.dataset_type: its format}; a line here adds one."""


def open_source(config: DatasetConfig, seed: int = 0) -> VideoSource:
    """The videos that a configuration names. seed: of generated ones. Raises DataError."""
    source: VideoSource = import_module(FORMATS[config.dataset_type].module).open_source(config, seed)
    return source
