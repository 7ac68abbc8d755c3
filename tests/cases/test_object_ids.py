"""Object folders whose names cannot be ids: they are numbered, in training, evaluation and what is written."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sam2_training.cli import main
from sam2_training.core.errors import DataError
from sam2_training.data.formats.folders import FolderSource
from sam2_training.data.images import read_mask
from sam2_training.data.index import build_index
from sam2_training.data.labels import LabelRules
from sam2_training.data.source import Files, Frame, Video, VideoSource

from tests.cases.made import make_case
from tests.e2e.conftest import Run, new_run
from tests.tiny_checkpoint import CPU, SETTINGS, save_tiny

__all__ = ["new_run"]
NUM_FRAMES = 3


def with_folders(root: Path, names: list[str]) -> Path:
    """A video in which each object is a bar of its own; with a folder for each in the masks."""
    frames = root / "images" / "v"
    frames.mkdir(parents=True)
    for t in range(NUM_FRAMES):
        Image.fromarray(np.random.default_rng(t).integers(0, 255, (48, 64, 3), np.uint8)).save(frames / f"{t}.jpg")
        for place, name in enumerate(names):
            mask = np.zeros((48, 64), np.uint8)
            mask[4 : 20 + 4 * place, 10 * place : 10 * place + 8] = 255
            (root / "masks" / "v" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / "masks" / "v" / name / f"{t}.png")
    return root


def evaluate(root: Path, output: Path) -> int:
    weights = save_tiny(output.parent / "best.pt")
    words = ["evaluate", *SETTINGS, CPU, "--checkpoint", str(weights), "--output", str(output)]
    words += [f"dataset.img_folder={root / 'images'}", f"dataset.gt_folder={root / 'masks'}"]
    return main([*words, f"launcher.experiment_log_dir={output.parent / 'run'}"])


def rows_of(output: Path) -> list[dict[str, str]]:
    with (output / "scores.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("folders", "are_numbered"),
    [
        ({1: "000", 2: "001"}, True),
        ({1: "7", 2: "99999999999999999999"}, True),
        ({1: "3", 2: "65536"}, True),
        ({1: "0", 2: "9", 3: "10"}, True),
        ({1: "dog2", 2: "dog10"}, True),
        ({1: "1", 65535: "65535"}, False),
        ({3: "003", 300: "300"}, False),
    ],
)
def test_folders_that_cannot_be_ids_are_numbered_and_all_outputs_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folders: dict[int, str], are_numbered: bool
) -> None:
    root = with_folders(tmp_path / "data", list(folders.values()))
    video = build_index(FolderSource(str(root / "images"), str(root / "masks"))).video(0)
    assert dict(zip(video.object_ids, video.object_folders, strict=True)) == folders
    output = tmp_path / "out"
    code = evaluate(root, output)
    said = capsys.readouterr()
    assert code == 0, said.err
    rows = rows_of(output)
    assert [(int(row["object"]), row.get("folder")) for row in rows] == [
        (object_id, folder if are_numbered else None) for object_id, folder in folders.items()
    ]
    assert all(row["j_and_f"] for row in rows)
    assert (f"  folder {folders[min(folders)]}" in said.out) == are_numbered
    # What was written is read again: the masks become a ground truth whose objects have the same ids.
    written = sorted((output / "masks" / "v").iterdir())
    found = {int(one) for path in written for one in np.unique(read_mask(str(path)))} - {0}
    assert found <= set(folders)
    # Named, because 65535 beside other ids would otherwise be refused: elsewhere it marks pixels of no object.
    rules = LabelRules(object_ids=tuple(sorted(found)))
    again = build_index(FolderSource(str(root / "images"), str(output / "masks"), rules)).video(0)
    for t, path in enumerate(written):
        pixels = read_mask(str(path))
        for n, object_id in enumerate(again.object_ids):
            assert again.areas[t, n] == np.count_nonzero(pixels == object_id)
    assert set(again.object_ids) == found


@pytest.mark.parametrize("case", ["ids_from_zero", "ids_too_large"])
def test_the_cases_are_evaluated(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = evaluate(make_case(case, tmp_path), tmp_path / "out")
    assert code == 0, capsys.readouterr().err
    assert [row["object"] for row in rows_of(tmp_path / "out")] == ["1", "2"]


@pytest.mark.slow
def test_ids_from_zero_are_trained_on_and_validated(new_run: Callable[..., Run], tmp_path: Path) -> None:
    root = with_folders(tmp_path / "data", ["000", "001"])
    folders = [f"img_folder={root / 'images'}", f"gt_folder={root / 'masks'}"]
    data = [f"{section}.{folder}" for section in ("dataset", "val_dataset") for folder in folders]
    ended = new_run("run", *data, "scratch.num_frames=2", "trainer.max_steps=1", "trainer.val_check_interval=1").go()
    assert ended.code == 0, ended.output
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "1 (000)" in page
    assert len(list((tmp_path / "run" / "evaluation" / "validation" / "masks").rglob("*.png"))) > 0


class OtherFormat(VideoSource):
    """A format that gives an id of its own."""

    location = mask_location = "nowhere"

    def __init__(self, object_id: int) -> None:
        self.object_id = object_id

    def videos(self) -> list[str]:
        return ["v"]

    def facts(self, name: str) -> Video:
        return Video(name, ("0.jpg",), (self.object_id,), np.ones((1, 1), np.int32))

    def frame(self, video: Video, frame_index: int) -> Frame:
        raise AssertionError("nothing is read before ids are checked")

    def where(self, video: Video, frame_index: int, object_id: int | None = None) -> Files:
        return Files("", "")

    def stamp(self, video: Video) -> int:
        return 0


@pytest.mark.parametrize("object_id", [0, -1, 65536, 99999999999999999999])
def test_ids_of_any_format_are_checked_before_any_work(object_id: int) -> None:
    with pytest.raises(DataError, match=f"has object {object_id}, expected ids from 1 to 65535"):
        build_index(OtherFormat(object_id))
