"""R12 in one process: the first signal asks, a second one leaves at once, and one request may arrive twice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sam2_training.engine.preemption import SAME_REQUEST_SECONDS, StopAtOnce, StopInterrupt, StopRequest

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_r12_a_signal_becomes_a_flag_with_its_name_and_the_old_handler_comes_back(number: signal.Signals) -> None:
    former = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        assert stop.signal_name == number.name
        os.kill(os.getpid(), number)  # the same request, once more through torchrun
    assert signal.getsignal(number) == former


def test_r12_outside_of_training_a_signal_interrupts_and_is_no_exception_that_readers_take_for_damage() -> None:
    with StopAtOnce() as stop, pytest.raises(StopInterrupt, match="SIGTERM"), contextlib.suppress(Exception):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.has_interrupted


def test_r12_the_outer_handlers_know_of_a_request_that_the_inner_ones_heard() -> None:
    with StopAtOnce() as outer:
        with StopRequest() as inner:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert inner.requested
        os.kill(os.getpid(), signal.SIGUSR1)  # the same request, once more through torchrun
        assert outer.signal_name == "SIGUSR1"
        assert not outer.has_interrupted


def test_nohup_keeps_its_meaning() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, former)


BLOCKED = """
import sys
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, {repository!r})
from sam2_training.engine import preemption
preemption.LEAVE_SECONDS = 0.5
with preemption.StopAtOnce(), ThreadPoolExecutor(1) as pool:
    reading = pool.submit(lambda: open({fifo!r}).read())  # nobody writes
    print("ready", flush=True)
    reading.result()
"""


def test_r12_work_that_cannot_be_interrupted_is_left(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    program = BLOCKED.format(repository=str(REPOSITORY / "training"), fifo=str(tmp_path / "fifo"))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 75, errors
    assert errors == b"\nSIGTERM: stopping; a second signal leaves at once\n"


SCRIPT = """
import sys, time
sys.path.insert(0, {repository!r})
from sam2_training.engine.preemption import StopRequest
with StopRequest() as stop:
    print("ready", flush=True)
    while not stop.requested: time.sleep(0.01)
    print(stop.signal_name, flush=True)
    time.sleep(60)
"""


def test_r12_a_second_signal_leaves_at_once_with_75() -> None:
    command = [sys.executable, "-c", SCRIPT.format(repository=str(REPOSITORY / "training"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "SIGTERM\n"
        time.sleep(SAME_REQUEST_SECONDS + 0.1)
        process.send_signal(signal.SIGUSR1)
        _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 75
    assert "SIGUSR1 again: leaving at once, without saving" in errors
