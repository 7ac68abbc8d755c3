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


def test_accumulation_equals_one_large_batch(new_run: Callable[..., Run], tmp_path: Path) -> None:
    """Without dropout, equal up to the order of additions: 1e-4 relative in the first losses (fp32, 64 px masks)."""
    steady = tmp_path / "steady.yaml"
    steady.write_text(ARCHITECTURE.read_text().replace("dropout: 0.1", "dropout: 0.0"))
    common = [f"model.name={steady}", "model.drop_path_rate=0", "prompts=mask", "scratch.num_epochs=1"]
    large = new_run("large", *common, "scratch.train_batch_size=2")
    small = new_run("small", *common, "trainer.accumulate_grad_batches=2")
    assert large.go().code == 0
    assert small.go().code == 0
    one, other = large.loss_curve(), small.loss_curve()
    assert len(one) == len(other) == 4  # 7 clips: three steps of two, and a last one of one
    for row, expected in zip(one[:2], other[:2], strict=True):
        assert [float(value) for value in row] == pytest.approx([float(value) for value in expected], rel=1e-4)
