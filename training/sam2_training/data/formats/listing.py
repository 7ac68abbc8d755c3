"""What lies in a folder, through iopath's path manager; only local folders have links and an identity."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable

from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.text import natural_key
from sam2_training.data.images import read_bytes
from sam2_training.data.pairing import FolderOfFrames, frames_among, is_of_system


def join(folder: str, *names: str) -> str:
    """A path below folder; folder may be a path that only iopath understands, such as store://bucket/x."""
    return posixpath.join(folder, *names)


def list_names(folder: str) -> list[str]:
    """All names in a folder, in natural order. Raises DataError if the folder cannot be listed."""
    try:
        names = [name.rstrip("/") for name in g_pathmgr.ls(folder)]
    except OSError as error:
        raise DataError(f"the folder cannot be listed ({error.strerror or error}): {folder}") from error
    return sorted((name for name in names if name), key=natural_key)


def list_folders(folder: str, names: Iterable[str]) -> list[str]:
    """Those of the names in a folder that are folders, without those of other programs.

    Raises DataError for a link that leads nowhere: a folder was meant, and it would be missed in silence.
    """
    folders = []
    for name in names:
        path = join(folder, name)
        if is_of_system(name):
            continue
        if g_pathmgr.isdir(path):
            folders.append(name)
        elif os.path.islink(path) and not os.path.exists(path):  # noqa: PTH110, PTH114 - a store's path is not a Path
            raise DataError(
                f"the link leads nowhere: {path} -> {os.readlink(path)}\nRepair or remove it."  # noqa: PTH115
            )
    return folders


def are_one(folder: str, other: str) -> bool:
    """Whether two paths lead to one folder; False for those of a store, which have no identity."""
    try:
        return os.path.samefile(folder, other)  # noqa: PTH121
    except OSError:
        return False


def frames_of(folder: str) -> FolderOfFrames:
    """The frames in a folder, in order. Raises DataError: see `frames_among`."""

    def same_content(one: str, other: str) -> bool:
        return read_bytes(join(folder, one)) == read_bytes(join(folder, other))

    return frames_among(list_names(folder), folder, same_content)
