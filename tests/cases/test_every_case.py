"""Every dataset that once failed: refused before any work with a sentence that names a file, or read as it was meant.

What is right stands in cases/data/README.md; here it is a table. A case that nobody wrote a line for is an error.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sam2_training.cli import main
from sam2_training.data.config import DatasetConfig
from sam2_training.data.index import VideoIndex, open_index

from tests.cases.made import case_names, make_case
from tests.tiny_checkpoint import CPU, SETTINGS, save_tiny


@dataclass(frozen=True)
class Refused:
    """No command begins to work with it: a data error whose message has these words, and each command says the same."""

    words: tuple[str, ...]
    settings: tuple[str, ...] = ()
    """Settings under which it is refused, {root} being the case's folder."""


@dataclass(frozen=True)
class Read:
    """It trains, and its scores are written: the videos that are in it, and what the banner says."""

    objects: dict[str, tuple[int, ...]]
    """{video: ids of its objects}."""
    labeled: int = 6
    """Labeled frames of each video."""
    areas: dict[int, int] = field(default_factory=dict)
    """{object id: its pixels, in every frame}."""
    said: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


EXPECTED: dict[str, Refused | Read] = {
    "antialiased_mask": Refused(("masks/v/00000.png", "dataset.binary_masks")),
    "void_255": Refused(("255", "dataset.ignore_ids", "dataset.object_ids")),
    "zero_one_and_zero_255": Refused(("masks/v/00000.png", "masks/v/00001.png")),
    "palette_reordered": Refused(("masks/v/00000.png", "masks/v/00001.png", "dataset.palette")),
    "grey_as_rgb": Read({"v": (255,)}, areas={255: 314}),
    "grey_with_alpha": Read({"v": (1, 2)}, areas={1: 314, 2: 304}),
    "masks_one_folder_deeper": Refused(("masks/v/masks/00000.png",)),
    "class_and_object_folders": Refused(("SegmentationClass",)),
    "frames_and_masks_together": Refused(("are one folder",)),
    "object_files_with_soft_edges": Refused(("masks/v/1/00000.png", "dataset.binary_masks")),
    "one_folder_given_twice": Refused(("images", "masks")),
    "object_folder_without_png": Refused(("masks/v/2",)),
    "object_folder_link_broken": Refused(("masks/v/2",)),
    "ids_from_zero": Read({"v": (1, 2)}, areas={1: 314, 2: 304}, said=("000 is 1, 001 is 2",)),
    "ids_too_large": Read({"v": (1, 2)}, said=("99999999999999999999 is 2",)),
    "folders_of_other_programs": Read({"v": (1, 2)}, areas={1: 314, 2: 304}, said=("not used: hidden", "v/@eaDir")),
    "number_in_name_padded_otherwise": Read({"v": (1, 2)}, areas={1: 314, 2: 304}),
    "accents_composed_otherwise": Read({"cafe\u0301": (1, 2)}, areas={1: 314, 2: 304}),
    "names_not_utf8": Read({"caf\udce9": (1, 2)}, areas={1: 314, 2: 304}),
    "seconds_as_names": Read({"v": (1, 2)}, areas={1: 314, 2: 304}),
    "second_copies": Refused(("00000 (1).jpg",)),
    "some_frames_are_tif": Refused(("00002.tif",)),
    "list_of_paths": Refused(("masks/a",), settings=("dataset.file_list_txt={root}/list.txt",)),
    "list_names_twice": Refused(("3 times",), settings=("dataset.file_list_txt={root}/list.txt",)),
    "list_with_mark": Read({"a": (1, 2), "b": (1, 2)}, settings=("dataset.file_list_txt={root}/list.txt",)),
    "turned_upside_down": Refused(("images/v/00000.jpg", "dataset.orientation")),
    "jpeg_cut_and_closed": Refused(("the image is damaged", "images/v/0000")),
    "last_mask_half_size": Refused(("masks/v5/00005.png", "36x48")),
    "enormous_mask": Refused(("masks/v/00003.png",)),
    "object_of_one_pixel": Read({"v": (1,)}, areas={1: 1}, said=("6 of 6 masks of an object vanish",)),
    "output_over_the_masks": Read({"v": (1, 2)}, areas={1: 314, 2: 304}),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.pt")


def test_every_case_has_its_line() -> None:
    assert sorted(EXPECTED) == case_names()


@pytest.mark.parametrize("name", [name for name, right in EXPECTED.items() if isinstance(right, Refused)])
def test_refused_before_any_work(name: str, tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = make_case(name, tmp_path)
    right = EXPECTED[name]
    assert isinstance(right, Refused)
    before = files_of(root)
    settings = settings_of(root, right)
    for verb in (["train", "model.checkpoint=null"], ["evaluate", "--checkpoint", str(weights)]):
        output = tmp_path / verb[0]
        code = main([*verb, *SETTINGS, CPU, *settings, f"launcher.experiment_log_dir={output}"])
        printed = "".join(capfd.readouterr())
        assert code in (2, 6), printed
        for word in right.words:
            assert word in printed
        assert "Traceback" not in printed
        assert not list(output.rglob("*.png")), "masks were written"
        assert not list(output.glob("checkpoints/*.pt")), "a step was made"
    assert files_of(root) == before


@pytest.mark.parametrize("name", [name for name, right in EXPECTED.items() if isinstance(right, Read)])
def test_read_as_it_was_meant(name: str, tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = make_case(name, tmp_path)
    right = EXPECTED[name]
    assert isinstance(right, Read)
    before = files_of(root)
    settings = settings_of(root, right)
    run = [*SETTINGS, CPU, *settings, f"launcher.experiment_log_dir={tmp_path / 'run'}", "scratch.num_epochs=1"]
    assert main(["train", *run, "model.checkpoint=null", "scratch.num_train_workers=0"]) == 0
    printed = "".join(capfd.readouterr())
    for word in right.said:
        assert word in printed
    assert "Traceback" not in printed
    check_facts(index_of(root, right), right)
    scores = tmp_path / "scores"
    assert main(["evaluate", *run, "--checkpoint", str(weights), "--output", str(scores)]) == 0
    printed = "".join(capfd.readouterr())
    assert "Traceback" not in printed
    assert (scores / "scores.csv").is_file()
    assert {path.name for path in (scores / "masks").iterdir()} == set(right.objects)
    assert files_of(root) == before


def settings_of(root: Path, right: Refused | Read) -> list[str]:
    folders = [f"dataset.img_folder={root / 'images'}", f"dataset.gt_folder={root / 'masks'}"]
    return [*folders, *(setting.format(root=root) for setting in right.settings)]


def index_of(root: Path, right: Read) -> VideoIndex:
    return open_index(
        DatasetConfig(**dict(one.removeprefix("dataset.").split("=") for one in settings_of(root, right)))
    )


def check_facts(index: VideoIndex, right: Read) -> None:
    videos = [index.video(number) for number in range(len(index))]
    assert {video.name: video.object_ids for video in videos} == right.objects
    for video in videos:
        assert int(video.labeled.all(axis=1).sum()) == right.labeled
        for object_id, area in right.areas.items():
            assert set(video.areas[:, video.object_ids.index(object_id)].tolist()) == {area}


def files_of(root: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, links followed; for a link to nowhere what it says."""
    found = {}
    for folder, _, names in os.walk(root, followlinks=True):
        for path in (Path(folder) / name for name in names):
            content = path.read_bytes() if path.exists() else os.fsencode(path.readlink())
            found[str(path)] = hashlib.sha256(content).hexdigest()
    return found
