"""Clips by key: the same wherever and whenever they are made; bad ones are named, counted, never replaced."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import sam2_training.data.images as readers
import torch
from sam2_training.core.errors import ConfigError, DataError
from sam2_training.data.config import SyntheticConfig
from sam2_training.data.images import UnreadableFileError
from sam2_training.engine.task import SampleKey
from sam2_training.vos.batch import VideoBatch
from sam2_training.vos.clips.collate import BadSample
from sam2_training.vos.clips.config import TrainingSetConfig, TransformsConfig
from sam2_training.vos.clips.dataset import ClipDataset
from sam2_training.vos.clips.planes import unpack_planes
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.config import ModelConfig

from tests.vos.opened import build_dataset


class Keyed(torch.utils.data.Dataset):
    """A dataset over a fixed list of keys, for torch's loader."""

    def __init__(self, dataset, keys: list[SampleKey]) -> None:
        self.dataset, self.keys = dataset, keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, place: int):
        return self.dataset[self.keys[place]]


def batches(dataset, keys: list[SampleKey], num_workers: int, batch_size: int = 2) -> list[VideoBatch]:
    loader = torch.utils.data.DataLoader(
        Keyed(dataset, keys), batch_size, num_workers=num_workers, collate_fn=dataset.collate
    )
    return list(loader)


def digest(batch: VideoBatch) -> tuple:
    parts = [batch.frames, batch.mask_planes, batch.labeled, batch.object_clip, batch.object_bit, batch.object_ids]
    return tuple(part.numpy().tobytes() for part in parts), batch.info


@pytest.fixture
def clips(folders) -> ClipDataset:
    folders.video("a", [[1, 2], None, [2], [1, 2], [1]])
    folders.video("b", [[3], [3], [], [3]])
    folders.video("c", [[5, 6, 7, 8]] * 4)
    config = replace(folders.train_config(num_frames=3, multiplier=2), transforms=TransformsConfig())
    dataset = build_dataset(config, None)
    assert isinstance(dataset, ClipDataset)
    return dataset


def test_length_is_videos_times_multiplier(clips):
    assert len(clips) == 6
    assert clips[SampleKey(0, 0, 1)].video_name == clips[SampleKey(0, 0, 4)].video_name


def test_r04_clips_do_not_depend_on_the_number_of_workers(clips):
    keys = [SampleKey(1, position, (position * 5) % 6) for position in range(6)]
    alone = [digest(batch) for batch in batches(clips, keys, 0)]
    assert alone == [digest(batch) for batch in batches(clips, keys, 2)]
    torch.manual_seed(99)
    np.random.seed(99)
    shuffled = [clips[key] for key in reversed(keys)][::-1]  # nor on what was drawn before
    assert alone == [digest(clips.collate(shuffled[n : n + 2])) for n in range(0, 6, 2)]


def test_clips_change_with_epoch_position_and_seed(clips):
    base = clips[SampleKey(0, 0, 2)].augmentation
    other_seed = ClipDataset(replace(clips.config, seed=7), clips.index)
    assert base != clips[SampleKey(1, 0, 2)].augmentation
    assert base != clips[SampleKey(0, 1, 2)].augmentation
    assert base != other_seed[SampleKey(0, 0, 2)].augmentation


def test_masks_and_labels_are_those_of_the_files(folders, make_squares):
    folders.video("v", [[4, 9], None, [9]])
    dataset = build_dataset(folders.train_config(num_frames=3, resolution=64), None)
    sample = dataset[SampleKey(0, 0, 0)]
    assert sample.object_ids == (4, 9)
    assert sample.labeled.tolist() == [[True, True], [False, False], [True, True]]
    assert sample.mask_paths[1] == ""
    masks = unpack_planes(sample.mask_planes[0], 2)
    ids = make_squares([4, 9])
    rows, columns = (np.arange(64) * 24) // 64, (np.arange(64) * 32) // 64
    assert (masks[0] == (ids == 4)[rows][:, columns]).all()
    assert not unpack_planes(sample.mask_planes[2], 2)[0].any()  # absent: labeled, no pixel
    batch = dataset.collate([sample])
    assert (batch.masks(0).numpy() == masks).all()
    assert "v frames 00000..00002" in batch.info.sources[0]


def test_more_than_eight_objects_in_16_bit_masks(folders, make_squares):
    ids = [1000 + n for n in range(11)]
    for t in range(2):
        folders.image("v", f"{t}.png", height=40)
        folders.mask("v", f"{t}.png", make_squares(ids, height=40), "I;16")
    config = folders.train_config(resolution=64)
    config = replace(config, dataset=replace(config.dataset, max_num_objects=10))
    dataset = build_dataset(config, None)
    batch = dataset.collate([dataset[SampleKey(0, 0, 0)]])
    assert batch.mask_planes.shape == (1, 2, 2, 64, 64)
    assert batch.num_objects == 10
    masks = batch.masks(1)
    assert masks.flatten(1).any(dim=1).all()
    assert (masks.sum(dim=0) <= 1).all()


def test_overlapping_objects_from_a_folder_per_object(folders, make_squares):
    for t in range(2):
        folders.image("v", f"{t}.png")
        folders.mask("v/1", f"{t}.png", make_squares([1, 1]), "L")
    folders.mask("v/2", "0.png", make_squares([1]), "1")
    dataset = build_dataset(folders.train_config(), None)
    sample = dataset[SampleKey(0, 0, 0)]
    assert sample.labeled.tolist() == [[True, True], [True, False]]
    first = unpack_planes(sample.mask_planes[0], 2)
    assert (first[0] & first[1]).sum() == first[1].sum() > 0


def test_batch_of_clips_with_different_numbers_of_objects(clips):
    samples = [clips[SampleKey(0, n, n)] for n in range(3)]
    batch = clips.collate(samples)
    counts = [sample.num_objects for sample in samples]
    assert batch.frames.shape == (3, 3, 32, 32, 3)
    assert batch.frames.dtype == torch.uint8
    assert batch.object_clip.tolist() == [b for b, count in enumerate(counts) for _ in range(count)]
    assert batch.info.loss_weight == sum(counts)
    for o, (b, n) in enumerate(zip(batch.object_clip.tolist(), batch.object_bit.tolist(), strict=True)):
        assert (batch.masks(1)[o].numpy() == unpack_planes(samples[b].mask_planes[1], counts[b])[n]).all()
        assert batch.labeled[:, o].tolist() == samples[b].labeled[:, n].tolist()


def test_batch_says_on_the_cpu_which_frames_can_be_prompted_and_have_labels(clips):
    for keys in ([0], [1], [2], [0, 2], [0, 1, 2]):
        for position in range(4):
            batch = clips.collate([clips[SampleKey(0, position, key)] for key in keys])
            visible = torch.stack([batch.masks(t).flatten(1).any(dim=1) for t in range(3)])
            for number, clip in enumerate(batch.info.clips):
                own = batch.object_clip == number
                assert clip.num_objects == own.sum()
                assert list(clip.promptable) == (visible & batch.labeled)[:, own].all(dim=1).tolist()
                assert list(clip.labeled_frames) == batch.labeled[:, own].any(dim=1).tolist()


def test_short_video_repeats_its_last_frame_in_the_clip(folders):
    folders.video("v", [[1], [1]])
    dataset = build_dataset(folders.train_config(num_frames=4, short_videos="repeat_last"), None)
    sample = dataset[SampleKey(0, 0, 0)]
    assert sample.frame_names == ("00000", "00001", "00001", "00001")
    assert (sample.frames[1] == sample.frames[3]).all()
    assert sample.labeled.all()


def test_every_file_of_a_clip_is_read_once(folders, monkeypatch):
    folders.video("v", [[1, 2], [1, 2]])
    dataset = build_dataset(folders.train_config(num_frames=4, short_videos="repeat_last"), None)
    read: list[str] = []
    real = readers.read_bytes
    monkeypatch.setattr(readers, "read_bytes", lambda path: read.append(path) or real(path))
    dataset[SampleKey(0, 0, 0)]
    assert len(read) == len(set(read)) == 4


def broken(folders, **changes) -> ClipDataset:
    """A good video, and one whose frames break after indexing."""
    folders.video("a", [[1], [1]])
    folders.video("b", [[1], [1]])
    dataset = build_dataset(folders.train_config(**changes), None)
    for path in (folders.images / "b").iterdir():
        path.write_bytes(b"no image")
    assert isinstance(dataset, ClipDataset)
    return dataset


@pytest.mark.parametrize("num_workers", [0, 1])
def test_r16_bad_clip_stops_with_its_sentence_even_from_a_worker(folders, num_workers):
    dataset = broken(folders)
    with pytest.raises(DataError) as caught:
        batches(dataset, [SampleKey(0, 0, 1)], num_workers)
    assert str(caught.value).startswith(
        f"the image cannot be decoded, it is not a JPEG, PNG or WebP file: {folders.images / 'b'}"
    )
    assert "Traceback" not in str(caught.value)
    assert caught.value.exit_code == 6


def test_data_errors_survive_pickling():
    for error in (DataError("a\nb"), UnreadableFileError("x: y")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


def test_bad_clip_is_left_out_and_reported_with_skip(folders):
    dataset = broken(folders, on_bad_sample="skip")
    batch = dataset.collate([dataset[SampleKey(0, n, n)] for n in range(2)])
    assert batch.frames.shape[0] == 1
    assert len(batch.info.bad_samples) == 1
    assert str(folders.images / "b") in batch.info.bad_samples[0]
    assert dataset[SampleKey(0, 1, 1)] == dataset[SampleKey(0, 1, 1)]


def test_batch_of_bad_clips_becomes_a_blank_clip_without_weight(folders):
    dataset = broken(folders, on_bad_sample="skip")
    batch = batches(dataset, [SampleKey(0, 0, 1), SampleKey(0, 1, 1)], 1)[0]
    assert batch.frames.shape == (1, 2, 32, 32, 3)
    assert batch.mask_planes.shape == (1, 2, 1, 32, 32)
    assert not batch.frames.any()
    assert not batch.labeled.any()
    assert batch.masks(1).shape == (1, 32, 32)
    assert batch.info.loss_weight == 0
    assert [(clip.promptable, clip.labeled_frames) for clip in batch.info.clips] == [((False, False), (False, False))]
    assert len(batch.info.bad_samples) == 2
    assert isinstance(dataset[SampleKey(0, 0, 1)], BadSample)


def synthetic_config(**changes) -> VosConfig:
    made = SyntheticConfig(num_videos=5, num_frames=4, size=48, num_objects=2)
    dataset = replace(TrainingSetConfig(dataset_type="synthetic", synthetic=made, num_frames=3), **changes)
    return VosConfig(model=ModelConfig(image_size=64), dataset=dataset)


def test_synthetic_dataset_has_the_same_interface():
    dataset = build_dataset(synthetic_config(multiplier=3), None)
    assert len(dataset) == 15
    keys = [SampleKey(0, n, n) for n in range(4)]
    made = batches(dataset, keys, 0)
    assert made[0].frames.shape == (2, 3, 64, 64, 3)
    assert made[0].masks(0).flatten(1).any(dim=1).all()
    assert [digest(batch) for batch in made] == [digest(batch) for batch in batches(dataset, keys, 1)]
    assert dataset.fingerprint() != build_dataset(replace(synthetic_config(), seed=1), None).fingerprint()
    assert "5, generated (4 frames of 48x48, 2 objects)" in dataset.describe()[0]


def test_synthetic_videos_too_short_for_a_clip_are_a_config_error():
    with pytest.raises(ConfigError, match=r"less than the 5 frames"):
        build_dataset(synthetic_config(frame_interval=(2, 2)), None)
