"""Lists of names in text files: of any encoding, with marks, and long."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from iopath.common.file_io import g_pathmgr
from sam2_training.core.errors import DataError
from sam2_training.data.formats.folders import FolderSource
from sam2_training.data.index import build_index
from sam2_training.data.name_list import read_list
from sam2_training.vos.evaluation.evaluator import _check

from tests.cases.made import make_case
from tests.moving_squares import write_squares


def listed(tmp_path: Path, content: bytes) -> list[str]:
    (tmp_path / "list.txt").write_bytes(content)
    return read_list(str(tmp_path / "list.txt"))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"\xef\xbb\xbfa\r\nb\r\n", ["a", "b"]),
        (b"\xef\xbb\xbf# a comment\n\n  a \n", ["a"]),
        (b"caf\xe9\nb", [os.fsdecode(b"caf\xe9"), "b"]),
        ("视频\ncafé\n".encode(), ["视频", "café"]),
        (b"a\rb", ["a", "b"]),
        (b"./part/v/\nw/", ["part/v", "w"]),
        (b"a:b\nc\\d\n...", ["a:b", "c\\d", "..."]),
    ],
)
def test_names_are_read_whatever_wrote_the_list(tmp_path: Path, content: bytes, names: list[str]) -> None:
    assert listed(tmp_path, content) == names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a\nb".encode("utf-16"), "not a text file"),
        (b"PK\x03\x04\x00\x00", "not a text file"),
        (b"\xef\xbb\xbf\n# nothing\n", "names no video"),
        (b"a\nb\na\n", "names a 2 times"),
        (b"\x1b[2J\n\x1b[2J", r"names \\x1b\[2J 2 times"),
        (b"9" * 5000, "expected a name below the dataset's folder"),
        (b"/\x1b[2J", r"names /\\x1b\[2J, expected a name"),
    ],
)
def test_what_is_no_list_of_names_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        listed(tmp_path, content)


def test_a_list_with_a_mark_names_its_videos(tmp_path: Path) -> None:
    root = make_case("list_with_mark", tmp_path)
    (list_file,) = root.glob("*.txt")
    index = build_index(FolderSource(str(root / "images"), str(root / "masks")), str(list_file))
    assert len(index) == len(read_list(str(list_file)))


@pytest.fixture
def disk_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the disk through iopath."""
    calls: list[str] = []

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: str, *more: Any, **options: Any) -> Any:
            calls.append(f"{name} {path}")
            return original(path, *more, **options)

        return call

    for name in ("isdir", "isfile", "exists", "ls"):
        monkeypatch.setattr(g_pathmgr, name, counted(name, getattr(g_pathmgr, name)))
    return calls


@pytest.mark.parametrize("form", ["wrong_{}", "wrong_{}/v", "part/wrong_{}", "surf/wrong_{}"])
def test_wrong_names_do_not_each_ask_the_disk(tmp_path: Path, disk_calls: list[str], form: str) -> None:
    write_squares(tmp_path, "surf", seed=0)
    write_squares(tmp_path, "part/v", seed=1)
    (tmp_path / "list.txt").write_text("".join(f"{form.format(number)}\n" for number in range(20_000)) + "surf\npart/v")
    source = FolderSource(str(tmp_path / "images"), str(tmp_path / "masks"))
    with pytest.raises(DataError, match=f"20000 videos in the list .* {form.format(0)}, .* and 19995 more"):
        build_index(source, str(tmp_path / "list.txt"))
    assert len(disk_calls) < 50


def test_listed_folders_below_others_are_found(tmp_path: Path) -> None:
    write_squares(tmp_path, "surf", seed=0)
    write_squares(tmp_path, "part/v", seed=1)
    source = FolderSource(str(tmp_path / "images"), str(tmp_path / "masks"))
    assert source.missing(["surf", "part/v", "part/w", "surf/00000.jpg", "x/v"]) == ["part/w", "surf/00000.jpg", "x/v"]


def test_equal_names_are_found_without_comparing_each_with_each() -> None:
    class Named:
        compared = 0

        def __init__(self, name: str) -> None:
            self.name = name

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            Named.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    clips: list[Any] = [Named(Counted(f"v{number}")) for number in range(3000)]
    _check(clips)
    assert Named.compared < 30_000
    clips.append(Named(Counted("v7")))
    with pytest.raises(DataError, match="same name: v7"):
        _check(clips)
