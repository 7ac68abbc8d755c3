"""Interactive rounds: as stock's predictor with corrected frames as conditioning frames; clicks where it is worst."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sam2_training.core.ranks import Ranks
from sam2_training.data.source import FrameLabels
from sam2_training.vos.clips.config import VosDatasetConfig
from sam2_training.vos.evaluation.clips import EvaluationClip
from sam2_training.vos.evaluation.evaluator import evaluate
from sam2_training.vos.evaluation.interactive import track_interactively
from sam2_training.vos.evaluation.prompt_spec import PromptSpec
from sam2_training.vos.evaluation.prompts import Prompt, corrective_click, prompt_from_ground_truth
from sam2_training.vos.evaluation.tracker import VideoTracker
from sam2_training.vos.model.tracker import TrainableSAM2

from tests.vos.evaluation.stock_tracking import (
    TINY,
    FilesClip,
    give,
    stock_pass,
    stock_predictor,
    vivid_network,
    without_shortcuts,
)
from tests.vos.opened import open_clips

CPU = torch.device("cpu")


def iou(one: np.ndarray, other: np.ndarray) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


@pytest.fixture
def dogs_clip(real_data: Path, tmp_path: Path) -> EvaluationClip:
    (tmp_path / "list.txt").write_text("dogs-jump\n")
    folder = real_data / "vos"
    config = VosDatasetConfig(
        img_folder=str(folder / "JPEGImages"),
        gt_folder=str(folder / "Annotations"),
        file_list_txt=str(tmp_path / "list.txt"),
    )
    return open_clips(config, 0, None)[0]


class Beginning:
    """The first frames of a clip, its masks in every other frame only."""

    def __init__(self, clip: EvaluationClip, num_frames: int) -> None:
        self.clip, self.num_frames, self.name = clip, num_frames, clip.name
        self.object_ids, self.frame_names = clip.object_ids, clip.frame_names[:num_frames]
        self.labeled = clip.labeled[:num_frames].copy()
        self.labeled[1::2] = False
        self.visible = clip.visible[:num_frames] & self.labeled

    def read_frame(self, frame_index: int) -> np.ndarray:
        return self.clip.read_frame(frame_index)

    def labels(self, frame_index: int) -> FrameLabels:
        return FrameLabels(self.ground_truth(frame_index))

    def ground_truth(self, frame_index: int) -> np.ndarray:
        assert self.labeled[frame_index].any(), "an unlabeled frame has no truth"
        return self.clip.ground_truth(frame_index)


def test_three_rounds_equal_stock(dogs_clip: EvaluationClip, dogs: FilesClip, tmp_path: Path) -> None:
    num_frames = 9
    network = without_shortcuts(vivid_network(TINY, 128))
    clip, dogs.num_frames = Beginning(dogs_clip, num_frames), num_frames
    prompts = [prompt_from_ground_truth(PromptSpec("interactive", 3), i, 0, dogs.mask(i)) for i in (1, 2)]
    ours = list(track_interactively(VideoTracker(network, CPU), clip, prompts, 3))
    folder = dogs.linked(tmp_path / "frames")
    clicked = set()
    for row, prompt in enumerate(prompts):
        predictor = stock_predictor(network, TINY, add_all_frames_to_correct_as_cond=True)
        state = predictor.init_state(folder)
        give(predictor, state, prompt)
        stock = stock_pass(predictor, state)
        for _ in range(3):
            truths = {t: dogs.mask(prompt.object_id, t) for t in range(0, num_frames, 2)}
            worst = min(truths, key=lambda t: iou(stock[t][0], truths[t]))
            click = corrective_click(truths[worst], stock[worst][0])
            assert click is not None
            clicked.add(worst)
            predictor.add_new_points_or_box(
                state,
                worst,
                prompt.object_id,
                points=np.array([[click.x, click.y]], np.float32),
                labels=np.array([int(click.positive)], np.int32),
                clear_old_points=False,
            )
            stock = stock_pass(predictor, state)
        assert [frame.frame_index for frame in ours] == sorted(stock)
        for frame in ours:
            assert np.array_equal(frame.masks[row], stock[frame.frame_index][0]), (prompt.object_id, frame.frame_index)
    assert len(clicked) > 1, "the test should see clicks on several frames"


def test_a_perfect_object_gets_no_click_and_ends_the_rounds(vivid: TrainableSAM2, made: EvaluationClip) -> None:
    """With the network's own masks as truth there is nothing to correct: one pass to see that, one to give them."""
    tracker = VideoTracker(vivid, CPU)
    prompts = [Prompt(1, 0, mask=made.ground_truth(0)[0])]
    first = {frame.frame_index: frame.masks for frame in tracker.track(made, prompts)}
    reads: list[int] = []

    class Satisfied:
        name, num_frames, frame_names = made.name, made.num_frames, made.frame_names
        object_ids, labeled, visible = (1,), made.labeled[:, :1], made.visible[:, :1]

        def read_frame(self, frame_index: int) -> np.ndarray:
            reads.append(frame_index)
            return made.read_frame(frame_index)

        def labels(self, frame_index: int) -> FrameLabels:
            return FrameLabels(self.ground_truth(frame_index))

        def ground_truth(self, frame_index: int) -> np.ndarray:
            return first[frame_index]

    again = list(track_interactively(tracker, Satisfied(), prompts, 5))
    assert all(np.array_equal(frame.masks, first[frame.frame_index]) for frame in again)
    assert reads == 2 * list(range(made.num_frames))


def test_the_evaluator_takes_interactive_prompts(vivid: TrainableSAM2, made: EvaluationClip) -> None:
    result = evaluate(vivid, [made], Ranks(), PromptSpec.parse("interactive:2"))
    assert result.prompt == "interactive:2"
    assert all(score.j is not None for score in result.clips[0].objects)
