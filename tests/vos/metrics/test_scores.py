"""J, F and J&F: the published numbers, the rules on frames, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sam2_training.core.errors import DataError
from sam2_training.vos.metrics.scores import (
    FrameScore,
    MeanScore,
    ObjectScore,
    mean_score,
    score_from_frames,
    scored_frames,
)

from tests.vos.metrics.whole_clips import boundary_accuracy, region_similarity, score_object

Masks = NDArray[np.bool_]

REFERENCES = [
    *((f"davis2016/{method}", name) for method in ("osvos", "stm") for name in
      ("blackswan", "bmx-trees", "car-shadow", "kite-surf", "libby")),
    *(("davis2017_single_object", name) for name in ("blackswan_1", "car-shadow_1", "libby_1")),
    *(("multiobject_240p", name) for name in ("dogs-jump_1", "dogs-jump_2", "dogs-jump_3")),
]  # fmt: skip


def read_masks(folder: Path, object_id: int | None = None) -> Masks:
    """A folder's masks of one id, or of anything that is not background; [T, H, W]."""
    frames = [np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))]
    assert frames, folder
    return np.stack([frame > 0 if object_id is None else frame == object_id for frame in frames])


def reference(data: Path, group: str, name: str) -> tuple[Masks, Masks, dict[str, Any]]:
    """Predictions, truth and the values expected of them."""
    folder = data / "reference_metrics"
    expected = json.loads((folder / "expected.json").read_text())
    if group.startswith("davis2016/"):
        method = group.split("/")[1]
        masks = read_masks(folder / "davis2016" / "pred" / method / name)
        return masks, read_masks(folder / "davis2016" / "gt" / name), expected["davis2016"][method][name]
    sequence, object_id = name[:-2], int(name[-1])
    if group == "multiobject_240p":
        masks = read_masks(folder / group / "pred" / "osvos" / sequence, object_id)
        truth = read_masks(data / "vos" / "Annotations" / sequence, object_id)
    else:
        masks = read_masks(folder / "davis2017" / "pred" / "osvos" / sequence, object_id)
        truth = read_masks(folder / "davis2016" / "gt" / sequence)
    return masks, truth, expected[group][name]


@pytest.mark.parametrize(("group", "name"), REFERENCES)
def test_r22_reference_metrics_are_reproduced(real_data: Path, group: str, name: str) -> None:
    masks, truth, expected = reference(real_data, group, name)
    score = score_object(1, masks, truth, np.ones(len(truth), bool), first_frame=0)
    assert score.j == pytest.approx(expected["J_mean"], abs=1e-12)
    assert score.f == pytest.approx(expected["F_mean"], abs=1e-12)
    assert score.frames == tuple(range(1, len(truth) - 1))
    if "published" in expected:  # four decimals
        assert (f"{score.j:.4f}", f"{score.f:.4f}") == (expected["published"]["J"], expected["published"]["F"])
    if group.startswith("davis2016/"):
        method = group.split("/")[1]
        path = real_data / "reference_metrics" / "davis2016" / "published" / f"{method}_davis.json"
        published = json.loads(path.read_text())[name]  # three decimals, every scored frame
        np.testing.assert_allclose(score.j_per_frame, np.array(published["J"], float), atol=0.0005 + 1e-9)
        np.testing.assert_allclose(score.f_per_frame, np.array(published["F"], float), atol=0.0005 + 1e-9)


# Empty masks.


def box(height: int = 40, width: int = 60) -> Masks:
    mask = np.zeros((height, width), bool)
    mask[10:30, 20:40] = True
    return mask


def test_empty_frames_follow_the_davis_rule() -> None:
    empty, shown, full = np.zeros((40, 60), bool), box(), np.ones((40, 60), bool)
    masks, truth = np.stack([empty, empty, shown, full]), np.stack([empty, shown, empty, full])
    assert region_similarity(masks, truth).tolist() == [1, 0, 0, 1]
    assert boundary_accuracy(masks, truth).tolist() == [1, 0, 0, 1]


def test_no_frames_give_no_values() -> None:
    none = np.zeros((0, 4, 5), bool)
    assert region_similarity(none, none).shape == boundary_accuracy(none, none).shape == (0,)


def test_simple_numbers_leave_out_frames_that_show_nothing() -> None:
    truth = np.zeros((6, 40, 60), bool)
    masks = truth.copy()
    truth[[0, 1, 3]] = box()
    masks[[1, 2]] = box()
    masks[1, 10:20] = False  # half of the object
    score = score_object(7, masks, truth, np.ones(6, bool), 0, "sav")
    assert score.frames == (1, 2, 3, 4, 5)  # half, false alarm, missed, empty, empty
    assert score.j_per_frame == (0.5, 0, 0, 1, 1)
    assert score.j == 0.5
    assert score.f == np.mean(score.f_per_frame)
    assert score.j_and_f == (score.j + score.f) / 2
    assert score.iou == pytest.approx(0.5 / 3)
    assert score.dice == pytest.approx(2 / 3 / 3)
    assert score.presence_accuracy == 3 / 5
    assert score.reason is None


# Which frames count.


@pytest.mark.parametrize(
    ("first_frame", "protocol", "expected"),
    [(0, "davis", [1, 2, 4]), (0, "sav", [1, 2, 4, 5]), (2, "davis", [4]), (2, "sav", [4, 5]), (5, "sav", [])],
)
def test_labeled_frames_between_prompt_and_end_count(first_frame: int, protocol: Any, expected: list[int]) -> None:
    labeled = np.array([True, True, True, False, True, True])
    assert scored_frames(labeled, first_frame, 6, protocol) == expected


def test_pixels_of_unlabeled_frames_change_nothing() -> None:
    truth = np.stack([box()] * 5)
    labeled = np.array([True, True, False, True, True])
    expected = score_object(1, truth, truth, labeled, 0)
    assert (expected.frames, expected.j) == ((1, 3), 1.0)
    masks = truth.copy()
    masks[[0, 2, 4]] = False
    assert score_object(1, masks, truth, labeled, 0) == expected


# A number that cannot be computed is absent, with a reason.


def assert_no_score(score: ObjectScore, reason: str) -> None:
    assert score.reason is not None
    assert reason in score.reason
    assert score.frames == score.j_per_frame == score.f_per_frame == ()
    numbers = (score.j, score.f, score.j_and_f, score.iou, score.dice, score.presence_accuracy)
    assert numbers == (None,) * 6


@pytest.mark.parametrize(
    ("num_frames", "labeled", "first_frame", "protocol", "reason"),
    [
        (1, [0], 0, "davis", "one frame"),
        (1, [0], 0, "sav", "one frame"),
        (2, [0, 1], 0, "davis", "only the video's last frame is labeled after the prompt in frame 0"),
        (6, [0, 2], 2, "sav", "no frame after the prompt in frame 2 is labeled"),
        (6, [0, 5], 0, "davis", "and the protocol davis leaves it out"),
        (6, [], 0, "sav", "labeled in no frame"),
    ],
)
def test_without_a_frame_that_counts_the_score_is_absent(
    num_frames: int, labeled: list[int], first_frame: int, protocol: Any, reason: str
) -> None:
    truth = np.stack([box()] * num_frames)
    there = np.isin(np.arange(num_frames), labeled)
    assert_no_score(score_object(3, truth, truth, there, first_frame, protocol), reason)


@pytest.mark.parametrize("predicted", [False, True])
def test_an_empty_truth_gives_no_score(predicted: bool) -> None:
    truth = np.zeros((5, 40, 60), bool)
    masks = np.full_like(truth, predicted)
    truth[4] = True  # but this frame is not labeled
    labeled = np.array([True, True, True, True, False])
    assert_no_score(score_object(3, masks, truth, labeled, 0), "no pixel in any of its 4 labeled frames")


def test_an_object_that_leaves_at_once_has_j_and_f_but_no_iou() -> None:
    truth = np.zeros((4, 40, 60), bool)
    truth[0] = box()
    score = score_object(3, truth, truth, np.ones(4, bool), 0)
    assert (score.j, score.f, score.j_and_f, score.presence_accuracy) == (1, 1, 1, 1)
    assert (score.iou, score.dice) == (None, None)
    assert score.reason is not None
    assert "no IoU and Dice" in score.reason


def test_the_mean_is_over_objects_and_leaves_out_those_without_a_score() -> None:
    def frame(j: float, f: float, shown: bool = True) -> FrameScore:
        return FrameScore(j, f, j, shown, shown)

    long = score_from_frames(1, {1: frame(0.5, 0.25), 2: frame(0.5, 0.25), 3: frame(0.5, 0.25)})
    short = score_from_frames(2, {1: frame(1.0, 0.75, shown=False)})
    none = score_from_frames(3, {}, "because")
    assert_no_score(none, "because")
    assert mean_score([long, none, short]) == MeanScore(0.75, 0.5, 0.625, 0.5, 0.5, 1.0, 2, 1)
    assert mean_score([none]) == MeanScore(None, None, None, None, None, None, 0, 1)
    assert mean_score([]) == MeanScore(None, None, None, None, None, None, 0, 0)


# Bad input.


def test_other_input_that_cannot_be_scored_is_refused() -> None:
    masks = np.stack([box()] * 3)
    there = np.ones(3, bool)
    with pytest.raises(DataError, match=r"3 frames.*shape \(2,\)"):
        score_object(1, masks, masks, there[:2], 0)
    with pytest.raises(ValueError, match="first_frame=3 is no frame of a clip of 3"):
        score_object(1, masks, masks, there, 3)
    with pytest.raises(ValueError, match=r"'davis2017' is unknown.*davis, sav"):
        score_object(1, masks, masks, there, 0, "davis2017")  # type: ignore[arg-type]
