"""R12 through the real command with two processes, before the first step."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from tests.e2e.conftest import Run
from tests.waiting import WAIT_SECONDS


def slow_dataset(folder: Path) -> tuple[str, str]:
    """2,000 masks that take about 20 ms each to decode, as links to one file; the settings that name them."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 2, (1500, 1500), np.uint8)).save(folder / "mask.png")
    Image.fromarray(np.zeros((1500, 1500, 3), np.uint8)).save(folder / "image.jpg")
    for video in range(40):
        for kind, name, suffix in (("images", "image.jpg", "jpg"), ("masks", "mask.png", "png")):
            (folder / kind / f"v{video}").mkdir()
            for t in range(50):
                os.link(folder / name, folder / kind / f"v{video}" / f"{t:05d}.{suffix}")
    return f"dataset.img_folder={folder / 'images'}", f"dataset.gt_folder={folder / 'masks'}"


def test_r12_two_processes_hear_a_stop_while_they_index(new_run: Callable[..., Run], tmp_path: Path) -> None:
    run = new_run("indexing", "--num-gpus", "2", *slow_dataset(tmp_path / "data"), "trainer.accelerator=cpu")
    process = run.start()
    until = time.monotonic() + WAIT_SECONDS
    while len(family := psutil.Process(process.pid).children(recursive=True)) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    # Both have imported torch and met: each has a connection to the other's store.
    while not all(any(c.status == "ESTABLISHED" for c in rank.net_connections()) for rank in family[1:]):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    ended = run.finish(process)
    assert ended.code == 75, ended.output
    assert "SIGUSR1: asking 2 processes to save and stop; a second signal leaves at once" in ended.output
    assert "Traceback" not in ended.output
    assert json.loads((run.folder / "run_status.json").read_text())["exit_code"] == 75
    _, alive = psutil.wait_procs(family, timeout=WAIT_SECONDS)
    assert not alive
