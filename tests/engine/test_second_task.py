"""The engine trains another task than the project's own, through the ordinary command, with all it promises."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.places import REPOSITORY
from tests.waiting import wait_for_file, wait_for_step

PROGRAM = """
import sys
from sam2_training import cli, tasks
from tests.engine.second_task import RegressionConfig
tasks.TASKS["regression"] = tasks.Registration(RegressionConfig, "tests.engine.second_task:RegressionTask")
sys.exit(cli.main(sys.argv[1:]))
"""
RECIPE = """
task: regression
trainer: {accelerator: cpu, max_epochs: 4, log_every_n_steps: 1, validate_initial_weights: true}
loader: {batch_size: 2, num_workers: 1}
optimizer: {lr: 0.01, no_weight_decay_modules: []}
checkpoint: {every_n_steps: 1}
"""
STEPS = 48


def start(folder: Path, *overrides: str, **environment: str) -> subprocess.Popen[str]:
    recipe = folder.parent / "regression.yaml"
    recipe.write_text(RECIPE)
    arguments = ["train", "-c", str(recipe), f"launcher.experiment_log_dir={folder}", *overrides]
    paths = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "training")))
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def go(folder: Path, *overrides: str) -> str:
    process = start(folder, *overrides)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def curve(folder: Path) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in ("step", "total", "loss_square", "grad_norm", "lr")) for row in rows_of(folder)]


def state(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / "checkpoints" / "checkpoint.pt", weights_only=True)
    return loaded


def weights_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for name, value in state(folder)["model"].items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("second") / "whole"
    go(folder)
    return folder


def test_it_is_at_most_60_lines() -> None:
    assert len((REPOSITORY / "tests" / "engine" / "second_task.py").read_text().splitlines()) <= 60


def test_it_trains_validates_and_logs(whole: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = rows_of(whole)
    assert list(rows[0]) == [
        *("step", "epoch", "total", "loss_square", "grad_norm", "lr", "samples"),
        *("step_seconds", "data_wait_seconds", "memory_mib", "left_out_steps"),
    ]
    assert [row["step"] for row in rows] == [str(step) for step in range(1, STEPS + 1)]
    assert float(rows[-1]["total"]) < 0.5 * float(rows[0]["total"])
    history = state(whole)["validation"]["history"]
    assert [row["step"] for row in history] == [0, 12, 24, 36, 48]
    assert history[-1]["val_loss"] < history[0]["val_loss"]
    assert (whole / "checkpoints" / "best_val_loss.pt").is_file()
    events = EventAccumulator(str(whole / "tensorboard")).Reload()
    assert len(events.Scalars("losses/loss_square")) == STEPS
    assert [event.step for event in events.Scalars("validation/loss")] == [0, 12, 24, 36, 48]


def test_it_stops_early(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    output = go(folder, "early_stopping.monitor=val_loss", "early_stopping.stopping_threshold=1000")
    assert output.count("is better than early_stopping.stopping_threshold") == 1, "said once, at the end"
    assert len(rows_of(folder)) == 12


@pytest.mark.parametrize(
    "scheduler",
    [
        ("scheduler.type=OneCycleLR", "scheduler.warmup_fraction=0.1"),
        ("scheduler.type=ReduceLROnPlateau", "scheduler.patience=0", "scheduler.threshold=0.9"),
    ],
)
def test_r02_a_schedule_with_a_state_continues_bit_for_bit(tmp_path: Path, scheduler: tuple[str, ...]) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    go(whole, *scheduler)
    process = start(cut, *scheduler)
    wait_for_step(cut, process, 26)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert state(cut)["step"] < STEPS, "it ended before it was killed"
    go(cut, *scheduler)
    assert curve(cut) == curve(whole)
    assert weights_sha256(cut) == weights_sha256(whole)
    assert len({row["lr"] for row in rows_of(whole)}) > 2


@pytest.mark.parametrize("step", [5, 20])
def test_r02_killed_and_started_again_it_ends_with_the_same_bits(whole: Path, tmp_path: Path, step: int) -> None:
    folder = tmp_path / "run"
    process = start(folder)
    wait_for_step(folder, process, step)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert state(folder)["step"] < STEPS, "it ended before it was killed"
    assert "continues at step" in go(folder)
    assert weights_sha256(folder) == weights_sha256(whole)
    assert curve(folder) == curve(whole)


@pytest.mark.parametrize("step", [0, 3], ids=["at its start", "at step 3"])
def test_r02_a_second_start_in_the_same_folder_is_refused_and_the_first_ends_as_alone(
    whole: Path, tmp_path: Path, step: int
) -> None:
    folder = tmp_path / "run"
    first = start(folder)
    if step:
        wait_for_step(folder, first, step)
    else:
        wait_for_file(folder / "run.lock", first)
    first.send_signal(signal.SIGSTOP)  # it is still there when the second has started
    second = start(folder, "optimizer.lr=0.1", "checkpoint.allow_config_change=true")
    said = second.communicate()[0]
    first.send_signal(signal.SIGCONT)
    assert first.communicate()[1] is None
    assert (first.returncode, second.returncode) == (0, 2), said
    assert f"in use by process {first.pid} on host {socket.gethostname()} since" in said
    assert "Traceback" not in said
    assert weights_sha256(folder) == weights_sha256(whole)
    assert curve(folder) == curve(whole)


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    folder = tmp_path / "run"
    overrides = ("loader.batch_size=1", "trainer.max_epochs=1")
    ranks = [start(folder, *overrides, RANK=rank, LOCAL_RANK=rank, **common) for rank in ("0", "1")]
    for process in ranks:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
    assert [row["samples"] for row in rows_of(folder)] == ["2"] * 12
