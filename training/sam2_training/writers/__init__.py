"""Files that masks are written to, one module a format; only this table knows their names."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam2_training.writers.writer import MaskWriter

WRITERS: dict[str, str] = {
    "davis": "sam2_training.writers.davis",
    "coco": "sam2_training.writers.coco",
    "ytvis": "sam2_training.writers.ytvis",
    "sav": "sam2_training.writers.sav",
    "cvat": "sam2_training.writers.cvat",
    "labelme": "sam2_training.writers.labelme",
    "tiff": "sam2_training.writers.tiff",
}
"""{format: its module, which has a `MaskWriter` called Writer}; a line here adds one."""


def open_writer(name: str, folder: Path) -> MaskWriter:
    """The writer of a format in WRITERS. folder: its files lie below it."""
    writer: MaskWriter = import_module(WRITERS[name]).Writer(folder)
    writer.name = name
    return writer
