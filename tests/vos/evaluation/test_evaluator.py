"""Evaluation as a whole: scores, reasons instead of zeros, callbacks, and the same result on any number of ranks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sam2_training.core.errors import DataError
from sam2_training.core.ranks import Ranks
from sam2_training.data.config import SyntheticConfig
from sam2_training.data.source import FrameLabels
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.evaluator import divide, evaluate
from sam2_training.vos.evaluation.prompt_spec import PromptSpec
from sam2_training.vos.evaluation.result import EvaluationResult
from sam2_training.vos.evaluation.tracker import FrameMasks, VideoTracker
from sam2_training.vos.model.tracker import TrainableSAM2

from tests import two_ranks
from tests.vos.evaluation.generated import generated_clip
from tests.vos.metrics.whole_clips import score_object

MADE = SyntheticConfig(num_videos=4, num_frames=6, size=64, num_objects=2)
MASK = PromptSpec("mask")


class Altered:
    """A generated clip of which something is withheld."""

    def __init__(self, clip: EvaluationClip, num_frames: int | None = None, name: str = "altered") -> None:
        self.clip, self.name = clip, name
        self.num_frames = num_frames or clip.num_frames
        self.frame_names, self.object_ids = clip.frame_names[: self.num_frames], clip.object_ids
        self.labeled = clip.labeled[: self.num_frames].copy()
        self.visible = clip.visible[: self.num_frames].copy()
        self.object_folders = clip.object_folders
        self.error: DataError | None = None

    def hide(self, object_number: int, frames: slice, unlabeled: bool) -> None:
        self.visible[frames, object_number] = False
        if unlabeled:
            self.labeled[frames, object_number] = False

    def read_frame(self, frame_index: int) -> np.ndarray:
        if self.error is not None:
            raise self.error
        return self.clip.read_frame(frame_index)

    def labels(self, frame_index: int) -> FrameLabels:
        return FrameLabels(self.ground_truth(frame_index))

    def ground_truth(self, frame_index: int) -> np.ndarray:
        assert self.labeled[frame_index].any(), "an unlabeled frame has no truth"
        return self.clip.ground_truth(frame_index) & self.visible[frame_index][:, None, None]


@pytest.fixture
def clips() -> list[EvaluationClip]:
    return [generated_clip(replace(MADE, num_frames=4 + n), 5, n) for n in range(3)]


@pytest.mark.parametrize("protocol", ["davis", "sav"])
def test_scores_are_those_of_the_tracked_masks(
    protocol: Any, vivid: TrainableSAM2, clips: list[EvaluationClip]
) -> None:
    result = evaluate(vivid, clips, Ranks(), MASK, protocol)
    assert [clip.video for clip in result.clips] == [clip.name for clip in clips]
    tracker = VideoTracker(vivid, torch.device("cpu"))
    from sam2_training.vos.evaluation.prompts import prompt_from_ground_truth

    for clip, found in zip(clips, result.clips, strict=True):
        prompts = [prompt_from_ground_truth(MASK, i, 0, clip.ground_truth(0)[n]) for n, i in enumerate(clip.object_ids)]
        masks = np.stack([frame.masks for frame in tracker.track(clip, prompts)])
        truth = np.stack([clip.ground_truth(t) for t in range(clip.num_frames)])
        for n, object_id in enumerate(clip.object_ids):
            whole = score_object(object_id, masks[:, n], truth[:, n], clip.labeled[:, n], 0, protocol)
            assert found.objects[n] == whole
            assert whole.j is not None


def test_reasons_stand_where_there_is_nothing_to_score(vivid: TrainableSAM2, made: EvaluationClip) -> None:
    never, empty, only_first, single = (Altered(made, name=name) for name in ("never", "empty", "only first", "one"))
    never.hide(1, slice(None), unlabeled=True)
    empty.hide(1, slice(None), unlabeled=False)
    only_first.hide(1, slice(1, None), unlabeled=True)
    single = Altered(made, 1, "one")
    last = Altered(made, name="last")
    last.hide(1, slice(1, 5), unlabeled=True)
    result = evaluate(vivid, [never, empty, only_first, single, last], Ranks(), MASK)
    reasons = {row["video"]: row["reason"] for row in result.rows() if row["object"] == 2}
    assert reasons["never"] == "the object is labeled in no frame"
    assert reasons["empty"] == "the ground truth is empty: the object has no pixel in any of its 6 labeled frames"
    assert reasons["only first"] == "no frame after the prompt in frame 0 is labeled"
    assert reasons["one"] == "the video has one frame, and the prompted frame does not count"
    assert reasons["last"].startswith("only the video's last frame is labeled after the prompt")  # type: ignore[union-attr]
    without = [row for row in result.rows() if row["object"] == 2 or row["video"] == "one"]
    assert all(row[name] is None for row in without for name in ("j", "f", "j_and_f", "iou", "presence_accuracy"))
    mean = result.mean()
    assert (mean.num_objects, mean.num_without_score) == (4, 6)
    assert mean.j == pytest.approx(np.mean([row["j"] for row in result.rows() if row["j"] is not None]))


def test_a_clip_that_shows_nothing_is_scored_without_reading_a_frame(
    vivid: TrainableSAM2, made: EvaluationClip
) -> None:
    bare = Altered(made)
    bare.error = DataError("must not be read")
    for n in (0, 1):
        bare.hide(n, slice(None), unlabeled=False)
    result = evaluate(vivid, [bare], Ranks(), MASK)
    assert result.numbers() == {}
    assert result.mean().num_without_score == 2


def test_unlabeled_frames_do_not_count_and_absent_ones_do(vivid: TrainableSAM2, made: EvaluationClip) -> None:
    clip = Altered(made)
    clip.hide(0, slice(2, 3), unlabeled=True)
    clip.hide(0, slice(3, 4), unlabeled=False)
    (found,) = evaluate(vivid, [clip], Ranks(), MASK, "sav").clips
    assert [score.frames for score in found.objects] == [(1, 3, 4, 5), (1, 2, 3, 4, 5)]


def test_callbacks_hear_of_every_clip_and_frame(vivid: TrainableSAM2, clips: list[EvaluationClip]) -> None:
    heard: list[tuple[int, int, str]] = []
    frames: dict[str, list[int]] = {}

    def on_masks(clip: EvaluationClip, frame: FrameMasks) -> None:
        frames.setdefault(clip.name, []).append(frame.frame_index)
        assert frame.masks.shape == (2, 64, 64)

    evaluate(vivid, clips, Ranks(), PromptSpec("box"), on_clip=lambda *a: heard.append(a), on_masks=on_masks)
    assert heard == [(1, 3, "synthetic-2"), (2, 3, "synthetic-1"), (3, 3, "synthetic-0")], "the longest comes first"
    assert frames == {clip.name: list(range(clip.num_frames)) for clip in clips}


@pytest.mark.parametrize("text", ["mask", "box", "click:1", "click:3", "interactive:1"])
def test_every_prompt_scores_and_is_repeatable(text: str, vivid: TrainableSAM2, clips: list[EvaluationClip]) -> None:
    first, again = (evaluate(vivid, clips[:1], Ranks(), PromptSpec.parse(text)) for _ in range(2))
    assert first == again
    assert set(first.numbers()) == {"j", "f", "j_and_f", "iou", "dice", "presence_accuracy"}
    assert (first.prompt, first.protocol) == (text, "davis")


def test_more_clicks_are_asked_for_after_the_first(
    vivid: TrainableSAM2, clips: list[EvaluationClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_training.vos.sam2.inference import SAM2Inference

    points: list[int] = []
    original = SAM2Inference.predict_prompted

    def predict_prompted(self: SAM2Inference, frame: int, features: Any, prompt: Any, *rest: Any, **more: Any) -> Any:
        points.append(prompt.labels.shape[1])
        return original(self, frame, features, prompt, *rest, **more)

    monkeypatch.setattr(SAM2Inference, "predict_prompted", predict_prompted)
    evaluate(vivid, clips[:1], Ranks(), PromptSpec.parse("click:3"))
    assert points == [1, 2, 3, 1, 2, 3], "two objects, three clicks each, every one after the answer to those before"


def test_a_result_survives_json_and_pickle(vivid: TrainableSAM2, clips: list[EvaluationClip]) -> None:
    import pickle

    result = evaluate(vivid, clips, Ranks(), MASK)
    assert EvaluationResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    assert pickle.loads(pickle.dumps(result)) == result
    row = result.rows()[0]
    assert {"video", "object", "frames", "j", "f", "j_and_f", "reason"} <= set(row)
    assert (row["video"], row["object"], row["frames"]) == ("synthetic-0", 1, 2)
    json.dumps(result.rows())
    assert all(clip.seconds > 0 for clip in result.clips)


def test_work_is_divided_by_length_longest_first() -> None:
    assert divide([5, 9, 9, 2, 4], 2) == [[1, 0], [2, 4, 3]]
    assert divide([1, 1], 3) == [[0], [1], []]
    shares = divide(list(range(1, 40)), 4)
    assert sorted(number for share in shares for number in share) == list(range(39))
    loads = [sum(number + 1 for number in share) for share in shares]
    assert max(loads) - min(loads) <= 3


def test_nothing_or_one_name_twice_is_refused(vivid: TrainableSAM2, made: EvaluationClip) -> None:
    with pytest.raises(DataError, match="no video to evaluate"):
        evaluate(vivid, [], Ranks(), MASK)
    with pytest.raises(DataError, match="same name: synthetic-0"):
        evaluate(vivid, [made, made], Ranks(), MASK)


RANK = """
import json, os
import torch
torch.set_num_threads(1)
from tests.vos.evaluation.generated import generated_clip
from tests.vos.evaluation.stock_tracking import TINY, vivid_network
from sam2_training.data.config import SyntheticConfig
from sam2_training.core.ranks import process_group, ranks_from_environment
from sam2_training.core.errors import DataError
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.evaluator import evaluate
from sam2_training.vos.evaluation.prompt_spec import PromptSpec

class Broken(EvaluationClip):
    def read_frame(self, frame_index):
        raise DataError("frame 3 of synthetic-1 is damaged")

def clips(*kinds):
    return [
        generated_clip(SyntheticConfig(num_frames=4 + n, size=64, num_objects=2), 5, n, kind)
        for n, kind in enumerate(kinds)
    ]

ranks = ranks_from_environment("cpu")
network, heard, seen = vivid_network(TINY, 64), [], {}
with process_group(ranks, 60):
    three = clips(*[EvaluationClip] * 3)
    good = evaluate(network, three, ranks, PromptSpec("mask"), on_clip=lambda *a: heard.append(a))
    seen["result"], seen["heard"] = good.to_json(), heard
    try:
        evaluate(network, clips(EvaluationClip, Broken, EvaluationClip), ranks, PromptSpec("mask"))
    except DataError as error:
        seen["failure"] = str(error)
with open(os.environ["RESULT"] + str(ranks.rank), "w") as file:
    json.dump(seen, file)
"""


@pytest.fixture(scope="module")
def seen_by_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return two_ranks.seen_by_two_ranks(RANK, tmp_path_factory.mktemp("ranks"))


def test_two_ranks_share_the_clips_and_both_have_the_result_of_one(
    seen_by_two_ranks: list[dict[str, Any]], vivid: TrainableSAM2, clips: list[EvaluationClip]
) -> None:
    alone = evaluate(vivid, clips, Ranks(), MASK)
    one, other = (EvaluationResult.from_json(seen["result"]) for seen in seen_by_two_ranks)
    assert one == other == alone
    assert seen_by_two_ranks[0]["heard"] == [[1, 1, "synthetic-2"]]
    assert seen_by_two_ranks[1]["heard"] == [[1, 2, "synthetic-1"], [2, 2, "synthetic-0"]]


def test_a_failure_on_one_rank_is_raised_on_all(seen_by_two_ranks: list[dict[str, Any]]) -> None:
    assert [seen["failure"] for seen in seen_by_two_ranks] == ["frame 3 of synthetic-1 is damaged"] * 2
