"""R1, R2, R12: the same bits, however often a run was stopped."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from tests.e2e.conftest import ARCHITECTURE, Run
from tests.waiting import WAIT_SECONDS

pytestmark = pytest.mark.slow


def processes_of(run: Run) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(run.folder) in line:
            found.append(line)
    return found


def wait_until_gone(run: Run, seconds: float = WAIT_SECONDS) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and processes_of(run):
        time.sleep(0.1)
    assert processes_of(run) == []


@pytest.mark.parametrize(
    "how", [["scratch.num_train_workers=0"], ["scratch.num_train_workers=2"], ["--num-gpus", "2"]], ids=" ".join
)
def test_r02_sigkill_at_a_random_step_and_the_same_command_again_give_the_same_bits(
    new_run: Callable[..., Run], how: list[str]
) -> None:
    whole, killed = new_run("whole", *how), new_run("killed", *how)
    ended = whole.go()
    assert ended.code == 0, ended.output
    rng = random.Random(hash(tuple(how)) & 0xFFFF)
    process = killed.start()
    killed.wait_for_step(process, rng.randint(1, 5))
    time.sleep(rng.uniform(0.0, 0.5))
    killed.kill(process)
    wait_until_gone(killed)
    ended = killed.go()
    assert ended.code == 0, ended.output
    assert "continues at step" in ended.output
    assert killed.weights_hash() == whole.weights_hash()
    assert killed.state_hash() == whole.state_hash()
    assert killed.loss_curve() == whole.loss_curve()
    wait_until_gone(killed)


def test_r01_and_r04_two_runs_are_equal_whatever_the_number_of_workers(new_run: Callable[..., Run]) -> None:
    one, other = new_run("one"), new_run("other", "scratch.num_train_workers=3")
    assert one.go().code == 0
    assert other.go().code == 0
    assert one.weights_hash() == other.weights_hash()
    assert one.loss_curve() == other.loss_curve()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_r12_a_stop_signal_saves_exits_75_and_the_run_goes_on(
    new_run: Callable[..., Run], name: str, check_delay: Callable[[str, float, float], None]
) -> None:
    run = new_run("stopped", "scratch.num_train_workers=2", "checkpoint.every_n_steps=null", "scratch.num_epochs=40")
    process = run.start("checkpoint.every_n_minutes=1000")
    run.wait_for_step(process, 1)
    os.killpg(process.pid, getattr(signal, name))
    ended = run.finish(process)
    check_delay("stop on request", ended.seconds, 30)
    assert ended.code == 75, ended.output
    assert "Stopped on request" in ended.output
    wait_until_gone(run)
    process = run.start()
    run.wait_for_step(process, 1)
    run.kill(process)


def test_r12_two_processes_stop_together_on_sigterm(
    new_run: Callable[..., Run], check_delay: Callable[[str, float, float], None]
) -> None:
    run = new_run("two", "--num-gpus", "2", "scratch.num_epochs=40", "scratch.num_train_workers=1")
    process = run.start()
    run.wait_for_step(process, 2)
    process.send_signal(signal.SIGTERM)
    ended = run.finish(process)
    check_delay("stop on request", ended.seconds, 30)
    assert ended.code == 75, ended.output
    wait_until_gone(run)


def test_r05_the_world_size_may_change_on_resume(new_run: Callable[..., Run]) -> None:
    run = new_run("changing", "scratch.num_epochs=4")
    process = run.start("--num-gpus", "2", "scratch.num_train_workers=1")
    run.wait_for_step(process, 2)
    process.send_signal(signal.SIGTERM)
    assert run.finish(process).code == 75
    ended = run.go("--num-gpus", "1")
    assert ended.code == 0, ended.output
    assert "global batch stays 2" in ended.output
    report = (run.folder / "report.html").read_text()
    assert "No videos were held out" in report
    assert '<h2 id="curves">' in report


def test_a_batch_that_is_cut_differently_is_the_same_training(new_run: Callable[..., Run], tmp_path: Path) -> None:
    """Clicks, boxes and masks as prompts, several objects a clip, without dropout: 1e-3 relative after 4 steps."""
    steady = tmp_path / "steady.yaml"
    steady.write_text(ARCHITECTURE.read_text().replace("dropout: 0.1", "dropout: 0.0"))
    common = [f"model.name={steady}", "model.drop_path_rate=0", "prompts=published", "dataset.multiplier=4"]
    common += ["trainer.max_steps=4", "scratch.max_num_objects=3"]
    cuts = {
        "batch of 4": ["scratch.train_batch_size=4"],
        "4 accumulated batches": ["scratch.train_batch_size=1", "trainer.accumulate_grad_batches=4"],
        "2 ranks with a batch of 2": ["scratch.train_batch_size=2", "--num-gpus", "2"],
    }
    runs = {}
    for name, settings in cuts.items():
        run = runs[name] = new_run(name, *common, *settings)
        ended = run.go()
        assert ended.code == 0, ended.output
    whole = runs.pop("batch of 4")
    for name, run in runs.items():
        assert len(run.loss_curve()) == len(whole.loss_curve()) == 4
        for row, expected in zip(run.loss_curve(), whole.loss_curve(), strict=True):
            assert [float(x) for x in row] == pytest.approx([float(x) for x in expected], rel=1e-3), name
        assert weights_distance(run, whole) < 1e-3, name


def weights_distance(one: Run, other: Run) -> float:
    """Norm of the difference of two runs' weights, relative to the weights' norm."""
    found, expected = (torch.load(run.checkpoint, weights_only=True) for run in (one, other))
    names = [name for name, value in expected["model"].items() if value.is_floating_point()]
    difference = torch.cat([(found["model"][name] - expected["model"][name]).flatten() for name in names])
    size = torch.cat([expected["model"][name].flatten() for name in names])
    return float(difference.norm() / size.norm())
