"""Checkpoints that must not be trusted: R7 (damaged files) and R10 (unsafe ones)."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sam2_training.core.errors import CheckpointError
from sam2_training.engine.checkpoint import files

from tests.engine.checkpoint.small_store import names, newest_step, save, store_in


def truncate(path: Path, place: random.Random) -> None:
    os.truncate(path, place.randrange(1, path.stat().st_size))


def flip_bit(path: Path, place: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[place.randrange(len(content))] ^= 1 << place.randrange(8)
    path.write_bytes(content)


def zero_page(path: Path, place: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = place.randrange(0, len(content) - 4096, 512)
    content[start : start + 4096] = bytes(4096)
    path.write_bytes(content)


def empty(path: Path, place: random.Random) -> None:
    os.truncate(path, 0)


def spoil_hash(path: Path, place: random.Random) -> None:
    files.hash_path(path).write_text("")


DAMAGES = [truncate, flip_bit, zero_page, empty, spoil_hash]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("seed", range(4))
def test_r07_a_damaged_newest_is_set_aside_and_the_one_before_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path, random.Random], None], seed: int
) -> None:
    store = store_in(tmp_path)
    save(store, 1)
    newest = save(store, 2)
    damage(newest, random.Random(seed))
    with caplog.at_level(logging.WARNING):
        assert newest_step(store) == 1
    assert "step_00000002.pt is not used" in caplog.text
    assert "step_00000002.pt.corrupt" in names(tmp_path)
    save(store, 2)
    assert newest_step(store) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_r07_none_intact_stops_and_goes_on_stopping(
    tmp_path: Path, damage: Callable[[Path, random.Random], None]
) -> None:
    store = store_in(tmp_path)
    for step in (1, 2):
        damage(save(store, step), random.Random(step))
    for _ in range(2):  # the second start finds only what the first renamed, and must not take that for a new run
        with pytest.raises(CheckpointError, match=r"(?s)no intact checkpoint in .*resume_from") as caught:
            store.load_newest()
        assert caught.value.exit_code == 4


def test_r07_a_missing_hash_is_not_trusted_but_the_file_is_left_and_can_be_named(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    save(store, 1)
    newest = save(store, 2)
    files.hash_path(newest).unlink()
    assert newest_step(store) == 1
    assert newest.exists()
    assert store.load_file(str(newest))["step"] == 2


def test_r07_only_checkpoint_pt_left_is_no_new_run(tmp_path: Path) -> None:
    path = save(store_in(tmp_path), 1)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        store_in(tmp_path).load_newest()


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch i_was_here",)


def test_r10_an_unsafe_file_is_refused_by_the_name_of_what_it_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "step": 1, "extra": Malicious()}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"bad\.pt is not safe to load: .* would call (posix|os)\.system"):
        store_in(tmp_path).load_file(str(tmp_path / "bad.pt"))
    assert not (tmp_path / "i_was_here").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no checkpoint at"),
        (b"", "is damaged, or is not a checkpoint"),
        (b"\x89PNG not a checkpoint at all", "is damaged, or is not a checkpoint"),
        ({"model": {}}, r"has weights but no training state; use model\.checkpoint="),
        ({"epoch": 3}, "is not a checkpoint of a training run"),
        (torch.zeros(3), "is not a checkpoint: it holds a Tensor"),
    ],
)
def test_files_that_cannot_be_resumed_say_why(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "given.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        store_in(tmp_path).load_file(str(path))


@pytest.mark.parametrize("name", ["step_00000001.pt", "checkpoint.pt"])
def test_r07_resume_from_checks_the_hash_that_lies_beside_the_file(tmp_path: Path, name: str) -> None:
    path = save(store_in(tmp_path), 1)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    with path.open("r+b") as file:  # in place: checkpoint.pt is the same file
        file.write(content)
    with pytest.raises(CheckpointError, match="is damaged: its SHA-256"):
        store_in(tmp_path).load_file(str(tmp_path / name))
