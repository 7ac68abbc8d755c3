"""R12 in one process: the first signal asks, a second one leaves at once, and one request may arrive twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from sam2_training.engine.preemption import SAME_REQUEST_SECONDS, StopRequest

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


def test_nohup_keeps_its_meaning() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, former)


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
