"""Videos held out by a hash of their names: whole, stable, never none and never all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sam2_training.core.errors import ConfigError
from sam2_training.data.formats.folders import FolderSource
from sam2_training.data.index import VideoIndex
from sam2_training.data.source import Video
from sam2_training.data.split import hold_out, name_hash
from sam2_training.data.table import VideoTable
from sam2_training.vos.clips.dataset import training_index


def index_of(names: list[str]) -> VideoIndex:
    videos = [Video(name, ("0.jpg",), (1,), np.full((1, 1), 9, np.int32)) for name in names]
    return VideoIndex(FolderSource("images", "masks"), VideoTable.of(videos))


def names_of(index: VideoIndex) -> list[str]:
    return list(index.names)


def test_each_video_is_on_one_side_in_its_order_and_about_the_fraction_is_held_out() -> None:
    names = [f"video-{number:04d}" for number in range(1000)]
    training, validation = hold_out(index_of(names), 0.2)
    assert sorted(names_of(training) + names_of(validation)) == names
    assert names_of(training) == sorted(names_of(training))
    assert 150 < len(validation) < 250
    assert all(name_hash(name) < 0.2 for name in names_of(validation))


def test_videos_stay_on_their_side_when_others_are_added() -> None:
    few = [f"video-{number}" for number in range(50)]
    many = few + [f"other-{number}" for number in range(50)]
    before, after = (set(names_of(hold_out(index_of(names), 0.3)[1])) for names in (few, many))
    assert before == after & set(few)


@pytest.mark.parametrize("fraction", [1e-9, 0.999999])
def test_neither_side_is_empty(fraction: float) -> None:
    training, validation = hold_out(index_of(["a", "b", "c"]), fraction)
    assert len(training) + len(validation) == 3
    assert 1 <= len(validation) <= 2


def test_one_video_cannot_be_divided() -> None:
    with pytest.raises(ConfigError, match=r"needs at least 2 videos, found 1.*dataset\.val_fraction=0$"):
        hold_out(index_of(["alone"]), 0.5)


def test_a_validation_set_of_its_own_leaves_all_videos_to_the_training(folders: Any) -> None:
    for name in "abcd":
        folders.video(name, [[1], [1]])
    config = folders.train_config(val_fraction=0.5)
    training, held_out = training_index(config, None)
    assert held_out is not None
    assert sorted(names_of(training) + names_of(held_out)) == list("abcd")
    named = replace(config, val_dataset=folders.config())
    training, held_out = training_index(named, None)
    assert held_out is None
    assert names_of(training) == list("abcd")
