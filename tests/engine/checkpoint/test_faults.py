"""R6: whatever system call of a save is the last one, an intact checkpoint is there, and the next start finds it."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sam2_training.core.ranks import Ranks
from sam2_training.engine.checkpoint import files
from sam2_training.engine.checkpoint.store import CheckpointStore, SaveFailed

CALLS = ("open", "write", "fsync", "close", "link", "replace", "rename", "unlink", "mkdir", "posix_fadvise")
"""All that a save asks of the system to change a file; pathlib goes through the same functions of os."""


class Fault:
    """Counts the calls, and has the chosen one fail, or end the process before it or half-way (for writing).

    To die after a call is to die before the next one; after the last there is nothing left to spoil.
    """

    def __init__(self, chosen: int, how: str) -> None:
        self.count = 0
        self.chosen, self.how = chosen, how

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in CALLS:
            patch.setattr(os, name, self._wrap(getattr(os, name)))

    def _wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count != self.chosen:
                return call(*arguments, **options)
            if self.how == "die before":
                os._exit(9)
            if self.how == "fail":
                raise OSError(errno.EIO, "injected")
            try:
                call(*arguments, **options)
                if self.how == "die half-way" and call is REAL_WRITE:
                    os.ftruncate(arguments[0], os.lseek(arguments[0], 0, os.SEEK_CUR) - len(arguments[1]) // 2)
            finally:
                os._exit(9)

        return wrapped


REAL_WRITE = os.write


def save(store: CheckpointStore, step: int, note: str) -> None:
    store.save(step, {"weight": torch.full((50,), float(step))}, {"note": note})


def count_calls(folder: Path, before: list[int], step: int, patch: pytest.MonkeyPatch) -> int:
    store = prepare(folder, before)
    fault = Fault(-1, "")
    with patch.context() as inner:
        fault.install(inner)
        save(store, step, "new")
    return fault.count


def prepare(folder: Path, before: list[int]) -> CheckpointStore:
    shutil.rmtree(folder, ignore_errors=True)
    store = CheckpointStore(folder, 2, Ranks())
    for step in before:
        save(store, step, "old")
    return store


def save_with_a_failing_call(store: CheckpointStore, step: int, fault: Fault, patch: pytest.MonkeyPatch) -> None:
    """Either the save says so, or it did its work all the same (making a folder that is there already, for one)."""
    with patch.context() as inner:
        fault.install(inner)
        try:
            save(store, step, "new")
        except SaveFailed as error:
            assert "injected" in str(error)  # noqa: PT017 (the save may also succeed)
            return
    found = store.load_newest()
    assert found is not None
    assert found[1]["note"] == "new"


def save_in_a_child_that_dies(store: CheckpointStore, step: int, fault: Fault, patch: pytest.MonkeyPatch) -> None:
    child = os.fork()
    if child == 0:
        fault.install(patch)
        save(store, step, "new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, "the fault was not reached"


def check_intact_at_every_moment(folder: Path, before: list[int], step: int) -> None:
    """What stands on the disk now must do: for stock code, and for the next start."""
    checkpoint = folder / "checkpoint.pt"
    if before:
        named = torch.load(checkpoint, weights_only=True)
        assert named["step"] in (before[-1], step)
        hashes = {files.sha256_of(path) for path in folder.glob("step_*.pt") if files.recorded_hashes(path)}
        assert files.sha256_of(checkpoint) in hashes or named["step"] == step
    store = CheckpointStore(folder, 2, Ranks())
    found = store.load_newest()
    if found is None:
        assert not before
    else:
        assert (found[1]["step"], found[1]["note"]) in [(before[-1] if before else -1, "old"), (step, "new")]
        assert not list(folder.glob("*.corrupt*"))
        assert checkpoint.samefile(found[0])
    assert not list(folder.glob(".*"))
    save(store, step, "again")
    after = store.load_newest()
    assert after is not None
    assert after[1]["note"] == "again"


SITUATIONS = {"first": ([], 1), "third": ([1, 2], 3), "only one, again": ([2], 2), "back": ([1, 9], 5)}


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of saves, and what fsync costs is not the question here."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("how", ["die before", "die half-way", "fail"])
def test_r06_an_intact_checkpoint_survives_a_fault_at_every_system_call(
    memory_folder: Path, monkeypatch: pytest.MonkeyPatch, situation: str, how: str
) -> None:
    before, step = SITUATIONS[situation]
    if how == "die half-way" and situation != "third":
        pytest.skip("half a write is the same in every situation")
    folder = memory_folder / "checkpoints"
    num_calls = count_calls(folder, before, step, monkeypatch)
    assert num_calls > 20
    for chosen in range(1, num_calls + 1):
        store = prepare(folder, before)
        fault = Fault(chosen, how)
        if how == "fail":
            save_with_a_failing_call(store, step, fault, monkeypatch)
            assert not list(folder.glob(".*")), f"call {chosen} left a temporary file"
        else:
            save_in_a_child_that_dies(store, step, fault, monkeypatch)
        check_intact_at_every_moment(folder, before, step) if situation != "back" else check_back(folder)


def check_back(folder: Path) -> None:
    """Going back from step 9 to 5: either still at 9, or at 5, and both are intact."""
    found = CheckpointStore(folder, 2, Ranks()).load_newest()
    assert found is not None
    assert found[1]["step"] in (5, 9)
    assert not list(folder.glob("*.corrupt*"))
