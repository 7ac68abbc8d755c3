"""Real videos: the index agrees with their manifest, and clips of the hard ones are what they must be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sam2_training.core.text import natural_key
from sam2_training.data.images import read_mask
from sam2_training.data.index import VideoIndex, open_index
from sam2_training.engine.task import SampleKey
from sam2_training.vos.clips.clip_reader import read_clip
from sam2_training.vos.clips.config import TrainingSetConfig, VosDatasetConfig
from sam2_training.vos.clips.dataset import ClipDataset
from sam2_training.vos.clips.planes import unpack_planes
from sam2_training.vos.clips.sampler import RandomUniformSampler
from sam2_training.vos.clips.usable import clip_index
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.config import ModelConfig


@pytest.fixture(scope="module")
def index(real_data) -> VideoIndex:
    folder = real_data / "vos"
    config = VosDatasetConfig(img_folder=str(folder / "JPEGImages"), gt_folder=str(folder / "Annotations"))
    return clip_index(config, 4)


def video(index: VideoIndex, name: str):
    return index.video(list(index.table.names).index(name))


@pytest.mark.parametrize("part", ["vos", "vos_short"])
def test_index_agrees_with_the_manifest(real_data, part):
    folder = real_data / part
    config = VosDatasetConfig(img_folder=str(folder / "JPEGImages"), gt_folder=str(folder / "Annotations"))
    built = open_index(config)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(built.table.names) == sorted(manifest, key=natural_key)
    for number in range(len(built)):
        found = built.video(number)
        facts = manifest[found.name]
        shown = found.areas > 0
        labeled = (found.areas >= 0).any(axis=1)
        assert len(found.frame_files) == facts["frames"]
        assert list(found.object_ids) == facts["object_ids"]
        assert labeled.sum() == facts["annotated_frames"]
        assert shown.sum(axis=0).tolist() == list(facts["annotated_frames_with_object"].values())
        assert shown.argmax(axis=0).tolist() == list(facts["first_frame_with_object"].values())
        assert np.flatnonzero(labeled & ~shown.any(axis=1)).tolist() == facts["empty_annotated_frames"]


def test_caps_is_tracked_through_its_unlabeled_frames(index):
    caps = video(index, "caps")
    rng = np.random.default_rng(0)
    sampler = RandomUniformSampler(4, 3, frame_interval=(1, 3))
    starts = {}
    for _ in range(200):
        plan = sampler.sample(caps, rng)
        starts[plan.frame_indices[0]] = plan.object_ids
    assert starts == {0: (1,), 14: (1,), 33: (1, 2), 43: (1, 2), 66: (1, 2)}
    annotated = RandomUniformSampler(4, 3, frame_selection="annotated")
    assert {annotated.sample(caps, rng).frame_indices for _ in range(50)} == {(0, 14, 33, 43), (14, 33, 43, 66)}
    assert (caps.num_frames, caps.object_ids, caps.visible.argmax(axis=0).tolist()) == (87, (1, 2), [0, 33])


def test_bmx_bumps_never_starts_where_the_rider_is_gone(index):
    bmx = video(index, "bmx-bumps")
    gone = {60, *range(62, 75)}
    rng = np.random.default_rng(0)
    sampler = RandomUniformSampler(4, 3, reverse_time_prob=0.5)
    plans = [sampler.sample(bmx, rng).frame_indices for _ in range(600)]
    assert not {plan[0] for plan in plans} & gone
    assert any(set(plan) & gone for plan in plans)
    through = next(plan for plan in plans if plan[0] not in gone and set(plan[1:]) & gone)
    clip = read_clip(index, bmx, RandomUniformSampler(4, 3).sample(bmx, rng))
    assert clip.labeled.all()
    assert len(through) == 4


def test_surf_ends_absent(index):
    surf = video(index, "surf")
    assert surf.areas[-1].tolist() == [0]
    backwards = RandomUniformSampler(4, 3, reverse_time_prob=1.0)
    rng = np.random.default_rng(0)
    assert max(backwards.sample(surf, rng).frame_indices[0] for _ in range(300)) == 53


def test_dogs_jump_planes_are_the_files_ids(index):
    dogs = video(index, "dogs-jump")
    plan = RandomUniformSampler(3, 3).sample(dogs, np.random.default_rng(1))
    clip = read_clip(index, dogs, plan)
    assert clip.object_ids == (1, 2, 3)
    for t, planes in enumerate(clip.mask_planes):
        ids = read_mask(clip.mask_paths[t])
        assert (unpack_planes(planes, 3) == np.stack([ids == i for i in (1, 2, 3)])).all()


def test_augmented_real_clips_batch_together(index, real_data):
    folder = real_data / "vos"
    images, masks = str(folder / "JPEGImages"), str(folder / "Annotations")
    data = TrainingSetConfig(img_folder=images, gt_folder=masks, num_frames=4)
    dataset = ClipDataset(VosConfig(model=ModelConfig(image_size=128), dataset=data), index)
    batch = dataset.collate([dataset[SampleKey(0, n, n)] for n in range(7)])
    assert batch.frames.shape == (7, 4, 128, 128, 3)
    assert set(batch.object_clip.tolist()) == set(range(7))
    assert batch.masks(0).flatten(1).any(dim=1).all()
    caps = batch.object_clip == 1
    assert batch.labeled[0, caps].all()
    assert not batch.labeled[1:, caps].any()
