"""Damaged and enormous files, and lists that lead out of the dataset: refused before any work, by name."""

from __future__ import annotations

import pytest
from sam2_training.cli import main
from sam2_training.core.errors import DataError
from sam2_training.data.config import DatasetConfig
from sam2_training.data.images import read_image
from sam2_training.data.index import open_index

from tests.cases.made import make_case
from tests.tiny_checkpoint import CPU, SETTINGS, save_tiny


def config_of(root, listed: str | None = None) -> DatasetConfig:
    return DatasetConfig(
        img_folder=str(root / "images"),
        gt_folder=str(root / "masks"),
        file_list_txt=None if listed is None else str(root / listed),
    )


@pytest.mark.parametrize("listed", ["list.txt", "listed.txt"])
def test_list_of_paths_is_refused(tmp_path, listed):
    root = make_case("list_of_paths", tmp_path)
    with pytest.raises(DataError, match=rf"{listed} names /.*/a, expected a name below the dataset's folder"):
        open_index(config_of(root, listed))


def test_name_listed_in_three_spellings_is_refused(tmp_path):
    root = make_case("list_names_twice", tmp_path)
    with pytest.raises(DataError, match=r"list\.txt names a 3 times"):
        open_index(config_of(root, "list.txt"))


def test_enormous_mask_is_refused_by_name(tmp_path):
    root = make_case("enormous_mask", tmp_path)
    with pytest.raises(DataError, match=r"the mask is 13500x13500 .*masks/v/00003\.png"):
        open_index(config_of(root))


def test_jpegs_cut_and_closed_are_refused_by_name(tmp_path):
    root = make_case("jpeg_cut_and_closed", tmp_path)
    for path in sorted((root / "images/v").glob("*.jpg")):
        with pytest.raises(DataError, match=rf"damaged, its compressed data end too early: {path}"):
            read_image(str(path))


def test_results_are_not_written_over_the_masks(tmp_path, capsys):
    root = make_case("output_over_the_masks", tmp_path)
    weights = save_tiny(tmp_path / "weights.pt")
    before = {path: path.read_bytes() for path in root.rglob("*.*")}
    data = [f"dataset.img_folder={root / 'images'}", f"dataset.gt_folder={root / 'masks'}"]
    frames, mask = root / "clip" / "frames", root / "clip" / "masks" / "00000.png"
    for arguments in (
        ["evaluate", *data, "--output", str(root)],
        ["predict", str(frames), "--mask", str(mask), "--output", str(root / "clip")],
        ["predict", str(frames), "--box", "1:10,8,40,36", "--output", str(root / "clip")],
    ):
        assert main([*arguments, *SETTINGS, CPU, "--checkpoint", str(weights)]) == 2
        assert "Give another --output" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in root.rglob("*.*")} == before


def test_a_list_that_leads_to_the_users_masks_does_not_begin_a_run(tmp_path, capsys):
    """../shared/cases/reliability/absolute_list.py"""
    root = make_case("list_of_paths", tmp_path)
    before = {path: path.read_bytes() for path in root.rglob("*.png")}
    data = [f"dataset.img_folder={root / 'images'}", f"dataset.gt_folder={root / 'masks'}"]
    lists = {
        "dataset.file_list_txt": [],
        "val_dataset.file_list_txt": [one.replace("dataset.", "++val_dataset.") for one in data],
        "evaluation.retention_dataset.file_list_txt": [
            *(one.replace("dataset.", "++evaluation.retention_dataset.") for one in data),
            *("dataset.val_fraction=0.5", "dataset.short_videos=repeat_last"),
        ],
    }
    start = ["train", *SETTINGS, CPU, "model.checkpoint=null", f"launcher.experiment_log_dir={tmp_path / 'run'}"]
    for setting, more in lists.items():
        assert main([*start, *data, *more, f"++{setting}={root / 'list.txt'}"]) == 6, setting
        assert "list.txt names /" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in root.rglob("*.png")} == before
