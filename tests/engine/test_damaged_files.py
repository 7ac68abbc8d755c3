"""Checkpoints that are gone or unproven, and the cure that the message names; side files that were damaged."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sam2_training.core.errors import CheckpointError, DataError
from sam2_training.engine.logging.table import read_metrics

from tests.engine.in_process import config, train

ONLY_TRAIN = {"limit_val_batches": 0}


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that ended at step 4 of 6."""
    folder = tmp_path / "run"
    assert train(config(folder, ONLY_TRAIN | {"max_steps": 4})) == 0
    return folder


def go_on(folder: Path, resume_from: Path | None = None) -> int:
    named = None if resume_from is None else str(resume_from)
    return train(config(folder, ONLY_TRAIN, resume_from=named, allow_config_change=True))


def steps_of(folder: Path) -> list[int]:
    return [int(line.split(",")[0]) for line in (folder / "metrics.csv").read_text().splitlines()[1:]]


def without_hashes(checkpoints: Path) -> None:
    for path in checkpoints.glob("*.sha256"):
        path.unlink()


def only_checkpoint_pt(checkpoints: Path) -> None:
    for path in checkpoints.glob("step_*"):
        path.unlink()


@pytest.mark.parametrize("damage", [without_hashes, only_checkpoint_pt])
def test_r07_the_cure_that_the_message_names_works(
    stopped: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    damage(stopped / "checkpoints")
    with pytest.raises(CheckpointError, match="no intact checkpoint") as refused:
        go_on(stopped)
    named = re.search(r"checkpoint\.resume_from=(\S+?)\. ", str(refused.value))
    assert named is not None
    assert go_on(stopped, Path(named[1])) == 0
    assert "continues at step 4" in capsys.readouterr().out
    assert steps_of(stopped) == [1, 2, 3, 4, 5, 6]
    assert go_on(stopped, Path(named[1])) == 0
    assert "continues at step 6" in capsys.readouterr().out, "the same command goes back instead of on"


def test_r07_a_lone_checkpoint_continues_on_another_machine(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lone = tmp_path / "elsewhere" / "checkpoint.pt"
    lone.parent.mkdir()
    shutil.copyfile(stopped / "checkpoints" / "checkpoint.pt", lone)
    shutil.rmtree(stopped)
    assert go_on(tmp_path / "new", lone) == 0
    assert "continues at step 4" in capsys.readouterr().out


def test_r07_a_lone_checkpoint_with_a_flipped_bit_is_refused(stopped: Path, tmp_path: Path) -> None:
    whole = stopped / "checkpoints" / "checkpoint.pt"
    content = bytearray(whole.read_bytes())
    weights = torch.load(whole, weights_only=True)["model"]["0.weight"]
    content[content.index(weights.numpy().tobytes())] ^= 1
    lone = tmp_path / "lone.pt"
    lone.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is damaged: the checksum of .* does not match"):
        go_on(tmp_path / "new", lone)


def test_r07_with_only_damaged_ones_no_file_is_named_for_the_cure(stopped: Path) -> None:
    for path in (stopped / "checkpoints").glob("*.pt"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="no intact checkpoint"):
        go_on(stopped)
    (stopped / "checkpoints" / "checkpoint.pt").unlink()
    with pytest.raises(CheckpointError, match="resume_from=<path of a copy>"):
        go_on(stopped)


@pytest.mark.parametrize("emptied", [False, True], ids=["gone", "empty, as a disk that is not mounted"])
def test_r07_lost_checkpoints_are_missed_and_nothing_starts_over_silently(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], emptied: bool
) -> None:
    (stopped / "checkpoints").rename(tmp_path / "saved")
    if emptied:
        (stopped / "checkpoints").mkdir()
    before = (stopped / "metrics.csv").read_bytes()
    with pytest.raises(CheckpointError, match=r"are gone: .*step 4 was saved") as refused:
        go_on(stopped)
    assert str(stopped) in str(refused.value)
    assert (stopped / "metrics.csv").read_bytes() == before
    assert go_on(stopped, tmp_path / "saved" / "checkpoint.pt") == 0
    assert "continues at step 4" in capsys.readouterr().out


def test_steps_of_a_run_that_ended_before_its_first_save_are_repeated_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.csv").write_text("step,total\n1,0.5\n2,0.25\n")
    assert train(config(tmp_path, ONLY_TRAIN)) == 0
    assert "2 steps of metrics.csv were not saved: they are done again" in capsys.readouterr().out


def zero_a_part(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[: middle - 20] + bytes(60) + content[middle + 40 :]


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (zero_a_part, [1, 4]),
        (lambda content: content[: len(content) // 2], [1]),
        (lambda content: content + bytes(40), [1, 2, 3, 4]),
        (lambda content: bytes(4096), []),
        (lambda content: b"", []),
        (lambda content: content.replace(b"\n3,", b"\n\xff\xfe3,"), [1, 2, 4]),
    ],
    ids=["zeroed", "cut", "zeros behind", "zeros only", "empty", "bytes of no text"],
)
def test_a_damaged_metrics_file_is_set_aside_and_its_whole_rows_stay(
    stopped: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes], kept: list[int]
) -> None:
    path = stopped / "metrics.csv"
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    assert go_on(stopped) == 0
    assert "metrics.csv is damaged (" in capsys.readouterr().out
    assert (stopped / "metrics.csv.corrupt").read_bytes() == damaged
    assert b"\0" not in path.read_bytes()
    found = steps_of(stopped)
    assert found[-2:] == [5, 6]
    assert set(found) <= {1, 2, 3, 4, 5, 6}
    assert set(kept) <= set(found)
    assert len(read_metrics(stopped)) == len(found)
    assert go_on(stopped) == 0
    assert len(list(stopped.glob("*.corrupt*"))) == 1, "what is mended is damaged no more"


def test_metrics_that_are_damaged_are_not_read_as_numbers(stopped: Path) -> None:
    path = stopped / "metrics.csv"
    path.write_bytes(zero_a_part(path.read_bytes()))
    with pytest.raises(DataError, match=r"metrics.csv is damaged: not a row of numbers: line \d"):
        read_metrics(stopped)


@pytest.mark.parametrize("name", ["provenance.json", "last_save.json"])
@pytest.mark.parametrize("junk", [b"", b"{", b"[1]", b"\xff\0junk", b'{"earlier_starts": 3}'], ids=repr)
def test_a_record_of_junk_is_set_aside_with_a_warning(
    stopped: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], name: str, junk: bytes
) -> None:
    (stopped / name).write_bytes(junk)
    if name == "last_save.json":  # read when no checkpoint is there
        shutil.rmtree(stopped / "checkpoints")
    assert go_on(stopped) == 0
    assert f"{name} is damaged" in caplog.text + capsys.readouterr().out
    assert (stopped / f"{name}.corrupt").read_bytes() == junk
    assert json.loads((stopped / name).read_text())


@pytest.mark.parametrize("name", ["run_status.json", "config_resolved.yaml", "config.yaml", "report.html", "run.lock"])
def test_files_that_are_only_written_are_replaced_whatever_they_held(stopped: Path, name: str) -> None:
    (stopped / name).write_bytes(b"\0\xff junk")
    assert go_on(stopped) == 0
    assert name == "report.html" or b"junk" not in (stopped / name).read_bytes()


def test_damaged_best_weights_are_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert train(config(tmp_path)) == 0
    best = tmp_path / "checkpoints" / "best_val_loss.pt"
    content = bytearray(best.read_bytes())
    content[len(content) // 2] ^= 1
    best.write_bytes(content)
    assert train(config(tmp_path)) == 0
    assert "best_val_loss.pt is damaged" in caplog.text
    assert (tmp_path / "checkpoints" / "best_val_loss.pt.corrupt").read_bytes() == content
