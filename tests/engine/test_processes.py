"""Promises R12 and R13 through real torchrun processes: exit codes, stop signals, failures, and nobody left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sam2_training.engine.processes import read_status, write_status

from tests.engine.toy_workers import PARENT, WORKER
from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

CheckDelay = Callable[[str, float, float], None]


class Run:
    """A launcher with two toy workers, in a session of its own."""

    def __init__(self, folder: Path, what: str, **environment: str) -> None:
        self.folder = folder
        self.status_path = folder / "run" / "run_status.json"
        script = folder / "scripts" / "worker.py"
        script.parent.mkdir()
        script.write_text(WORKER)
        parent = PARENT.format(repository=str(REPOSITORY / "training"), script=str(script))
        self.process = subprocess.Popen(
            [sys.executable, "-c", parent, str(self.status_path), what],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "training"), **environment},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.family: list[psutil.Process] = []

    def wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + WAIT_SECONDS
        while not all((self.status_path.parent / f"ready{rank}").exists() for rank in (0, 1)):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        assert len(self.family) == 3

    @property
    def torchrun(self) -> psutil.Process:
        return psutil.Process(self.process.pid).children()[0]

    def end(self, timeout: float = WAIT_SECONDS) -> tuple[int, str, str]:
        """(exit code, standard output, standard error); checks that no process is left."""
        output, errors = self.process.communicate(timeout=timeout)
        _, alive = psutil.wait_procs(self.family, timeout=WAIT_SECONDS)
        assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
        assert not [
            process for process in psutil.process_iter(["cmdline"]) if str(self.folder) in str(process.info["cmdline"])
        ]
        return self.process.returncode, output, errors


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def start_one(what: str, **environment: str) -> Run:
        started.append(Run(tmp_path, what, **environment))
        return started[-1]

    yield start_one
    for run in started:
        with contextlib.suppress(ProcessLookupError):
            run.process.kill()
        run.process.wait()


def test_status_round_trip_and_the_first_words_stand(tmp_path: Path) -> None:
    path = tmp_path / "run" / "run_status.json"
    assert read_status(path) is None
    assert write_status(path, 6, "bad data", keep_first=True)
    assert not write_status(path, 1, "the other rank is gone", keep_first=True)
    assert read_status(path) == (6, "bad data")
    assert write_status(path, 0, "")
    assert read_status(path) == (0, "")
    path.write_text("{")
    assert read_status(path) is None


def test_r13_a_consequence_gives_way_to_the_reason_and_never_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "run_status.json"
    assert write_status(path, 1, "another rank ended", keep_first=True, is_consequence=True)
    assert not write_status(path, 1, "another rank ended", keep_first=True, is_consequence=True)
    assert write_status(path, 1, "rank 1 was killed", keep_first=True)
    assert not write_status(path, 1, "another rank ended", keep_first=True, is_consequence=True)
    assert not write_status(path, 6, "later", keep_first=True)
    assert read_status(path) == (1, "rank 1 was killed")


@pytest.mark.parametrize("code", [3])
def test_the_workers_own_exit_code_comes_back_and_their_message_stands_alone(
    start: Callable[..., Run], code: int
) -> None:
    returned, output, errors = start(f"exit {code}").end()
    assert returned == code
    assert (output, errors) == ("", "error: the one clear message\n")


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 2, 4, 75])
def test_every_exit_code_comes_back(start: Callable[..., Run], code: int) -> None:
    assert start(f"exit {code}").end()[0] == code


@pytest.mark.slow
def test_a_worker_that_wrote_no_status_still_has_its_code_returned(start: Callable[..., Run]) -> None:
    run = start("silent")
    assert run.end()[0] == 6


@pytest.mark.slow
def test_r13_a_killed_worker_ends_a_peer_that_waits_for_it_and_is_named(
    start: Callable[..., Run], check_delay: CheckDelay
) -> None:
    run = start("killed")
    begin_s = time.monotonic()
    returned, _, errors = run.end()
    check_delay("from start to the end of all ranks after one was killed", time.monotonic() - begin_s, 15)
    assert returned == 1
    assert "rank 1 (process" in errors
    assert "was killed by SIGKILL" in errors
    assert len(errors.strip().splitlines()) == 1
    assert "Sending process" in (run.status_path.parent / "logs" / "torchrun.log").read_text()


def test_r13_a_rank_that_only_lost_its_peer_does_not_hide_which_one_was_killed(start: Callable[..., Run]) -> None:
    run = start("killed, and noticed")
    returned, _, errors = run.end()
    status = read_status(run.status_path)
    assert status is not None
    assert returned == status[0] == 1
    assert re.match(r"rank 1 \(process \d+\) was killed by SIGKILL. .* ran out of memory", status[1])
    assert errors.endswith(f"error: {status[1]}\n")


def test_r19_a_hang_names_the_rank_that_is_stopped_and_leaves_the_stacks_of_all_ranks(
    start: Callable[..., Run],
) -> None:
    run = start("stopped")
    returned, _, errors = run.end()
    status = read_status(run.status_path)
    assert status is not None
    assert returned == status[0] == 5, errors
    assert re.search(r"rank 1: process \d+ is stopped \(SIGSTOP\): somebody or a debugger has suspended it", status[1])
    folder = run.status_path.parent / "logs"
    assert f"Stack traces of the ranks: {folder}/stacks_rank_*.txt" in status[1]
    assert "in stop_here" in (folder / "stacks_rank_1.txt").read_text()
    assert "in miss_the_other" in (folder / "stacks_rank_0.txt").read_text()
    assert "Traceback" not in errors


@pytest.mark.slow
def test_r13_the_first_error_is_the_one_returned_when_a_peer_hangs(start: Callable[..., Run]) -> None:
    run = start("one fails, the other hangs")
    returned, _, errors = run.end()
    assert (returned, errors) == (6, "error: bad data on rank 1\n")
    assert read_status(run.status_path) == (6, "error: bad data on rank 1")


@pytest.mark.slow
def test_a_bug_in_a_worker_shows_its_traceback_and_exits_1(start: Callable[..., Run]) -> None:
    returned, _, errors = start("crash").end()
    assert returned == 1
    assert "ValueError: a bug" in errors
    assert "error: rank 1 failed; what it said stands above" in errors


@pytest.mark.slow
def test_workers_keep_the_environment_and_the_number_of_threads(start: Callable[..., Run]) -> None:
    run = start("imports", OMP_NUM_THREADS="3")
    returned, output, errors = run.end()
    assert returned == 0, errors
    assert output.splitlines() == [f"{REPOSITORY / 'training' / 'sam2_training' / '__init__.py'} 3"] * 2


def stop(run: Run, number: signal.Signals, target: str) -> None:
    if target == "launcher":
        run.process.send_signal(number)
    elif target == "group":
        os.killpg(run.process.pid, number)
    elif target == "torchrun":
        run.torchrun.send_signal(number)
    else:  # as SLURM does: every process of the job
        for process in [psutil.Process(run.process.pid), *run.family]:
            process.send_signal(number)


def check_stopped_and_saved(run: Run, number: signal.Signals, target: str, check_delay: CheckDelay) -> None:
    run.wait_until_ready()
    begin_s = time.monotonic()
    stop(run, number, target)
    returned, _, errors = run.end()
    assert returned == 75
    asked = f"{number.name}: asking 2 processes to save and stop; a second signal leaves at once"
    assert [line for line in errors.splitlines() if line] == ([] if target == "torchrun" else [asked])
    assert all((run.status_path.parent / f"saved{rank}").exists() for rank in (0, 1))
    check_delay(f"{number.name} to {target}", time.monotonic() - begin_s, 30)


def test_r12_a_stop_signal_saves_and_exits_75(start: Callable[..., Run], check_delay: CheckDelay) -> None:
    check_stopped_and_saved(start("train"), signal.SIGUSR1, "everyone", check_delay)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["launcher", "group", "torchrun", "everyone"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_r12_each_signal_to_each_target(
    start: Callable[..., Run], number: signal.Signals, target: str, check_delay: CheckDelay
) -> None:
    check_stopped_and_saved(start("train"), number, target, check_delay)


@pytest.mark.slow
def test_r12_a_save_may_take_longer_than_torchrun_would_wait(start: Callable[..., Run]) -> None:
    run = start("train", SAVE_SECONDS="33")
    run.wait_until_ready()
    run.process.terminate()
    assert run.end()[0] == 75
    assert (run.status_path.parent / "saved0").exists()


@pytest.mark.slow
def test_r12_a_second_signal_leaves_at_once_with_75(start: Callable[..., Run], check_delay: CheckDelay) -> None:
    run = start("train", SAVE_SECONDS="60")
    run.wait_until_ready()
    run.process.terminate()
    time.sleep(2.5)
    run.process.terminate()
    begin_s = time.monotonic()
    assert run.end()[0] == 75
    check_delay("second signal", time.monotonic() - begin_s, 5)
    assert not (run.status_path.parent / "saved0").exists()


@pytest.mark.slow
def test_r12_a_signal_before_the_workers_are_ready_exits_75(start: Callable[..., Run]) -> None:
    run = start("train")
    while not psutil.Process(run.process.pid).children():
        time.sleep(0.05)
    run.process.send_signal(signal.SIGUSR1)
    assert run.end()[0] == 75


def test_r12_nobody_outlives_a_killed_launcher(start: Callable[..., Run]) -> None:
    run = start("train")
    run.wait_until_ready()
    run.process.kill()
    assert run.end()[0] == -signal.SIGKILL


@pytest.mark.slow
def test_r12_nobody_outlives_a_killed_torchrun(start: Callable[..., Run]) -> None:
    run = start("train")
    run.wait_until_ready()
    run.torchrun.kill()
    assert run.end()[0] == 1


def test_r08_the_code_reaches_the_caller_where_the_status_cannot_be_written(start: Callable[..., Run]) -> None:
    run = start("no room")
    code, _, errors = run.end()
    assert code == 4, errors
    assert "run_status.json cannot be written" in errors
    assert "exit code 4, error: not saved" in errors
