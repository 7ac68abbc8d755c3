"""Data fingerprints are those of earlier versions, so that their checkpoints resume on the same data.

The values were computed with commit 215ecb8 on the same folders and the same generated videos.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sam2_training.data.config import DatasetConfig, SyntheticConfig
from sam2_training.data.index import open_index

FOLDERS = "fe6249f6dc6b5e521ece8498da089f19c5bfe54b63ffecf098a1af3ce699afaf"
GENERATED = "7448477be548e76d88a9b12647e8f68f6ab1e47a770118b294e1cd38519d08f1"


def test_the_fingerprint_of_folders_is_that_of_215ecb8(folders: Any, make_squares: Callable[..., np.ndarray]) -> None:
    folders.video("a", [[1, 2], None, [2], [1, 2], [1]])
    folders.video("b10", [[3], [3], [], [3]])
    for t in range(3):
        folders.image("b9", f"{t}.png")
        folders.mask("b9/7", f"{t}.png", make_squares([255]), "L")
    folders.mask("b9/12", "1.png", make_squares([1, 1]), "1")
    for name in ("7.png", "frame_x.png"):
        folders.image("c", name)
    folders.mask("c", "00007.png", make_squares([300, 40000]), "I;16")
    folders.mask("c", "99.png", make_squares([1]))
    assert open_index(folders.config()).fingerprint() == FOLDERS


def test_the_fingerprint_of_generated_videos_is_that_of_215ecb8() -> None:
    made = DatasetConfig(dataset_type="synthetic", synthetic=SyntheticConfig(5, 4, 48, 2))
    assert open_index(made, seed=3).fingerprint() == GENERATED
    assert open_index(made, seed=4).fingerprint() != GENERATED


def test_a_part_of_the_generated_videos_has_a_fingerprint_of_its_own() -> None:
    index = open_index(DatasetConfig(dataset_type="synthetic", synthetic=SyntheticConfig(5, 4, 48, 2)), seed=3)
    parts = {index.part(numbers).fingerprint() for numbers in ([0, 1], [0, 2], [0, 1, 2, 3, 4])}
    assert len(parts) == 3
    assert index.part([0, 1, 2, 3, 4]).fingerprint() == GENERATED
