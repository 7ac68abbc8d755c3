"""A dataset's index is built once, kept in one file, and follows the data."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from iopath.common.file_io import PathHandler, g_pathmgr
from sam2_training.data.formats.folders import FolderSource
from sam2_training.data.index import open_index
from sam2_training.data.source import Video
from sam2_training.data.table import VideoTable, load_table, save_table
from sam2_training.engine.task import SampleKey

from tests.vos.opened import build_dataset


@pytest.fixture
def scanned(monkeypatch) -> list[str]:
    """Names of the videos that were read, as they are read."""
    seen: list[str] = []
    real = FolderSource.facts

    def facts(source: FolderSource, name: str) -> Video:
        seen.append(name)
        return real(source, name)

    monkeypatch.setattr(FolderSource, "facts", facts)
    return seen


def test_a_dataset_is_read_once(folders, tmp_path, scanned):
    folders.video("a", [[1], [2]])
    folders.video("b", [[1], None])
    first = open_index(folders.config(), tmp_path / "run")
    second = open_index(folders.config(), tmp_path / "run")
    assert scanned == ["a", "b"]
    assert first.fingerprint() == second.fingerprint()
    assert first.describe() == second.describe()
    assert [path.suffix for path in (tmp_path / "run").iterdir()] == [".npz"]


def test_only_changed_videos_are_read_again(folders, tmp_path, scanned, make_squares):
    for name in ("a", "b", "c"):
        folders.video(name, [[1], None])
    folders.image("d", "0.png")
    folders.mask("d/1", "0.png", make_squares([1]))
    before = open_index(folders.config(), tmp_path)
    scanned.clear()
    folders.mask("b", "00001.png", make_squares([1]))  # a new file
    folders.image("d", "1.png")
    folders.mask("d/1", "1.png", make_squares([1]))
    folders.video("e", [[1]])
    after = open_index(folders.config(), tmp_path)
    assert sorted(scanned) == ["b", "d", "e"]
    assert after.video(1).mask_files == ("00000.png", "00001.png")
    assert after.fingerprint() != before.fingerprint()
    scanned.clear()
    folders.mask("d/1", "extra.png", make_squares([1]))  # only the object's own folder changes
    open_index(folders.config(), tmp_path)
    assert scanned == ["d"]


def test_replaced_mask_is_read_again(folders, tmp_path, scanned, make_squares):
    folders.video("a", [[1]])
    open_index(folders.config(), tmp_path)
    scanned.clear()
    new = folders.mask("a", "new.png", make_squares([1, 2]))
    new.replace(folders.masks / "a" / "00000.png")
    assert open_index(folders.config(), tmp_path).video(0).object_ids == (1, 2)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_cache_is_built_again(folders, tmp_path, scanned, damage):
    folders.video("a", [[1]])
    wanted = open_index(folders.config(), tmp_path).fingerprint()
    path = next(tmp_path.glob("*.npz"))
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[data.index(b"00000.png")] ^= 1
    path.write_bytes({"flip": data, "cut": data[: len(data) // 2], "empty": b""}[damage])
    assert open_index(folders.config(), tmp_path).fingerprint() == wanted
    assert scanned == ["a", "a"]


def test_fingerprint_says_what_the_data_is_not_where_it_lies(folders, tmp_path, make_squares):
    folders.video("a", [[1], None])
    config = folders.config()
    before = open_index(config).fingerprint()
    os.rename(folders.images, tmp_path / "elsewhere")  # noqa: PTH104
    folders.images = tmp_path / "elsewhere"
    assert open_index(folders.config()).fingerprint() == before
    folders.mask("a", "00000.png", make_squares([2]))
    assert open_index(folders.config()).fingerprint() != before


def test_fifty_thousand_videos_load_within_seconds(tmp_path, check_delay):
    areas = np.ones((40, 2), np.int32)
    files = tuple(f"{t:05d}.jpg" for t in range(40))
    table = VideoTable.of([Video(f"v{n:06d}", files, (1, 2), areas, files) for n in range(50_000)])
    save_table(tmp_path / "index.npz", table, np.zeros(50_000, np.uint64))
    started = time.process_time()
    loaded, _ = load_table(tmp_path / "index.npz")
    assert loaded[49_999].frame_files == files
    check_delay("index of 50,000 videos (CPU)", time.process_time() - started, 2)
    assert loaded.fingerprint() == table.fingerprint()


class MemoryStore(PathHandler):
    """A store that iopath knows only because the user registered it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _get_supported_prefixes(self) -> list[str]:
        return ["teststore://"]

    def _local(self, path: str) -> Path:
        return self.root / path.removeprefix("teststore://")

    def _open(self, path: str, mode: str = "r", **kwargs):
        return self._local(path).open(mode)

    def _isdir(self, path: str, **kwargs) -> bool:
        return self._local(path).is_dir()

    def _ls(self, path: str, **kwargs) -> list[str]:
        return [entry.name for entry in self._local(path).iterdir()]


def test_registered_stores_work(folders, tmp_path):
    folders.video("a", [[1], [1]])
    g_pathmgr.register_handler(MemoryStore(tmp_path), allow_override=True)
    config = folders.train_config(img_folder="teststore://images", gt_folder="teststore://masks")
    sample = build_dataset(config, tmp_path / "run")[SampleKey(0, 0, 0)]
    assert sample.image_paths[0] == "teststore://images/a/00000.png"


def test_an_index_of_another_version_is_built_again(folders, tmp_path, scanned):
    folders.video("a", [[1], None])
    wanted = open_index(folders.config(), tmp_path).fingerprint()
    path = next(tmp_path.glob("*.npz"))
    with np.load(path) as file:
        columns = {name: file[name] for name in file.files if not name.startswith("left_out")}
    np.savez(path, **columns | {"version": np.int64(1)})
    assert open_index(folders.config(), tmp_path).fingerprint() == wanted
    assert scanned == ["a", "a"]
