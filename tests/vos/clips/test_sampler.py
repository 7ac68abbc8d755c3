"""A clip starts with a visible object, every valid start is as likely, and nothing is tried twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sam2_training.core.errors import DataError
from sam2_training.data.source import Video
from sam2_training.vos.clips.sampler import RandomUniformSampler


def video_of(areas: np.ndarray) -> Video:
    """A video with these areas [F, N] and the objects 10, 20, ..."""
    ids = tuple(10 * (n + 1) for n in range(areas.shape[1]))
    return Video("v", tuple(f"{t}.png" for t in range(len(areas))), ids, areas)


def labels(text: str) -> Video:
    """One object's frames: v visible, . absent, ? unlabeled."""
    return video_of(np.array([[{"v": 5, ".": 0, "?": -1}[mark]] for mark in text], np.int32))


def draw(sampler: RandomUniformSampler, video: Video, count: int = 400) -> Counter:
    rng = np.random.default_rng(0)
    return Counter(sampler.sample(video, rng).frame_indices for _ in range(count))


def test_all_valid_starts_are_equally_likely_and_no_other_is_drawn():
    found = draw(RandomUniformSampler(2, 1), labels("v.?vvv"), 3000)
    assert set(found) == {(0, 1), (3, 4), (4, 5)}
    assert all(abs(count - 1000) < 120 for count in found.values())


def test_reversed_clip_starts_with_a_visible_object_in_clip_order():
    found = draw(RandomUniformSampler(3, 1, reverse_time_prob=1.0), labels("v..v..v"))
    assert set(found) == {(3, 2, 1), (6, 5, 4)}


def test_reverse_time_prob_is_the_share_of_reversed_clips():
    found = draw(RandomUniformSampler(2, 1, reverse_time_prob=0.25), labels("vvvv"), 4000)
    backwards = sum(count for frames, count in found.items() if frames[0] > frames[1])
    assert abs(backwards - 1000) < 120


def test_a_direction_without_a_valid_start_is_not_drawn():
    assert set(draw(RandomUniformSampler(3, 1, reverse_time_prob=0.5), labels("v.."))) == {(0, 1, 2)}
    assert set(draw(RandomUniformSampler(3, 1, reverse_time_prob=0.5), labels("..v"))) == {(2, 1, 0)}


def test_frame_interval_is_drawn_from_those_that_fit():
    found = draw(RandomUniformSampler(3, 1, frame_interval=(2, 9)), labels("vvvvvvv"), 4000)
    gaps = Counter()
    for frames, count in found.items():
        assert frames[2] - frames[1] == frames[1] - frames[0]
        gaps[frames[1] - frames[0]] += count
    assert set(gaps) == {2, 3}
    assert abs(gaps[2] - 2000) < 200


def test_annotated_selection_leaves_unlabeled_frames_out():
    sampler = RandomUniformSampler(2, 1, frame_selection="annotated")
    assert set(draw(sampler, labels("v??.?v?v"))) == {(0, 3), (5, 7)}


def test_objects_are_drawn_among_those_visible_in_the_first_frame():
    areas = np.full((2, 6), 3, np.int32)
    areas[0, 1], areas[0, 4] = 0, -1
    rng = np.random.default_rng(0)
    plans = [RandomUniformSampler(2, 2).sample(video_of(areas), rng) for _ in range(600)]
    pairs = Counter(plan.object_ids for plan in plans)
    assert set(pairs) == {(10, 30), (10, 40), (10, 60), (30, 40), (30, 60), (40, 60)}
    assert min(pairs.values()) > 60
    assert RandomUniformSampler(2, 9).sample(video_of(areas), rng).object_ids == (10, 30, 40, 60)


@pytest.mark.parametrize(
    ("marks", "num_frames", "expected"),
    [
        ("vvv", 3, None),
        ("vv", 3, "short"),
        ("...", 3, "empty"),
        (".vv", 3, "empty"),
        ("v??", 3, None),
        ("..", 3, "empty"),
    ],
)
def test_problem_says_why_no_clip_can_be_drawn(marks, num_frames, expected):
    sampler = RandomUniformSampler(num_frames, 1)
    assert sampler.problem(labels(marks).areas) == expected
    if expected is not None:
        with pytest.raises(DataError, match="video v"):
            sampler.sample(labels(marks), np.random.default_rng(0))


def test_short_video_without_objects_is_left_out_as_short():
    assert RandomUniformSampler(3, 1, short_videos="skip").problem(labels("..").areas) == "short"
    assert RandomUniformSampler(3, 1, short_videos="repeat_last").problem(labels("..").areas) == "empty"


def test_short_video_repeats_its_last_frame():
    sampler = RandomUniformSampler(5, 1, short_videos="repeat_last")
    assert set(draw(sampler, labels("v.v"))) == {(0, 1, 2, 2, 2)}
    assert set(draw(sampler, labels(".v?"))) == {(1, 2, 2, 2, 2)}
    backwards = RandomUniformSampler(5, 1, reverse_time_prob=1.0, short_videos="repeat_last")
    assert set(draw(backwards, labels("v.v"))) == {(2, 1, 0, 0, 0)}
    assert set(draw(sampler, labels("vvvvvv"))) == {(0, 1, 2, 3, 4), (1, 2, 3, 4, 5)}
