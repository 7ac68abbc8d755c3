"""Names of videos that hurt: not UTF-8, with escape sequences, line ends, HTML, marks that turn text around."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from sam2_training.cli import main

from tests.cases.made import make_case
from tests.e2e.conftest import Run, new_run
from tests.moving_squares import write_squares
from tests.tiny_checkpoint import CPU, SETTINGS, save_tiny

__all__ = ["new_run"]

NAMES = {
    os.fsdecode(b"caf\xe9"): r"caf\xe9",
    "<img src=x onerror=alert(1)>": "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(2)>'": "\"><svg onload=alert(2)>'",
    "$(touch pwned)`id`;x": "$(touch pwned)`id`;x",
    "two\nlines\t": r"two\x0alines\x09",
    "\x1b[2J\x1b]0;owned\x07red": r"\x1b[2J\x1b]0;owned\x07red",
    "视频🎥": "视频🎥",
    "a\u202etxt.exe": r"a\u202etxt.exe",
}
"""{name: how it is shown}"""
OBEYED = {"\x1b", "\x07", "\u202e", "\t"}


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    for number, name in enumerate(NAMES):
        write_squares(tmp_path / "data", name, seed=number)
    return [f"dataset.img_folder={tmp_path}/data/images", f"dataset.gt_folder={tmp_path}/data/masks"]


@pytest.mark.slow
def test_a_run_on_them_ends_well_and_its_report_and_terminal_are_safe(
    new_run: Callable[..., Run], data: list[str]
) -> None:
    more = ("dataset.val_fraction=0.8", "trainer.max_steps=1", "trainer.val_check_interval=1", "prompts=mask")
    run = new_run("run", *data, *more)
    ended = run.go(env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert ended.code == 0, ended.output
    assert not OBEYED & set(ended.output)
    log = (run.folder / "logs" / "train.log").read_text(encoding="utf-8")
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert not OBEYED & set(log)
    assert not OBEYED & set(page)
    assert "<img src=x onerror" not in page
    assert "<svg onload" not in page
    kept = run.folder / "evaluation" / "validation"
    names = {clip["video"] for clip in json.loads((kept / "step_00000001.json").read_text())["result"]["clips"]}
    assert names < set(NAMES)
    assert len(names) >= 5
    if os.fsdecode(b"caf\xe9") in names:
        assert r"caf\xe9" in page
    assert {folder.name for folder in (kept / "masks" / "initial").iterdir()} == names
    again = run.go(env={"PYTHONIOENCODING": "latin-1"})  # what is finished is recognized
    assert again.code == 0, again.output


def test_they_are_evaluated_under_their_own_names(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = save_tiny(tmp_path / "best.pt")
    words = ["evaluate", *SETTINGS, CPU, "--checkpoint", str(weights), "--output", str(tmp_path / "out")]
    code = main([*words, *data, f"launcher.experiment_log_dir={tmp_path / 'run'}"])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert not OBEYED & set(said.out + said.err)
    for text in NAMES.values():
        assert f"\n{text} " in said.out
    with (tmp_path / "out" / "scores.csv").open(encoding="utf-8", newline="") as file:
        assert {row["video"] for row in csv.DictReader(file)} == set(NAMES.values())
    scores = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="ascii"))
    assert {clip["video"] for clip in scores["result"]["clips"]} == set(NAMES)
    assert {folder.name for folder in (tmp_path / "out" / "masks").iterdir()} == set(NAMES)


def test_names_not_utf8_are_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_case("names_not_utf8", tmp_path)
    words = ["evaluate", *SETTINGS, CPU, "--checkpoint", str(save_tiny(tmp_path / "best.pt"))]
    words += [f"dataset.img_folder={root / 'images'}", f"dataset.gt_folder={root / 'masks'}"]
    code = main([*words, f"launcher.experiment_log_dir={tmp_path / 'run'}"])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert r"caf\xe9" in said.out
    out = tmp_path / "run" / "evaluation" / "best"
    assert len(list((out / "masks" / os.fsdecode(b"caf\xe9")).glob("*.png"))) > 0
    assert r"caf\xe9" in (out / "scores.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["folder", "mp4"])
def test_a_video_of_such_a_name_is_tracked_into_a_folder_of_such_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    name = os.fsdecode(b"caf\xe9 \x1b[2J")
    write_squares(tmp_path, "plain", seed=0)
    frames = sorted((tmp_path / "images" / "plain").iterdir())
    given = tmp_path / name
    if kind == "folder":
        shutil.copytree(tmp_path / "images" / "plain", given)
    else:
        given = tmp_path / f"{name}.mp4"
        first = cv2.imread(str(frames[0]))
        assert first is not None
        writer = cv2.VideoWriter(str(tmp_path / "x.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5, first.shape[1::-1])
        for frame in frames:
            writer.write(np.asarray(cv2.imread(str(frame))))
        writer.release()
        (tmp_path / "x.mp4").rename(given)
    output = tmp_path / f"out {name}"
    words = ["predict", *SETTINGS, CPU, "--checkpoint", str(save_tiny(tmp_path / "best.pt")), str(given)]
    code = main([*words, "--box", "1:8,8,24,24", "--output", str(output)])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "\x1b" not in said.out + said.err
    assert (output / "overlay.mp4").stat().st_size > 0
    assert len(list((output / "masks").rglob("*.png"))) == len(frames)
