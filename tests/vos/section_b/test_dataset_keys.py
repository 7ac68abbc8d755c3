"""Keys of the data: how long clips are, which frames they take, and how a validation takes its videos."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from sam2_training.core.errors import ConfigError, DataError
from sam2_training.core.ranks import Ranks
from sam2_training.engine.task import SampleKey
from sam2_training.tasks import load_config
from sam2_training.vos.clips.dataset import training_index
from sam2_training.vos.config import VosConfig
from sam2_training.vos.evaluation import frames as frames_module
from sam2_training.vos.evaluation.frames import FrameStream
from sam2_training.vos.evaluation.measured_set import MeasuredSet
from sam2_training.vos.validation import VosValidation, open_validation

from tests.vos.opened import build_dataset

SET = "{num_videos: 4, num_frames: 12, size: 64, num_objects: 1}"
SETS = (
    *(f"dataset.synthetic={SET}", f"val_dataset.synthetic={SET}", "scratch.resolution=64"),
    *("evaluation.save_masks=false", "scratch.num_frames=3"),
)


def load(*overrides: str) -> VosConfig:
    return load_config("sam2.1_training/demo", [*SETS, *overrides], VosConfig).config


def validation(folder: Path, *overrides: str) -> VosValidation:
    found = open_validation(load(*overrides), Ranks(), folder, None)
    assert found is not None
    return found


def measured(folder: Path, *overrides: str) -> MeasuredSet:
    return validation(folder, *overrides).sets["validation"]


@pytest.mark.parametrize("key", ["model.image_size", "dataset.image_size", "val_dataset.image_size"])
@pytest.mark.parametrize("written", ["96", "96x96", "[96,96]", "96X96", "'96 x 96'"])
def test_sizes_are_read_in_every_spelling(key: str, written: str) -> None:
    config = load(f"{key}={written}")
    assert config.model.image_size == 96
    assert build_dataset(config, None).batch([SampleKey(0, 0, 0)]).frames.shape[2:4] == (96, 96)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("64x96", "must be a square"),
        ("[64,96]", "must be a square"),
        ("wide", "must be a whole number"),
        ("[64]", "must be a whole number"),
        ("100x100", "is not a multiple of 32"),
    ],
)
def test_a_size_that_cannot_be_is_said_under_the_key_that_was_written(written: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(f"dataset.image_size={written}")
    assert "dataset.image_size=" in str(raised.value)
    assert words in str(raised.value)


@pytest.mark.parametrize("key", ["dataset.video_clip_length", "dataset.num_frames", "scratch.num_frames"])
def test_clips_have_that_many_frames(key: str) -> None:
    batch = build_dataset(load(f"{key}=5"), None).batch([SampleKey(0, 0, 0)])
    assert batch.frames.shape[1] == 5


@pytest.mark.parametrize("key", ["dataset.stride", "dataset.frame_interval"])
def test_frames_of_a_clip_are_so_far_apart(key: str) -> None:
    for written, distances in (("3", {3}), ("[3,3]", {3}), ("[1,2]", {1, 2})):
        dataset = build_dataset(load(f"{key}={written}"), None)
        found = set()
        for position in range(12):
            taken = [int(name) for name in dataset[SampleKey(0, position, 0)].frame_names]
            found |= {later - earlier for earlier, later in pairwise(taken)}
        assert found == distances


def test_the_validation_loss_has_clips_of_its_own_length(tmp_path: Path) -> None:
    def batch(*overrides: str) -> Any:
        return measured(tmp_path, *overrides).batches[0]()

    assert batch().frames.shape[1] == 3  # as in training
    assert batch("val_dataset.video_clip_length=5").frames.shape[1] == 5
    strided, plain = batch("val_dataset.stride=3"), batch()
    assert not torch.equal(strided.frames, plain.frames)
    assert load("val_dataset.video_clip_length=5").dataset.num_frames == 3


def test_annotations_are_read_from_the_named_file(tmp_path: Path) -> None:
    """The names of that vocabulary: what is missing there is said with its path."""
    own = ["data.train_path=a/train.json", "data.val_path=a/val.json", "data.img_folder=a/frames"]
    config = load(*own, "dataset.dataset_type=auto", "val_dataset.dataset_type=auto")
    with pytest.raises(DataError, match=r"a/train\.json"):
        training_index(config, tmp_path)
    assert config.dataset.img_folder == "a/frames"
    assert config.val_dataset is not None
    assert config.val_dataset.data_path == "a/val.json"
    with pytest.raises(DataError, match=r"a/val\.json"):
        open_validation(config, Ranks(), tmp_path, None)


def test_videos_are_measured_one_by_one() -> None:
    with pytest.raises(ConfigError, match=r"val_dataset\.batch_size=4 must lie between 1 and 1"):
        load("val_dataset.batch_size=4")


def test_videos_are_measured_in_order(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"val_dataset\.shuffle=true: a validation takes its videos in their order"):
        load("val_dataset.shuffle=true")
    names = [clip.name for clip in measured(tmp_path, "dataset.shuffle=true").clips]
    assert names == sorted(names)


def test_so_many_threads_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Watched(FrameStream):
        def __init__(self, source: Any, normalize: Any, device: Any, num_threads: int = 1) -> None:
            asked.append(num_threads)
            super().__init__(source, normalize, device, num_threads)

    monkeypatch.setattr("sam2_training.vos.evaluation.tracker.FrameStream", Watched)
    from sam2_training.engine.precision import Precision
    from sam2_training.vos.model.build import build_for_inference

    torch.manual_seed(0)
    network, values = build_for_inference(load()), []
    for number in (0, 1, 3):
        made = validation(tmp_path, f"val_dataset.num_workers={number}", "trainer.limit_val_batches=1")
        values.append(made.measure(network, 0, Precision("32", torch.device("cpu")), lambda: None))
    assert asked == [0, 1, 3]
    assert values[0] == values[1] == values[2]


def test_without_threads_a_frame_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    class Source:
        name, num_frames = "a", 9

        def __init__(self) -> None:
            self.read: list[int] = []

        def read_frame(self, frame_index: int) -> Any:
            self.read.append(frame_index)
            return torch.zeros(4, 4, 3, dtype=torch.uint8).numpy()

    normalize = frames_module.Normalizer(4, torch.zeros(3), torch.ones(3))
    source = Source()
    with FrameStream(source, normalize, torch.device("cpu"), 0) as stream:
        assert next(iter(stream.in_order(0)))[0] == 0
        assert source.read == [0]
    with FrameStream(source, normalize, torch.device("cpu"), 5) as stream:
        assert [index for index, _ in stream.in_order(2)] == list(range(2, 9))


def test_a_validation_takes_a_number_or_a_fraction_of_the_videos(tmp_path: Path) -> None:
    for written, expected in (("3", 3), ("0.5", 2), ("1.0", 4), ("99", 4)):
        assert len(measured(tmp_path, f"trainer.limit_val_batches={written}").clips) == expected
