"""What the network is taught is what the labels say."""

from __future__ import annotations

from pathlib import Path

from sam2_training.engine.task import SampleKey
from sam2_training.vos.clips.config import TrainingSetConfig
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.config import ModelConfig

from tests.cases.made import make_case
from tests.vos.opened import build_dataset


def test_an_object_of_one_pixel_is_taught_as_present_where_it_is(tmp_path: Path) -> None:
    """480x640 at 64 px, under the published augmentation; only what leaves the picture is absent."""
    root = make_case("object_of_one_pixel", tmp_path)
    data = TrainingSetConfig(img_folder=str(root / "images"), gt_folder=str(root / "masks"), num_frames=3)
    config = VosConfig(model=ModelConfig(image_size=64), dataset=data, seed=3)
    dataset = build_dataset(config, None)
    assert any("about 6 of 6 masks of an object vanish" in line for line in dataset.describe())
    for position in range(8):
        batch = dataset.batch([SampleKey(0, position, 0)])
        assert batch.labeled.all()
        for t in range(batch.num_frames):
            assert batch.masks(t).any(), (position, t)
