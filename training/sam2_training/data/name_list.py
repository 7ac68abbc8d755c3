"""Lists of names of videos in text files."""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from pathlib import PureWindowsPath

from iopath.common.file_io import g_pathmgr

from sam2_training.core.errors import DataError
from sam2_training.core.files import endless_kind
from sam2_training.core.text import shown

LONGEST_NAME = 4096
"""Characters of a path that Linux takes."""
LONGEST_SHOWN = 200
_MAY_BE_PATH = re.compile(r"[/\\:]|^\.\.?$")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_list(path: str, setting: str = "dataset.file_list_txt") -> list[str]:
    """The video names in a text file, one a line, without empty lines and those that start with #.

    A name is that of a folder below the dataset's: v, or a relative path such as part/v; a/ and ./a are a. setting:
    what names the file, for messages. Raises DataError for a file that cannot be read, names no video, one twice, or
    something that is not below the dataset's folder.
    """
    kind = endless_kind(path)
    if kind:
        raise DataError(f"{setting} {path} is {kind}, expected a text file with one video name a line")
    lines = lines_of(path, setting)
    names = [_name_below(line, path, setting) for line in lines if line and not line.startswith("#")]
    if not names:
        raise DataError(f"{setting} {path} names no video\nWrite one video name a line.")
    return each_once(names, f"{setting} {path}")


def lines_of(path: str, setting: str) -> list[str]:
    """The lines without white space around them. Names need not be UTF-8; a mark at the file's beginning is no name."""
    try:
        with g_pathmgr.open(path, "rb") as file:
            content: bytes = file.read()
        reason = "not a text file" if content.startswith(_UTF16_MARKS) or b"\0" in content else None
    except OSError as error:
        reason = error.strerror or str(error)
    if reason is not None:
        raise DataError(f"{setting} {path} cannot be read: {reason}\nGive a text file with one video name a line.")
    text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    return [line.strip() for line in io.StringIO(text, newline=None)]


def each_once(names: list[str], listed_in: str) -> list[str]:
    """The names. Raises DataError if one is there twice. listed_in: for the message."""
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise DataError(f"{listed_in} names {shown(name)} {times} times\nName each video once.")
    return names


def _name_below(line: str, path: str, setting: str) -> str:
    """A line of a list as a name below the dataset's folder; results are written under it as well."""
    if len(line) <= LONGEST_NAME and not _MAY_BE_PATH.search(line):  # nearly all lines, of which there may be millions
        return line
    parts = [part for part in line.split("/") if part not in ("", ".")]
    is_absolute = line.startswith("/") or PureWindowsPath(line).is_absolute() or "://" in line
    if is_absolute or ".." in parts or not parts or len(line) > LONGEST_NAME:
        raise DataError(
            f"{setting} {path} names {shown(line[:LONGEST_SHOWN])}, expected a name below the dataset's folder\n"
            "Write names such as v or part/v, without the folder they are in."
        )
    return "/".join(parts)
