"""Where annotations and frames are, by either of two names: each key changes what is read."""

from __future__ import annotations

from pathlib import Path

from sam2_training.tasks import load_config
from sam2_training.vos.config import VosConfig

from tests.data.formats.documents import small, write
from tests.vos.opened import build_dataset, open_clips


def load(*overrides: str) -> VosConfig:
    settings = ["dataset.gt_folder=null", "dataset.img_folder=null", "dataset.val_fraction=0", *overrides]
    return load_config("custom_finetune", settings, VosConfig).config


def test_the_names_of_two_documents_and_their_folder_of_frames(tmp_path: Path) -> None:
    document = small(tmp_path / "frames")
    train = write(tmp_path / "train.json", document)
    for image in document["images"]:
        image["video_id"] = "other"
    document["videos"] = [{"id": "other", "name": "measured"}]
    val = write(tmp_path / "val.json", document)
    config = load(f"data.train_path={train}", f"data.val_path={val}", f"data.img_folder={tmp_path / 'frames'}")
    assert config.dataset.data_path == str(train)
    assert list(build_dataset(config, None).index.names) == ["v"]
    measured = config.measured_dataset
    assert measured is not None
    assert [clip.name for clip in open_clips(measured, 0, None)] == ["measured"]
    assert config.inputs()["val_dataset.img_folder"] == str(tmp_path / "frames")


def test_a_validation_set_with_a_folder_of_its_own_keeps_it(tmp_path: Path) -> None:
    train = write(tmp_path / "train.json", small(tmp_path / "frames"))
    val = write(tmp_path / "own" / "val.json", small(tmp_path / "own"))
    own = f"val_dataset.img_folder={tmp_path / 'own'}"
    config = load(f"dataset.data_path={train}", f"val_dataset.data_path={val}", own, f"data.img_folder={tmp_path}")
    measured = config.measured_dataset
    assert measured is not None
    assert measured.img_folder == str(tmp_path / "own")
    beside = load(f"data.train_path={val}", f"data.val_path={val}").measured_dataset
    assert beside is not None
    assert [clip.name for clip in open_clips(beside, 0, None)] == ["v"]  # frames lie beside the document
