"""The heartbeat: written seldom, read by host."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from sam2_training.cli import main
from sam2_training.engine import heartbeat as heartbeat_module
from sam2_training.engine.heartbeat import BEAT_SECONDS, Beat, Heartbeat, last_beat, this_machine

from tests.places import REPOSITORY


def test_beats_are_written_at_most_every_few_seconds(tmp_path: Path) -> None:
    times = iter([100.0, 100.0 + BEAT_SECONDS - 1, 100.0 + BEAT_SECONDS])
    heartbeat = Heartbeat(tmp_path / "run" / "logs", clock=lambda: next(times))
    machine = this_machine()
    heartbeat.beat(1)
    assert last_beat(tmp_path, machine) == Beat(100.0, 1, machine)
    heartbeat.beat(2)
    assert last_beat(tmp_path, machine) == Beat(100.0, 1, machine)
    heartbeat.beat(3)
    assert last_beat(tmp_path, machine) == Beat(100.0 + BEAT_SECONDS, 3, machine)


def test_a_jump_of_the_time_of_day_does_not_change_the_age_of_a_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Heartbeat(tmp_path / "logs").beat(1)
    for jump_s in (-7200.0, 7200.0):
        monkeypatch.setattr(time, "time", lambda jump_s=jump_s, now=time.time: now() + jump_s)
        assert main(["health", "--results", str(tmp_path), "--max-age", "30"]) == 0


def test_other_hosts_runs_and_unreadable_files_do_not_count(tmp_path: Path) -> None:
    for run, text in {"a": "900 5 elsewhere\n", "b": "300 2 here\n", "c": "not a beat", "d": "200 1 here\n"}.items():
        (tmp_path / run / "logs").mkdir(parents=True)
        (tmp_path / run / "logs" / "heartbeat").write_text(text)
    assert last_beat(tmp_path, "here") == Beat(300.0, 2, "here")
    assert last_beat(tmp_path, "nowhere") is None


@pytest.fixture(autouse=True)
def own_commands_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def test_a_command_is_alive_as_long_as_it_works_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long evaluation or prediction, whose output may be outside the folder of results."""
    nobody = ["health", "--results", str(tmp_path / "results"), "--max-age", "30"]
    assert main(nobody) == 1
    began, clock = time.monotonic(), [time.monotonic() - 50]
    monkeypatch.setattr(heartbeat_module, "Heartbeat", lambda folder: Heartbeat(folder, clock=lambda: clock[0]))
    with heartbeat_module.command_heartbeat() as beat:
        assert main(nobody) == 1  # 50 s of silence
        clock[0] = began
        beat()
        assert main(nobody) == 0
        assert "frame 1, " in capsys.readouterr().out
    assert main(nobody) == 1
    assert not [path for path in heartbeat_module.commands_folder().rglob("*") if path.is_file()]


def test_a_heartbeat_that_cannot_be_written_does_not_end_the_command(tmp_path: Path) -> None:
    (tmp_path / "temporary").write_text("a file in the way")
    with heartbeat_module.command_heartbeat() as beat:
        beat()


@pytest.mark.parametrize(("age_s", "code"), [(5.0, 0), (50.0, 1), (None, 1)])
def test_health_is_the_age_of_the_last_beat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], age_s: float | None, code: int
) -> None:
    if age_s is not None:
        Heartbeat(tmp_path / "logs", clock=lambda: time.monotonic() - age_s).beat(7)
    assert main(["health", "--results", str(tmp_path), "--max-age", "30"]) == code
    assert ("step 7" in capsys.readouterr().out) == (age_s is not None)


def test_the_health_command_starts_without_torch(tmp_path: Path) -> None:
    Heartbeat(tmp_path / "logs").beat(1)
    script = REPOSITORY / "training" / "health.py"
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", str(script), "--results", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert "step 1" in shown.stdout
    assert "torch" not in {line.split("|")[-1].strip() for line in shown.stderr.splitlines()}
