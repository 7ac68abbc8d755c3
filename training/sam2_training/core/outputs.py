"""Results land neither on what is read nor on files that are not ours: output folders are checked before any work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sam2_training.core.errors import ConfigError, DataError
from sam2_training.core.files import write_text
from sam2_training.core.text import some

MANIFEST = ".sam2_training_outputs.json"
"""In each output folder: the files there that are ours, by folder. Only these are ever replaced.

{"files": {folder below the output folder: [name, ...]}, "whole_folder": whether an earlier version, which kept no such
list, wrote all that was there}
"""

Inputs = Mapping[str, str | Path | None]
"""{setting or option: file or folder that is read}; None and paths that only iopath understands count as none."""


class OutputFolder:
    """A folder for results, and the names of the files that will be written into it."""

    def __init__(
        self,
        folder: Path,
        option: str,
        inputs: Inputs,
        made_by_earlier_version: Callable[[Path], bool] = lambda folder: False,
        link_depth: int = 2,
    ) -> None:
        """option: what names the folder, for messages, such as "--output".

        made_by_earlier_version: whether a folder without manifest is known by its content as one of ours, so that all
        in it may be replaced. link_depth: how deep below an input folder links are looked for, where the output folder
        has been written before: 1: among its entries, 2: among theirs as well.
        """
        self.folder, self._option = folder, option
        self._inputs = {name: Path(path) for name, path in inputs.items() if path and os.path.exists(path)}  # noqa: PTH110
        self._made_by_earlier_version, self._link_depth = made_by_earlier_version, link_depth

    def check(self, names: Collection[str]) -> None:
        """Raises ConfigError unless all of the names may be written: see the module. Changes nothing.

        names: paths of files below the folder, with "/" between their parts; "parts/" stands for a folder of files
        whose names are not known yet.
        """
        self._require_not_inside_input(names)
        self._require_input_not_inside(sorted({PurePosixPath(name).parts[0] for name in names}))
        self._require_ours(names)

    def record(self, names: Collection[str]) -> None:
        """Makes the folder, and lists the names as ours in its manifest; to be called before the first is written."""
        former, whole_folder = self._recorded()
        files = {parent: set(found) for parent, found in former.items()}
        for parent, found in _by_folder(names).items():
            files.setdefault(parent, set()).update(found)
        if files == former:
            return
        content = {
            "files": {parent: sorted(found) for parent, found in sorted(files.items())},
            "whole_folder": whole_folder,
        }
        write_text(self.folder / MANIFEST, json.dumps(content, indent=1) + "\n")

    def _require_not_inside_input(self, names: Collection[str]) -> None:
        real = os.path.realpath(self.folder)
        for parent in ["", *_by_folder(names)]:
            folder = os.path.realpath(self.folder / parent)
            if parent and folder == os.path.join(real, parent.rstrip("/")):  # noqa: PTH118 - a resolved path as text
                continue  # no link on the way: it is where the output folder is
            for name, path in self._inputs.items():
                if path.is_dir() and _is_inside(folder, path):
                    raise self._refusal(f"{'it' if folder == real else parent} lies in {name} ({path})")
            if not _is_below(folder, real):
                raise self._refusal(f"{parent} leads out of it, to {folder}")

    def _require_input_not_inside(self, roots: Sequence[str]) -> None:
        targets = {root: self.folder / root for root in roots if (self.folder / root).exists()}
        if not targets:
            return
        for name, path in self._inputs.items():
            for one in (path, *_links_in(path, self._link_depth)):
                real = os.path.realpath(one)
                for root, target in targets.items():
                    if _is_inside(real, target):
                        where = f"{name} ({path})" if one == path else f"{name}, by the link {one},"
                        raise self._refusal(f"{where} {'is' if one.samefile(target) else 'lies in'} its {root}")

    def _require_ours(self, names: Collection[str]) -> None:
        if not self.folder.is_dir():
            return
        ours, whole_folder = self._recorded()
        if whole_folder:
            return
        foreign = [
            f"{parent}/{name}" if parent else name
            for parent, found in _by_folder(names).items()
            for name in sorted(found - ours.get(parent, set()))
            if name and _holds_something(self.folder / parent / name)
        ]
        if foreign:
            raise ConfigError(
                f"{self._option} {self.folder} holds files that would be replaced, and that no earlier run is known to "
                f"have written: {some(foreign)}. Give another {self._option}, or move them away"
            )

    def _recorded(self) -> tuple[dict[str, set[str]], bool]:
        """({folder: names}, is all in it ours?) of the manifest. Raises ConfigError for one that is not intact."""
        path = self.folder / MANIFEST
        if not path.is_file():
            return {}, self._made_by_earlier_version(self.folder)
        try:
            content = json.loads(path.read_text())
            files = {str(parent): set(map(str, found)) for parent, found in content["files"].items()}
            return files, content["whole_folder"] is True
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path} is not intact ({error}), so that nobody knows which files in {self.folder} may be replaced. "
                f"Give another {self._option}, or remove the folder"
            ) from error

    def _refusal(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self._option} {self.folder}: {what}, and a result must not replace what is read. "
            f"Give another {self._option}"
        )


def below(folder: Path, *names: str) -> Path:
    """folder/names[0]/names[1]...; raises DataError if that is not below the folder, by "..", a root or a link."""
    path = folder.joinpath(*names)
    if not _is_below(os.path.realpath(path.parent), os.path.realpath(folder)):
        raise DataError(f"a result would be written outside of its folder {folder}: {path}\nRename {'/'.join(names)}.")
    return path


def _by_folder(names: Collection[str]) -> dict[str, set[str]]:
    """{folder, "" for the output folder itself: names in it}"""
    folders: dict[str, set[str]] = {}
    for name in names:
        parent, _, last = name.rpartition("/")
        folders.setdefault(parent, set()).add(last)
    return folders


def _is_below(path: str, folder: str) -> bool:
    """Whether a resolved path is another one, or below it; by name."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_inside(path: str, folder: Path) -> bool:
    """Whether a resolved path, which need not exist, is a file or folder that exists, or lies below it.

    By device and inode, so that other spellings on a case-blind disk and mounts of the same folder count as the same.
    """
    there = folder.stat()
    for one in (Path(path), *Path(path).parents):
        try:
            if os.path.samestat(one.stat(), there):
                return True
        except OSError:  # not there (yet): its parents decide
            continue
    return False


def _links_in(folder: Path, depth: int) -> Iterator[Path]:
    """Links below a folder, down to `depth` folders deep, whose targets exist."""
    if not folder.is_dir() or not depth:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and os.path.exists(entry.path):  # noqa: PTH110
                yield Path(entry.path)
            if entry.is_dir():
                yield from _links_in(Path(entry.path), depth - 1)


def _holds_something(path: Path) -> bool:
    """Whether there is a file, a link, or a folder that is not empty."""
    return any(path.iterdir()) if path.is_dir() and not path.is_symlink() else os.path.lexists(path)
