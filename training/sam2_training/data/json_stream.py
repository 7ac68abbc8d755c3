"""The members of a JSON document one at a time, so that one of gigabytes needs the memory of its largest entry."""

from __future__ import annotations

import codecs
import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import BinaryIO

from iopath.common.file_io import g_pathmgr

from sam2_training.core.current_work import working_on
from sam2_training.core.files import endless_kind
from sam2_training.core.text import shown
from sam2_training.data.images import UnreadableFileError

CHUNK_BYTES = 1 << 20
"""Read at a time; an entry that is larger is read on in as many bytes as there are of it."""
TOKEN_CHARACTERS = 16
"""What ends, or is wrong, this near to the end of what was read may go on in the rest."""
_SPACE = " \t\r\n"
_CURE = "Export it again."


@dataclass(frozen=True)
class Member:
    """A member of the document, or, where that is a list, one entry of it."""

    key: str
    number: int | None
    """The entry's place in the list; None for a member that is no list."""
    value: object


def stream_members(path: str) -> Generator[Member]:
    """Everything in the object that a JSON file is, in the order of the file; nothing for a list without entries.

    Raises UnreadableFileError for a file that cannot be read or is not JSON, as soon as that shows.
    """
    kind = endless_kind(path)
    if kind:
        raise UnreadableFileError(f"this is {kind}, expected a JSON file: {path}\nReplace it.")
    try:
        with working_on(path):
            opened = g_pathmgr.open(path, "rb")
        with opened as file:
            text = _Text(file, path)
            yield from _members(text)
    except FileNotFoundError as error:
        raise UnreadableFileError(f"the file does not exist: {path}\nCorrect the path, or put it back.") from error
    except IsADirectoryError as error:
        raise UnreadableFileError(f"this is a folder, expected a JSON file: {path}\nName the file in it.") from error
    except OSError as error:
        raise UnreadableFileError(f"the file cannot be read ({error.strerror or error}): {path}\n{_CURE}") from error
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"the file is not UTF-8 text, so not JSON: {path}\n{_CURE}") from error
    except RecursionError as error:
        raise UnreadableFileError(f"the file is nested too deeply: {path}\n{_CURE}") from error
    except ValueError as error:
        where = f"at character {text.consumed + text.at:,}"
        raise UnreadableFileError(f"the file is not JSON ({error}, {where}): {path}\n{_CURE}") from error


class _Text:
    """What was read of a file and not used yet."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file, self._path, self._decoder = file, path, codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder()
        self.text, self.at, self.consumed = "", 0, 0
        self._ended = False

    def more(self) -> bool:
        """Reads on, at least as much as is kept; False at the end of the file."""
        if self._ended:
            return False
        with working_on(self._path):
            data = self._file.read(max(CHUNK_BYTES, len(self.text) - self.at))
        self._ended = not data
        self.consumed += self.at
        self.text = self.text[self.at :] + self._decoder.decode(data, self._ended)
        self.at = 0
        return True

    def next_character(self) -> str:
        """The next one that is not white space, which stays; "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> str:
        """The next character, one of the expected ones."""
        found = self.next_character()
        if not found or found not in expected:
            wanted = " or ".join(expected)
            raise ValueError(f"expected {wanted}, found {shown(found) if found else 'the end of the file'}")
        self.at += 1
        return found

    def value(self) -> object:
        """The next value, whole."""
        self.next_character()
        while True:
            try:
                value, end = self._json.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated string") or error.pos + TOKEN_CHARACTERS > len(self.text)
                if not (is_cut and self.more()):
                    self.at = min(error.pos, len(self.text))
                    raise ValueError(error.msg if self.at < len(self.text) else "it ends too early") from error
            else:
                if end + TOKEN_CHARACTERS < len(self.text) or not self.more():  # 1. may go on as 1.5e7
                    self.at = end
                    return value


def _members(text: _Text) -> Generator[Member]:
    text.take("{")
    if text.next_character() == "}":
        text.take("}")
    else:
        separator = ","
        while separator == ",":
            key = text.value() if text.next_character() == '"' else None
            if not isinstance(key, str):
                raise ValueError("expected the name of a member in quotes")
            text.take(":")
            if text.next_character() == "[":
                yield from _entries(text, key)
            else:
                yield Member(key, None, text.value())
            separator = text.take(",}")
    if text.next_character():
        raise ValueError("something follows the document's end")


def _entries(text: _Text, key: str) -> Generator[Member]:
    text.take("[")
    if text.next_character() == "]":
        text.take("]")
        return
    number, separator = 0, ","
    while separator == ",":
        yield Member(key, number, text.value())
        number += 1
        separator = text.take(",]")
