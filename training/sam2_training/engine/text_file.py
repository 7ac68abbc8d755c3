"""Small text files of a run, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from iopath.common.file_io import g_pathmgr


def write_text(path: Path, text: str) -> None:
    """Replaces the file at `path`; a reader sees the old text or the new, never half. Makes the folder if need be."""
    g_pathmgr.mkdirs(str(path.parent))
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with g_pathmgr.open(str(unfinished), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
