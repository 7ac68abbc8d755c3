"""A file is the old one or the new one, never half, and a failed write leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from sam2_training.core.files import replacing, sha256_of, utf8_path, why_not_writable, write_bytes, write_text


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def stop_half_way(path: Path) -> None:
    with replacing(path, ".tmp.mp4") as unfinished:
        assert (unfinished.parent, unfinished.suffix) == (path.parent, ".mp4")
        unfinished.write_text("new")
        raise ValueError("half-way")


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.mp4"
    write_text(path, "old")
    with pytest.raises(ValueError, match="half-way"):
        stop_half_way(path)
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.mp4"]


def test_two_writers_of_one_file_do_not_share_the_unfinished_one(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as first, replacing(tmp_path / "file") as second:
        first.write_text("first")
        second.write_text("second")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("file", "first")]


def test_a_file_has_the_permissions_that_any_new_file_has(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "file", "")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_sha256_of_a_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"content")
    assert sha256_of(tmp_path / "file") == sha256_of(tmp_path / "file", from_disk=True)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    assert why_not_writable(tmp_path / "folder") is None
    assert why_not_writable(tmp_path / "file" / "folder") == "Not a directory"


def test_a_name_that_is_not_utf8_has_a_path_for_libraries_that_need_utf8(tmp_path: Path) -> None:
    plain, other = tmp_path / "plain.txt", tmp_path / os.fsdecode(b"caf\xe9") / "x.txt"
    other.parent.mkdir()
    other.write_text("content")
    with utf8_path(plain) as name:
        assert name == str(plain)
    with utf8_path(other) as name:
        name.encode()
        assert name.endswith(".txt")
        assert Path(name).read_text() == "content"
    assert not Path(name).exists()
    assert other.exists()
