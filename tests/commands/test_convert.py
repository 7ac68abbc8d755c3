"""convert: any dataset as folders of masks and as COCO-video, what could not be kept, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from sam2_training.cli import main
from sam2_training.data.config import DatasetConfig
from sam2_training.data.index import open_index

from tests.places import TEST_DATA, require_test_data
from tests.small_datasets import Folders


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Frames and masks of one video, of which frame 1 has no mask, below tmp_path/in."""
    (tmp_path / "in").mkdir()
    Folders(tmp_path / "in").video("v", [[1, 2], None, [1]])
    return tmp_path / "in"


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_dataset_is_written_in_both_formats_and_losses_are_said(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = hashes(dataset), tmp_path / "out"
    assert main(["convert", str(dataset), str(out)]) == 0
    said = capsys.readouterr().out
    assert "coco could not keep:\n  frames without labels, left out: 1 frame" in said
    assert f"dataset.img_folder={out}/images dataset.gt_folder={out}/masks" in said
    again = open_index(DatasetConfig(img_folder=str(out / "images"), gt_folder=str(out / "masks")))
    given = open_index(DatasetConfig(img_folder=str(dataset / "images"), gt_folder=str(dataset / "masks")))
    assert again.video(0).areas.tolist() == given.video(0).areas.tolist()
    assert hashes(out / "images") == hashes(dataset / "images")
    document = json.loads((out / "annotations.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["v/00000.png", "v/00002.png"]
    assert [one["track_id"] for one in document["annotations"]] == [1, 2, 1]
    assert hashes(dataset) == before
    assert main(["convert", str(dataset), str(out)]) == 0, "its own files may be written again"


def test_the_real_videos_survive(tmp_path: Path) -> None:
    folder = TEST_DATA / "vos"
    require_test_data(folder.is_dir(), "real videos with masks")
    listed = tmp_path / "list.txt"
    listed.write_text("dogs-jump\ncaps\n")
    words = ["convert", str(folder), str(tmp_path / "out"), "--to", "davis", f"dataset.file_list_txt={listed}"]
    assert main(words) == 0
    out = DatasetConfig(img_folder=str(tmp_path / "out" / "images"), gt_folder=str(tmp_path / "out" / "masks"))
    index, given = (
        open_index(out),
        open_index(
            DatasetConfig(
                img_folder=str(folder / "JPEGImages"), gt_folder=str(folder / "Annotations"), file_list_txt=str(listed)
            )
        ),
    )
    assert index.fingerprint() == given.fingerprint(), "names, ids, areas, frames and every pixel of every mask"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing", "out"], 2, "IN does not exist: missing"),
        (["in", "out", "seed=3"], 2, "'seed=3' is not a setting of a dataset; write dataset.key=value"),
        (["in", "out", "dataset.ignore_id=[3]"], 2, "ignore_ids"),
        (["in", "out", "dataset.val_fraction=2"], 2, "val_fraction"),
        (["in", "in/masks"], 2, "OUT in/masks: it lies in dataset.gt_folder"),
        (["in", "in"], 2, "OUT in: dataset.img_folder (in/images) is its images"),
        (["in", "out", "dataset.val_fraction=0.5"], 2, "dataset.val_fraction has no effect here"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: list[str],
    code: int,
    message: str,
    dataset: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(dataset.parent)
    before = hashes(dataset.parent)
    assert main(["convert", *words]) == code
    assert message in capsys.readouterr().err
    assert hashes(dataset.parent) == before


def test_frames_that_are_shown_turned_are_written_as_they_are_read(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "in").mkdir()
    folders = Folders(tmp_path / "in")
    folders.video("v", [[1]], suffix=".jpg")
    path = next((folders.images / "v").iterdir())
    pixels = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(path, exif=exif)
    out = tmp_path / "out"
    assert main(["convert", str(tmp_path / "in"), str(out), "--to", "davis", "dataset.orientation=shown"]) == 0
    config = DatasetConfig(img_folder=str(folders.images), gt_folder=str(folders.masks), orientation="shown")
    given = open_index(config)
    again = open_index(DatasetConfig(img_folder=str(out / "images"), gt_folder=str(out / "masks")))
    assert np.array_equal(again.frame(again.video(0), 0), given.frame(given.video(0), 0))
    assert [entry.suffix for entry in (out / "images" / "v").iterdir()] == [".png"]
