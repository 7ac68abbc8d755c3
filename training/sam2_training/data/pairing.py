"""Which mask belongs to which frame: names compared as people see them, and what a folder holds besides.

Names only; `data.formats.folders` lists the folders. Whatever is not used is kept with its reason (`LeftOut`), and what
cannot be meant is a DataError.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal, NamedTuple, get_args

from sam2_training.core.errors import DataError
from sam2_training.core.text import count, shown, some

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MASK_SUFFIX = ".png"
OTHER_PICTURES = frozenset(
    {
        *(".tif", ".tiff", ".bmp", ".dib", ".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".jfif"),
        *(".exr", ".hdr", ".dpx", ".tga", ".ppm", ".pgm", ".pnm", ".dng", ".cr2", ".nef", ".arw"),
    }
)
"""Suffixes of pictures that are not read."""

_OF_SYSTEMS = frozenset(
    {
        *("@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot"),  # Synology, QNAP
        *("__macosx", "icon\r", "network trash folder", "temporary items"),  # macOS
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),  # Windows
        *("lost+found", "__pycache__"),
    }
)

Reason = Literal[
    "copies of other frames",
    "pictures of kinds that are not read",
    "masks without a frame",
    "hidden and system files",
    "files of other kinds",
]
"""Why files are not used."""
REASONS: tuple[Reason, ...] = get_args(Reason)

NameKey = tuple[str | tuple[int, str], ...]
"""Texts and numbers in turn, a number as (whole part, decimals); equal for names that people take for the same."""

_NUMBER = re.compile(r"(\d+)")
_DECIMAL = re.compile(r"((?<!\d)(?<!\d\.)\d+\.\d+(?!\.?\d)|\d+)")
_WORDS = r"[^\W\d_]+(?:[ ._-]+[^\W\d_]+)*"
_DECORATIONS = (
    re.compile(rf"(?P<base>.*\d.*?)(?:[ ._-]+|(?<=\d)){_WORDS}(?:[ _-]?\d+| ?\(\d+\))?"),  # 7_mask, 7 - Copy (2)
    re.compile(r"(?P<base>.*\d.*?) ?\(\d+\)"),  # 7 (1)
    re.compile(rf"{_WORDS}[ ._-]+(?P<base>.*\d.*)"),  # mask_7, Copy of 7
)
"""How programs name a second picture of a frame after its name, which holds a number."""
_MASK_WORD = re.compile(
    r"(?<![^\W\d_])(?:masks?|seg|segmentations?|labels?|annotations?|gt|groundtruth|matte|alpha)(?![^\W\d_])",
    re.IGNORECASE,
)


class LeftOut(NamedTuple):
    """A file or folder that is not used."""

    reason: Reason
    name: str


def left_out_line(reason: Reason, number: int, names: Sequence[str]) -> str:
    """A line for a banner. names: the first of `number` files."""
    more = f" and {number - len(names)} more" if number > len(names) else ""
    return f"{reason}: {number} ({', '.join(map(shown, names))}{more})"


class FolderOfFrames(NamedTuple):
    """The frames of a video."""

    files: dict[NameKey, str]
    """{key of the name without suffix: file}, in order."""
    decimals: bool
    """Whether names hold decimals: see `name_key`."""
    left_out: tuple[LeftOut, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """File names, in order."""
        return tuple(self.files.values())


def is_of_system(name: str) -> bool:
    """Whether a file or folder is hidden, or one that file managers, archives and file systems leave behind."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def name_key(name: str, decimals: bool = False) -> NameKey:
    """A key that is equal for names that look the same: accents however composed, numbers however padded.

    decimals: 1.5 and 1.50 are one number, and 1.25 comes before it; otherwise the dot parts two numbers.
    """
    parts = (_DECIMAL if decimals else _NUMBER).split(unicodedata.normalize("NFC", name))
    return tuple(_number(part) if place % 2 else part for place, part in enumerate(parts))


def _number(text: str) -> tuple[int, str]:
    whole, _, fraction = text.partition(".")
    return int(whole), fraction.rstrip("0")


def hold_decimals(stems: Sequence[str]) -> bool:
    """Whether dots between digits are decimal points: no two names may then be one number, as 1.1 and 1.10 are."""
    if not any("." in stem for stem in stems):
        return False
    return len({name_key(stem, decimals=True) for stem in stems}) >= len({name_key(stem) for stem in stems})


def _in_order(file: str, decimals: bool) -> tuple[object, ...]:
    """Sort key of file names: numbers by value, letters whatever their case."""
    return name_key(file.casefold(), decimals), file


def frames_among(names: Iterable[str], folder: str, same_content: Callable[[str, str], bool]) -> FolderOfFrames:
    """The frames among the names in a folder, in order.

    same_content: whether two files of the folder are equal; asked of files that are named like copies. Raises DataError
    if there is no frame; if two files stand for one frame; and if pictures that are numbered like the frames are of a
    kind that is not read.
    """
    frames, pictures, left_out = [], [], []
    for name in names:
        suffix = PurePosixPath(name).suffix.lower()
        if is_of_system(name):
            left_out.append(LeftOut("hidden and system files", name))
        elif suffix in FRAME_SUFFIXES:
            frames.append(name)
        elif suffix in OTHER_PICTURES:
            pictures.append(name)
            left_out.append(LeftOut("pictures of kinds that are not read", name))
        else:
            left_out.append(LeftOut("files of other kinds", name))
    if not frames:
        found = f"; it holds {some(pictures)}" if pictures else ""
        raise DataError(
            f"no frame ({', '.join(FRAME_SUFFIXES)}) in the video's folder: {folder}{found}\n"
            "Put the frames there, or convert them."
        )
    decimals = hold_decimals([_stem(name) for name in frames])
    frames.sort(key=lambda name: _in_order(name, decimals))
    files = by_key(frames, decimals, folder)
    copies = _second_pictures(files, decimals, folder, same_content)
    _require_read(pictures, files, decimals, folder)
    kept = {key: file for key, file in files.items() if key not in copies}
    left_out += [LeftOut("copies of other frames", files[key]) for key in copies]
    return FolderOfFrames(kept, decimals, tuple(left_out))


def masks_among(
    names: Iterable[str], folder: str, frames: FolderOfFrames, prefix: str = ""
) -> tuple[dict[NameKey, str], list[LeftOut]]:
    """({key of a frame: its mask file}, what is left out) of the names in a folder of masks.

    prefix: set before the names that are left out. Raises DataError if two files are masks of one frame.
    """
    left_out: list[LeftOut] = []
    masks = []
    for name in names:
        if is_of_system(name):
            left_out.append(LeftOut("hidden and system files", prefix + name))
        elif not name.lower().endswith(MASK_SUFFIX):
            left_out.append(LeftOut("files of other kinds", prefix + name))
        else:
            masks.append(name)
    found = by_key(masks, frames.decimals, folder)
    left_out += [
        LeftOut("masks without a frame", prefix + file) for key, file in found.items() if key not in frames.files
    ]
    return {key: file for key, file in found.items() if key in frames.files}, left_out


def by_key(files: Iterable[str], decimals: bool, folder: str) -> dict[NameKey, str]:
    """{key of a file's name without suffix: file}. Raises DataError if two files have one key."""
    found: dict[NameKey, str] = {}
    for file in files:
        key = name_key(_stem(file), decimals)
        if key in found:
            raise DataError(f"two files for one frame, {found[key]} and {file}, in {folder}\nKeep one of them.")
        found[key] = file
    return found


def by_visible_name(names: Iterable[str]) -> dict[NameKey, str]:
    """{key: name} of the names that people take for no other among them."""
    keys: dict[NameKey, list[str]] = {}
    for name in names:
        keys.setdefault(name_key(name), []).append(name)
    return {key: found[0] for key, found in keys.items() if len(found) == 1}


def is_start_of_longer(labeled: Sequence[bool]) -> bool:
    """Whether the labeled frames are exactly the first two or more of a longer video.

    So look masks of frames from all over a video whose numbers an export counted anew.
    """
    number = sum(labeled)
    return 2 <= number < len(labeled) and all(labeled[:number])


def _stem(file: str) -> str:
    return PurePosixPath(file).stem


def _pattern(key: NameKey) -> NameKey:
    """What names have in common that are numbered in one way: their texts."""
    return key[::2]


def _second_pictures(
    files: Mapping[NameKey, str], decimals: bool, folder: str, same_content: Callable[[str, str], bool]
) -> set[NameKey]:
    """Keys of the files that are copies of others. Raises DataError for second pictures that are none."""
    if len({_pattern(key) for key in files}) == 1:
        return set()
    numbered = {key[1::2]: key for key, file in files.items() if not _MASK_WORD.search(file)}
    copies, others = set(), []
    for key, file in files.items():
        base = _base_of(file, files, decimals)
        if base is None and _MASK_WORD.search(file):
            base = numbered.get(key[1::2])
        if base is None:
            continue
        if same_content(files[base], file):
            copies.add(key)
        else:
            others.append((files[base], file))
    if others:
        base_file, second = others[0]
        more = f", and {count(len(others) - 1, 'more pair')} like it" if len(others) > 1 else ""
        raise DataError(
            f"two pictures of one frame, {base_file} and {second}{more}, in {folder}\n"
            "A folder of frames holds one picture of each frame: remove copies; keep masks in a folder of their own."
        )
    return copies


def _base_of(file: str, files: Mapping[NameKey, str], decimals: bool) -> NameKey | None:
    """The key of the frame after which a second picture is named."""
    for decoration in _DECORATIONS:
        match = decoration.fullmatch(_stem(file))
        key = name_key(match["base"].rstrip(), decimals) if match else None
        if key in files:
            return key
    return None


def _require_read(pictures: Sequence[str], files: Mapping[NameKey, str], decimals: bool, folder: str) -> None:
    patterns = {_pattern(key) for key in files}
    missing = []
    for name in pictures:
        key = name_key(_stem(name), decimals)
        if key not in files and _pattern(key) in patterns:
            missing.append(name)
    if missing:
        raise DataError(
            f"{count(len(missing), 'frame')} of a kind that is not read beside {count(len(files), 'frame')} that are: "
            f"{some(missing)}, in {folder}\n"
            f"Convert them to one of {', '.join(FRAME_SUFFIXES)}, or move them to another folder."
        )
