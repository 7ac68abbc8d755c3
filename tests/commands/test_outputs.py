"""Every command that writes, times every way in which its output is its input: refused before work, nothing changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sam2_training.cli import main
from sam2_training.commands import launch
from sam2_training.core.outputs import MANIFEST
from sam2_training.vos.model import build
from sam2_training.writers import writer

from tests.small_datasets import Folders
from tests.tiny_checkpoint import CPU, SETTINGS, save_tiny

BOX = ("--box", "1:2,4,20,20")


def predict_words(checkpoint: Path, frames: Path) -> list[str]:
    """The command line of predict, without prompt and output."""
    return ["predict", *SETTINGS, CPU, "--checkpoint", str(checkpoint), str(frames)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("weights") / "checkpoint.pt")


@pytest.fixture
def data(tmp_path: Path) -> Folders:
    """data/images, data/masks: one video of three frames; data/list.txt; data/clip/frames and data/clip/masks."""
    (tmp_path / "data").mkdir()
    folders = Folders(tmp_path / "data")
    folders.video("v", [[1], [1], [1]])
    (tmp_path / "data" / "list.txt").write_text("v\n")
    for name, source in (("frames", folders.images), ("masks", folders.masks)):
        (tmp_path / "data" / "clip" / name).mkdir(parents=True)
        for path in (source / "v").iterdir():
            (tmp_path / "data" / "clip" / name / path.name).write_bytes(path.read_bytes())
    return folders


def hashes(root: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""

    def files() -> Iterator[Path]:
        yield from (path for path in root.rglob("*") if path.is_file())

    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files()}


def datasets(data: Folders, section: str = "dataset") -> list[str]:
    """Settings that name the videos in a section; generated videos in the sections before it."""
    before = ("dataset", "val_dataset", "evaluation.retention_dataset").index(section)
    generated = [f"++{other}.dataset_type=synthetic" for other in ("dataset", "val_dataset")[:before]]
    return [f"++{section}.img_folder={data.images}", f"++{section}.gt_folder={data.masks}", *generated]


def link(path: Path, target: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., None]:
    """Asserts that a command ends with 2 and a message of these words, that no work began, and no file changed."""
    for module, name in ((build, "build_network"), (launch, "train_in_this_process"), (launch, "start_ranks")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("work began"))

    def check(arguments: list[str], *words: str) -> None:
        before = hashes(tmp_path)
        assert main(arguments) == 2
        message = capsys.readouterr().err
        assert "Configuration error" in message
        for word in (*words, "Give another"):
            assert word in message, message
        assert hashes(tmp_path).items() >= before.items()

    return check


WAYS = {
    "the same": "data",
    "with dots": "data/images/../../data",
    "relative": "data",
    "a link to it": "link",
    "below a link": "link/clip/..",
}


@pytest.mark.parametrize("way", WAYS)
def test_evaluate_refuses_the_datasets_own_root(way, data, checkpoint, tmp_path, monkeypatch, refused):
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    output = WAYS[way] if way == "relative" else str(tmp_path / WAYS[way])
    arguments = ["evaluate", *SETTINGS, CPU, "--checkpoint", str(checkpoint), *datasets(data), "--output", output]
    refused(arguments, "dataset.gt_folder", "is its masks")


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("dataset", "masks"),
        ("dataset", "images/v/new"),
        ("val_dataset", "masks/v"),
        ("evaluation.retention_dataset", "images"),
    ],
)
def test_evaluate_refuses_a_folder_within_what_any_section_reads(section, place, data, checkpoint, tmp_path, refused):
    output = str(tmp_path / "data" / place)
    arguments = ["evaluate", *SETTINGS, CPU, "--checkpoint", str(checkpoint), *datasets(data, section)]
    refused([*arguments, "--output", output], f"it lies in {section}.")


@pytest.mark.parametrize("way", ["gt_folder", "video", "masks", "video's masks", "status"])
def test_evaluate_refuses_links_between_labels_and_output(way, data, checkpoint, tmp_path, refused):
    out, folders, more = tmp_path / "out", datasets(data), list[str]()
    results = out / "masks" / "v"
    if way in ("gt_folder", "video"):  # labels that are an earlier result, maybe corrected by hand
        results.mkdir(parents=True)
        for path in (data.masks / "v").iterdir():
            (results / path.name).write_bytes(path.read_bytes())
        (out / MANIFEST).write_text(
            '{"files": {"masks/v": ["00000.png", "00001.png", "00002.png"]}, "whole_folder": false}'
        )
        gt_folder = link(tmp_path / "labels", out / "masks") if way == "gt_folder" else tmp_path / "labels"
        if way == "video":
            link(gt_folder / "v", results)
        folders[1] = f"dataset.gt_folder={gt_folder}"
    elif way == "masks":
        link(out / "masks", data.masks)
    elif way == "video's masks":
        link(results, data.masks / "v")
    else:
        out.mkdir()
        (out / "run_status.json").write_text("of a run")
        more = ["--num-gpus", "2"]
    arguments = ["evaluate", *SETTINGS, CPU, "--checkpoint", str(checkpoint), *folders, "--output", str(out), *more]
    refused(arguments, "run_status.json" if way == "status" else "dataset.gt_folder")


def test_evaluate_refuses_masks_that_no_evaluation_wrote(data, checkpoint, tmp_path, refused):
    mine = tmp_path / "out" / "masks" / "v" / "00001.png"
    mine.parent.mkdir(parents=True)
    Image.fromarray(np.ones((24, 32), np.uint8)).save(mine)
    arguments = ["evaluate", *SETTINGS, CPU, "--checkpoint", str(checkpoint), *datasets(data)]
    refused([*arguments, "--output", str(tmp_path / "out")], "masks/v/00001.png")


@pytest.mark.parametrize("option", ["--checkpoint", "--baseline", "--split"])
def test_evaluate_refuses_to_replace_any_file_that_it_reads(option, data, checkpoint, tmp_path, refused):
    read = tmp_path / "out" / "scores.csv"
    read.parent.mkdir()
    read.write_text("v\n")
    arguments = ["evaluate", *SETTINGS, CPU, "--checkpoint", str(checkpoint), *datasets(data), option, str(read)]
    refused([*arguments, "--output", str(read.parent)], option, "is its scores.csv")


@pytest.mark.parametrize(
    ("place", "prompt", "words"),
    [
        ("data/clip", "--mask", ["--mask", "lies in its masks"]),
        ("data/frames/../clip", "--mask", ["--mask", "lies in its masks"]),
        ("link", "--mask", ["--mask", "lies in its masks"]),
        ("data/clip", "--box", ["masks/00000.png, masks/00001.png, masks/00002.png"]),
        ("data/clip/frames", "--box", ["it lies in INPUT"]),
        ("link/frames/out", "--box", ["it lies in INPUT"]),
        ("leads", "--box", ["masks lies in INPUT"]),
    ],
)
def test_predict_refuses_to_write_over_frames_and_masks(place, prompt, words, data, checkpoint, tmp_path, refused):
    clip = tmp_path / "data" / "clip"
    (tmp_path / "data" / "frames").mkdir()
    (tmp_path / "link").symlink_to(clip)
    link(tmp_path / "leads" / "masks", clip / "frames")
    given = ["--mask", str(clip / "masks" / "00000.png")] if prompt == "--mask" else list(BOX)
    arguments = [*predict_words(checkpoint, clip / "frames"), *given]
    refused([*arguments, "--output", str(tmp_path / place)], *words)


@pytest.mark.parametrize("name", ["overlay.mp4", "contact_sheet.png"])
def test_predict_refuses_to_replace_pictures_that_it_did_not_draw_or_reads(name, data, checkpoint, tmp_path, refused):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes((data.masks / "v" / "00000.png").read_bytes())
    arguments = [*predict_words(checkpoint, data.images / "v"), "--output", str(out)]
    refused([*arguments, *BOX], name)
    if name == "contact_sheet.png":
        refused([*arguments, "--mask", str(out / name)], "--mask", "is its contact_sheet.png")


def test_predict_replaces_what_it_wrote_itself(data, checkpoint, tmp_path):
    arguments = [*predict_words(checkpoint, data.images / "v"), *BOX, "--no-overlay"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    before = hashes(tmp_path / "out")
    assert set(before) == {MANIFEST, "contact_sheet.png", *(f"masks/0000{t}.png" for t in range(3))}
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert hashes(tmp_path / "out") == before


def test_a_mask_folder_that_becomes_a_link_while_predicting_is_not_followed(
    data, checkpoint, tmp_path, monkeypatch, capsys
):
    draw = writer.id_map

    def draw_after_swap(*arguments: object) -> np.ndarray:
        if not (tmp_path / "out" / "masks").exists():
            link(tmp_path / "out" / "masks", data.masks / "v")
        return draw(*arguments)

    monkeypatch.setattr(writer, "id_map", draw_after_swap)
    before = hashes(tmp_path / "data")
    arguments = [*predict_words(checkpoint, data.images / "v"), *BOX, "--no-overlay"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 6
    assert "outside of its folder" in capsys.readouterr().err
    assert hashes(tmp_path / "data") == before


@pytest.mark.parametrize(
    ("place", "word"),
    [
        ("data/masks/slim.pt", "dataset.gt_folder"),
        ("data/images/v/slim.pt", "dataset.img_folder"),
        ("mine/slim.pt", "slim.pt"),
    ],
)
def test_export_refuses_folders_that_are_read_and_files_that_are_not_its_own(
    place, word, data, checkpoint, tmp_path, refused
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "slim.pt").write_text("weights of another program")
    arguments = ["export", *SETTINGS, CPU, "--checkpoint", str(checkpoint), *datasets(data)]
    refused([*arguments, "--output", str(tmp_path / place)], word)


def test_export_replaces_what_it_wrote_itself(checkpoint, tmp_path):
    arguments = [
        "export",
        *SETTINGS,
        CPU,
        "--checkpoint",
        str(checkpoint),
        "--output",
        str(tmp_path / "out" / "slim.pt"),
    ]
    assert main(arguments) == 0
    assert main(arguments) == 0


def train(folder: Path, *more: str) -> list[str]:
    return ["train", *SETTINGS, CPU, f"launcher.experiment_log_dir={folder}", *more]


@pytest.mark.parametrize(
    ("section", "place", "processes"),
    [
        ("dataset", "data/masks", 1),
        ("dataset", "data/images", 2),
        ("dataset", "link/images/run", 1),
        ("val_dataset", "data/clip/../masks", 1),
        ("evaluation.retention_dataset", "data/masks/v/run", 2),
    ],
)
def test_train_refuses_a_run_folder_within_what_any_section_reads(section, place, processes, data, tmp_path, refused):
    (tmp_path / "link").symlink_to("data")
    arguments = train(tmp_path / place, *datasets(data, section), f"launcher.gpus_per_node={processes}")
    refused(arguments, "launcher.experiment_log_dir", f"it lies in {section}.")


def test_train_refuses_labels_within_the_folders_that_it_fills(data, tmp_path, refused):
    labels = tmp_path / "run" / "evaluation" / "validation" / "masks" / "best"
    labels.parent.mkdir(parents=True)
    data.masks.rename(labels)
    (tmp_path / "run" / "metrics.csv").write_text("step\n")
    arguments = train(tmp_path / "run", f"dataset.img_folder={data.images}", f"dataset.gt_folder={labels}")
    refused(arguments, "dataset.gt_folder", "lies in its evaluation")


@pytest.mark.parametrize("name", ["config.yaml", "report.html", "provenance.json", "evaluation/mine.csv"])
def test_train_and_demo_refuse_a_folder_with_files_that_no_run_wrote(name, data, tmp_path, refused):
    (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "run" / name).write_text("mine")
    refused(train(tmp_path / "run", *datasets(data)), name.split("/")[0])
    refused(["demo", f"launcher.experiment_log_dir={tmp_path / 'run'}"], name.split("/")[0])


@pytest.mark.parametrize(
    "known_by", ["config_resolved.yaml", "metrics.csv", "run_status.json", "checkpoints/checkpoint.pt", ""]
)
def test_a_runs_folder_is_continued_and_one_of_other_files_is_used(known_by, data, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(launch, "train_in_this_process", lambda loaded: started.append(loaded.log_dir) or 0)
    for name in (known_by, "config.yaml", "report.html") if known_by else ("notes.txt",):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("of the run")
    assert main(train(tmp_path / "run", *datasets(data))) == 0
    (tmp_path / "run" / "config.yaml").write_text("killed right after this file")
    assert main(train(tmp_path / "run", *datasets(data))) == 0
    assert len(started) == 2
