"""Videos that no clip can be drawn from are named when a dataset is opened, or left out and counted."""

from __future__ import annotations

import pytest
from sam2_training.core.errors import ConfigError, DataError
from sam2_training.data.config import SyntheticConfig
from sam2_training.vos.clips.config import VosDatasetConfig
from sam2_training.vos.clips.usable import clip_index


def refusal(folders, num_frames: int = 1, **changes) -> str:
    with pytest.raises(DataError) as caught:
        clip_index(folders.config(**changes), num_frames)
    return str(caught.value)


def test_r16_video_without_any_object_is_named(folders):
    folders.video("a", [[1], [1]])
    folders.video("b", [[], []])
    message = refusal(folders)
    assert message.startswith("1 video in which no clip of 1 frames can start")
    assert ": b " in message


def test_video_whose_object_comes_too_late_for_a_clip_is_named(folders):
    folders.video("late", [[], [], [1]])
    assert ": late " in refusal(folders, num_frames=2)
    clip_index(folders.config(reverse_time_prob=0.5), 2)  # backwards there is a start


def test_r16_one_frame_video_by_policy(folders):
    folders.video("long", [[1], [1]])
    folders.video("one", [[1]])
    message = refusal(folders, num_frames=2)
    assert message.startswith("1 video with fewer than the 2 frames that a clip needs: one ")
    assert "dataset.short_videos" in message
    skipping = clip_index(folders.config(short_videos="skip"), 2)
    assert list(skipping.names) == ["long"]
    assert "left out: 1 video with fewer than 2 frames: one" in skipping.describe()
    assert list(clip_index(folders.config(short_videos="repeat_last"), 2).names) == ["long", "one"]


def test_all_videos_too_short(folders):
    folders.video("one", [[1]])
    assert "every video has fewer than 5 frames" in refusal(folders, num_frames=5, short_videos="skip")


def test_every_video_unreadable_is_an_error_even_when_all_may_be_bad(folders):
    folders.video("v", [[1]])
    (folders.masks / "v" / "00000.png").write_bytes(b"broken")
    assert "no video is left" in refusal(folders, on_bad_sample="skip", max_bad_fraction=1.0)


def test_generated_videos_that_are_too_short_are_a_config_error_and_none_is_generated(monkeypatch):
    monkeypatch.setattr("sam2_training.data.formats.synthetic.synthetic_video", None)
    made = VosDatasetConfig(dataset_type="synthetic", synthetic=SyntheticConfig(num_videos=5, num_frames=4))
    assert len(clip_index(made, 4)) == 5
    with pytest.raises(ConfigError, match="less than the 5 frames"):
        clip_index(made, 5)
