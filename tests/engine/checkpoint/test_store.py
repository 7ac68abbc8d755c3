"""The checkpoint store: R8 (disk full), R9 (pruning), R13 (all ranks alike), and what a user may do to the folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.engine.checkpoint import files
from sam2_training.engine.checkpoint.store import SaveFailed

from tests.engine.checkpoint.small_store import names, newest_step, save, store_in
from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS


def test_a_saved_state_comes_back_and_stock_code_can_read_its_weights(tmp_path: Path) -> None:
    store = store_in(tmp_path / "run" / "checkpoints")
    path = save(store, 123)
    assert path.name == "step_00000123.pt"
    found = store.load_newest()
    assert found is not None
    assert found[0] == path
    assert found[1]["optimizer"]["state"][0]["exp_avg"].tolist() == [1, 1, 1]
    stock = torch.load(store.folder / "checkpoint.pt", map_location="cpu", weights_only=True)["model"]
    assert list(stock) == ["weight", "bias"]


def test_the_sidecar_is_what_sha256sum_checks(tmp_path: Path) -> None:
    save(store_in(tmp_path), 5)
    checked = subprocess.run(
        ["sha256sum", "-c", "step_00000005.pt.sha256"], cwd=tmp_path, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked


def test_checkpoint_pt_takes_no_space_of_its_own(tmp_path: Path) -> None:
    path = save(store_in(tmp_path), 5)
    assert path.samefile(tmp_path / "checkpoint.pt")


def test_where_links_are_not_supported_checkpoint_pt_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    store = store_in(tmp_path)
    save(store, 5)
    path = save(store, 6)
    assert not path.samefile(tmp_path / "checkpoint.pt")
    assert path.read_bytes() == (tmp_path / "checkpoint.pt").read_bytes()


def test_r09_the_last_two_are_kept_and_other_names_never_touched(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    (tmp_path / "best_0.812.pt").write_bytes(b"best")
    for step in range(1, 6):
        save(store, step)
    steps = ["step_00000004.pt", "step_00000004.pt.sha256", "step_00000005.pt", "step_00000005.pt.sha256"]
    assert names(tmp_path) == ["best_0.812.pt", "checkpoint.pt", *steps]


def test_r09_nothing_is_pruned_before_the_new_one_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_in(tmp_path)
    save(store, 1), save(store, 2)
    before = names(tmp_path)
    monkeypatch.setattr(files, "sha256_of", lambda *_, **__: "0" * 64)
    with pytest.raises(SaveFailed, match="reads back differently"):
        save(store, 3)
    monkeypatch.undo()
    assert names(tmp_path) == before
    assert newest_step(store) == 2


def test_r09_fewer_than_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"keep_last=1 must be at least 2"):
        store_in(tmp_path, keep_last=1)


def test_an_empty_or_missing_folder_is_a_new_run(tmp_path: Path) -> None:
    assert store_in(tmp_path).load_newest() is None
    assert store_in(tmp_path / "missing").load_newest() is None


def test_going_back_supersedes_later_steps_without_deleting_them(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for step in (90, 100):
        save(store, step)
    save(store, 60)
    assert newest_step(store) == 60
    save(store, 70)
    assert [name for name in names(tmp_path) if name.endswith(".superseded")] == [
        "step_00000090.pt.superseded",
        "step_00000100.pt.superseded",
    ]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    save(store, 1)
    store.save(1, {"weight": torch.full((2000,), 1.0)}, {"note": "again"})
    assert store.load_file(str(tmp_path / "checkpoint.pt"))["note"] == "again"
    assert newest_step(store) == 1
    assert len(files.recorded_hashes(tmp_path / "step_00000001.pt")) == 1


@pytest.mark.parametrize("limit", [0, 1, 700, 4000, 9000])
def test_r08_a_file_size_limit_fails_the_save_and_nothing_else(tmp_path: Path, limit: int) -> None:
    import resource

    store = store_in(tmp_path)
    save(store, 1), save(store, 2)
    before = names(tmp_path)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, former[1]))
    try:
        with pytest.raises(
            SaveFailed, match=r"could not save .*step_00000003\.pt.*GiB free.*Older checkpoints are untouched"
        ):
            save(store, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert names(tmp_path) == before
    assert newest_step(store) == 2
    save(store, 3)
    assert newest_step(store) == 3


def test_r08_a_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        files.write_checkpoint(Path("/dev/full"), {"model": {"weight": torch.zeros(100_000)}})


def test_a_folder_without_permission_fails_the_save(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SaveFailed, match="Permission denied"):
            save(store_in(tmp_path), 1)
    finally:
        tmp_path.chmod(0o700)


def test_values_that_would_not_load_again_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"state\['best'\]\[1\] is a PosixPath"):
        store_in(tmp_path).save(1, {}, {"best": [1.0, tmp_path]})
    assert names(tmp_path) == []


def test_a_folder_given_as_checkpoint_says_which_file_to_give(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a folder; give .* such as checkpoint\.pt"):
        store_in(tmp_path).load_file(str(tmp_path))


def test_resume_from_a_registered_store(tmp_path: Path) -> None:
    from iopath.common.file_io import PathHandler, g_pathmgr

    class Shelf(PathHandler):  # type: ignore[misc]
        def _get_supported_prefixes(self) -> list[str]:
            return ["shelf://"]

        def _real(self, path: str) -> str:
            return str(tmp_path / path.removeprefix("shelf://"))

        def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
            return self._real(path)

        def _isfile(self, path: str, **kwargs: Any) -> bool:
            return Path(self._real(path)).is_file()

        def _isdir(self, path: str, **kwargs: Any) -> bool:
            return False

        def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> Any:
            return Path(self._real(path)).open(mode)

    save(store_in(tmp_path), 9)
    g_pathmgr.register_handler(Shelf(), allow_override=True)
    assert store_in(tmp_path).load_file("shelf://step_00000009.pt")["step"] == 9
    with pytest.raises(ConfigError, match="not a local folder"):
        store_in(Path("shelf://run/checkpoints"))


TWO_RANKS = """
import sys, torch
sys.path.insert(0, {repository!r})
from pathlib import Path
from sam2_training.core.ranks import process_group, ranks_from_environment
from sam2_training.core.errors import CheckpointError
from sam2_training.engine.checkpoint.store import CheckpointStore, SaveFailed
ranks = ranks_from_environment("cpu")
with process_group(ranks, 30):
    store = CheckpointStore(Path({folder!r}), 2, ranks)
    assert store.load_newest() is None
    store.save(1, {{"w": torch.tensor(float(ranks.rank))}}, {{}})
    path, content = store.load_newest()
    assert content["model"]["w"] == 0 and path.name == "step_00000001.pt", (path, content)
    ranks.barrier()
    if ranks.is_main:
        path.write_bytes(b"damaged")
    try:
        store.load_newest()
    except CheckpointError as error:
        print("refused", flush=True)
    ranks.barrier()
    if ranks.is_main:
        import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
    try:
        store.save(2, {{}}, {{}})
    except SaveFailed:
        print("failed", flush=True)
"""


@pytest.mark.slow
def test_r13_all_ranks_load_the_same_file_and_fail_together(tmp_path: Path) -> None:
    script = TWO_RANKS.format(repository=str(REPOSITORY / "training"), folder=str(tmp_path))
    port = 20_000 + os.getpid() % 20_000
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=WAIT_SECONDS)[0] for process in started]
    for output in outputs:
        assert output.split()[-2:] == ["refused", "failed"], outputs


def test_the_disk_is_examined_only_for_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(_: Any) -> None:
        raise OSError("stale file handle")

    monkeypatch.setattr(shutil, "disk_usage", unavailable)
    save(store_in(tmp_path), 1)


def test_pointing_to_the_same_file_again_leaves_no_temporary_name(tmp_path: Path) -> None:
    path = save(store_in(tmp_path), 5)
    before = names(tmp_path)
    files.point_to(tmp_path / "checkpoint.pt", path)
    assert names(tmp_path) == before
