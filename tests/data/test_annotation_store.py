"""A file of arrays and pieces of bytes: whole or not at all, the same for copies, and refused when it is another."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from sam2_training.core.errors import DataError
from sam2_training.data.annotation_store import AnnotationStore, Columns, PieceWriter


def fill(writer: PieceWriter) -> Columns:
    offsets = [writer.add(data) for data in (b"one", b"", b"three")]
    columns: dict[str, np.ndarray] = {"offsets": np.array(offsets), "none": np.zeros((0, 2), np.int64)}
    return columns | {"small": np.array([1, 2, 3], np.uint8)}


def test_a_copy_reads_the_same(tmp_path: Path) -> None:
    first = AnnotationStore.build(tmp_path / "a.bin", "key", fill)
    for store in (first, AnnotationStore(tmp_path / "a.bin", "key"), pickle.loads(pickle.dumps(first))):
        assert store.piece(int(store.columns["offsets"][2]), 5) == b"three"
        assert {name: column.tolist() for name, column in store.columns.items()} == {
            "offsets": [0, 3, 3],
            "none": [],
            "small": [1, 2, 3],
        }
        assert store.columns["none"].shape == (0, 2)
        store.close()
        assert store.piece(0, 3) == b"one"
    with pytest.raises(ValueError, match="read-only"):
        first.columns["small"][0] = 7


def test_a_store_that_could_not_be_finished_leaves_nothing(tmp_path: Path) -> None:
    def fails(writer: PieceWriter) -> Columns:
        writer.add(b"data")
        raise DataError("the document ends early")

    with pytest.raises(DataError, match="ends early"):
        AnnotationStore.build(tmp_path / "a.bin", "key", fails)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [0, 5, 30, -1])
def test_a_file_that_was_cut_is_not_used(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.bin"
    AnnotationStore.build(path, "key", fill)
    os.truncate(path, length if length >= 0 else path.stat().st_size - 1)
    with pytest.raises(ValueError, match="not intact"):
        AnnotationStore(path, "key")


def test_another_document_s_file_is_not_used_and_a_copy_that_finds_one_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    first = pickle.dumps(AnnotationStore.build(path, "key", fill))
    AnnotationStore.build(path, "other", fill)
    with pytest.raises(ValueError, match="other annotations"):
        AnnotationStore(path, "key")
    with pytest.raises(DataError, match=rf"have changed.*{path}\nStart again"):
        pickle.loads(first).piece(0, 3)
