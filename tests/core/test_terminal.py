"""Text on terminals of any encoding."""

from __future__ import annotations

import io
import os
import sys

import pytest
from sam2_training.cli import main
from sam2_training.core.terminal import accept_any_text, can_show, say


def terminal(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)


def written(stream: io.TextIOWrapper) -> bytes:
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", rb"caf\xe9 \u89c6 \xe9 \x1b"),
        ("latin-1", b"caf\xe9 " + rb"\u89c6 \xe9 \x1b"),
        ("cp1252", b"caf\xe9 " + rb"\u89c6 \xe9 \x1b"),
        ("utf-8", "café 视".encode() + rb" \xe9 \x1b"),
    ],
)
def test_no_terminal_s_encoding_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, encoding: str, expected: bytes
) -> None:
    out, err = terminal(encoding), terminal(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    accept_any_text()
    text = f"café 视 {os.fsdecode(bytes([0xE9]))} \x1b"
    say(text)
    say(text, err)
    assert written(out) == written(err) == expected + b"\n"
    print(os.fsdecode(bytes([0xE9])))  # by a library
    assert written(out) == expected + b"\n" + rb"\udce9" + b"\n"


def test_every_verb_accepts_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    out = terminal("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert out.errors == "backslashreplace"


def test_a_failure_s_message_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    folder = f"nowhere\x1b[2J\u202e{os.fsdecode(bytes([0xE9]))}"
    words = ["train", "-c", "custom_finetune", f"dataset.img_folder={folder}", f"dataset.gt_folder={folder}"]
    code = main([*words, "model.checkpoint=null", "launcher.experiment_log_dir=/dev/null/run"])
    text = capsys.readouterr().err
    assert code in (2, 6)
    assert not {"\x1b", "\u202e"} & set(text)


def test_characters_that_an_encoding_lacks_are_known_beforehand() -> None:
    assert can_show(terminal("utf-8"), "█")
    assert not can_show(terminal("latin-1"), "█")


def test_a_word_that_is_not_understood_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "--checkpoint", "x", "--output", "y", "-c", "custom_finetune", "--no\x1b[2J\u202e"])
    assert ended.value.code == 2
    assert r"--no\x1b[2J\u202e" in capsys.readouterr().err
