"""A service that hangs, dies or refuses never ends, delays or fails the training; what a start checks and remembers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from sam2_training.core.errors import ConfigError
from sam2_training.engine.config import RunConfig
from sam2_training.engine.logging import service
from sam2_training.engine.logging.config import LoggingConfig
from sam2_training.engine.logging.extras import check_extras
from sam2_training.engine.logging.loggers import service_openers
from sam2_training.engine.logging.service import ServiceLogger
from sam2_training.tasks import load_config

from tests.places import REPOSITORY

RECIPE = "sam2.1_training/custom_finetune"
CONFIG = RunConfig(logging=LoggingConfig(logger_type=("swanlab",), close_timeout_seconds=60.0))
PACKAGE = """
import os, time
class Image:
    def __init__(self, pixels):
        self.shape = pixels.shape
class Run:
    url = "somewhere"
    def log(self, values, step):
        {log}
        with open(os.environ["RECORD"], "a") as file:
            for name, value in values.items():
                print(step, name, getattr(value, "shape", value), file=file)
    def finish(self):
        {finish}
def init(**settings):
    {init}
    with open(os.environ["RECORD"], "a") as file:
        print("run", settings["id"], settings["project"], settings["name"], file=file)
    return Run()
"""
"""A package in place of SwanLab's, with faults at chosen places; what it takes goes to a file."""


class Place:
    """A run's folder, and the package that its service finds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.record, self.packages = folder / "sets" / "run", folder / "record", folder / "packages"
        (self.folder / "logs").mkdir(parents=True)
        self.packages.mkdir()
        monkeypatch.setenv("PYTHONPATH", str(self.packages))
        monkeypatch.setenv("RECORD", str(self.record))

    def open(self, start_step: int = 0, seconds: float = 60.0, **faults: str) -> ServiceLogger:
        places = {"log": "pass", "finish": "pass", "init": "pass"} | faults
        (self.packages / "swanlab.py").write_text(PACKAGE.format(**places))
        settings = LoggingConfig(logger_type=("swanlab",), close_timeout_seconds=seconds)
        opened = service_openers(RunConfig(logging=settings), self.folder, start_step)["swanlab"]()
        assert isinstance(opened, ServiceLogger)
        return opened

    def lines(self) -> list[str]:
        return self.record.read_text().splitlines()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_values_pictures_and_the_summary_arrive_in_order(place: Place) -> None:
    logger = place.open()
    logger.log(1, {"lr": 0.5, "losses/total": float("nan")})
    logger.picture("training", np.zeros((4, 6, 3), np.uint8), 1)
    logger.summary(2, {"validation/loss": 0.25})
    logger.close()
    run, *values = place.lines()
    assert run.split()[2:] == ["sam2-training", "sets/run"]
    assert values == [
        *("1 lr 0.5", "1 losses/total nan", "1 pictures/training (4, 6, 3)", "2 final/validation/loss 0.25"),
    ]


def test_a_resumed_run_is_the_same_one_and_repeats_no_value(place: Place) -> None:
    first = place.open()
    for step in (1, 2, 3):
        first.log(step, {"lr": step})
    first.close()
    second = place.open(start_step=1)  # from its checkpoint
    for step in (2, 3, 4):
        second.log(step, {"lr": step, "new": step})
    second.close()
    lines = place.lines()
    assert [line for line in lines if " lr " in line] == ["1 lr 1", "2 lr 2", "3 lr 3", "4 lr 4"]
    assert [line for line in lines if " new " in line] == ["2 new 2", "3 new 3", "4 new 4"]
    runs = [line for line in lines if line.startswith("run")]
    assert runs[0] == runs[1]
    place.open(start_step=0).close()  # a run that begins anew
    assert place.lines()[-1].startswith("run")
    assert place.lines()[-1] != runs[0]


def test_a_damaged_note_of_what_was_taken_begins_a_new_run(place: Place) -> None:
    (place.folder / "logs" / "swanlab.json").write_text('{"run_id": ')
    logger = place.open(start_step=5)
    logger.log(6, {"lr": 1.0})
    logger.close()
    assert place.lines()[-1] == "6 lr 1.0"
    assert "is damaged" in (place.folder / "logs" / "swanlab.log").read_text()


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_service_that_hangs_delays_nothing_but_the_end_and_that_within_its_bound(place: Place, where: str) -> None:
    logger = place.open(seconds=4.0, **{where: "time.sleep(100000)"})
    started = time.monotonic()
    for step in range(1, 2001):
        logger.log(step, {"lr": 1.0})
    process = psutil.Process(logger._process.pid)
    with pytest.raises(OSError, match=r"did not take everything within 4 s \(logging.close_timeout_seconds\)"):
        logger.close()
    assert time.monotonic() - started < 600, "it would have waited for the service"
    assert not process.is_running(), "its process was left behind"


def test_messages_that_a_service_does_not_take_are_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_WAITING_BYTES", 1 << 20)
    logger = place.open(seconds=1.0, init="time.sleep(100000)")
    with pytest.raises(OSError, match="does not take values any more"):  # noqa: PT012
        for step in range(1, 100_000):
            logger.log(step, {"name" * 250: 1.0})
    assert step < 3000, "more than the bound and what a pipe holds"
    with pytest.raises(OSError, match="did not take everything within 1 s"):
        logger.close()


@pytest.mark.parametrize("where", ["init", "log"])
def test_a_refusal_is_raised_with_its_reason(place: Place, where: str) -> None:
    logger = place.open(**{where: "raise RuntimeError('api_key not configured')"})
    with pytest.raises(OSError, match=r"api_key not configured \(more in .*swanlab.log\)"):  # noqa: PT012
        logger.log(1, {"lr": 1.0})
        logger.close()
    assert "Traceback" in (place.folder / "logs" / "swanlab.log").read_text()


def test_one_refused_value_does_not_keep_others_back(place: Place) -> None:
    logger = place.open(log="assert 'bad' not in values, 'refused'")
    logger.log(1, {"bad": 1.0})
    logger._messages.put(b'{"kind": "log", "step": 2, "values": {"good": 2.0}}\n')
    with pytest.raises(OSError, match="refused"):
        logger.close()
    assert place.lines()[1:] == ["2 good 2.0"]


def test_a_killed_service_is_named(place: Place) -> None:
    logger = place.open()
    os.kill(logger._process.pid, signal.SIGKILL)
    logger._process.wait()
    with pytest.raises(OSError, match="its process ended with exit code -9"):  # noqa: PT012
        for step in range(1, 100):
            logger.log(step, {"lr": 1.0})
        logger.close()


def test_the_service_of_a_killed_training_takes_what_it_was_given_and_ends(place: Place, tmp_path: Path) -> None:
    place.open().close()  # writes the package
    program = f"""
import os, sys, time
sys.path.insert(0, {str(REPOSITORY / "training")!r})
from pathlib import Path
from sam2_training.engine.config import RunConfig
from sam2_training.engine.logging.config import LoggingConfig
from sam2_training.engine.logging.loggers import service_openers
config = RunConfig(logging=LoggingConfig(use_swanlab=True))
logger = service_openers(config, Path({str(place.folder)!r}), 0)["swanlab"]()
for step in range(1, 51):
    logger.log(step, {{"lr": 1.0}})
while logger._waiting_bytes:
    time.sleep(0.01)
print(logger._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False)
    assert killed.returncode == -9, killed.stderr
    with_service = psutil.Process(int(killed.stdout)) if psutil.pid_exists(int(killed.stdout)) else None
    if with_service is not None:
        with_service.wait(600)
    assert place.lines()[-1] == "50 lr 1.0"
    noted = json.loads((place.folder / "logs" / "swanlab.json").read_text())
    assert noted["steps"] == {"lr": 50}


@pytest.mark.parametrize(
    ("overrides", "services"),
    [
        (["logging.logger_type=null"], ()),
        (["logging.logger_type=CSVLogger"], ()),
        (["logging.logger_type=[csv,TensorBoardLogger]"], ()),
        (["logging.logger_type=WandbLogger"], ("wandb",)),
        (["logging.logger_type=[mlflow,WandbLogger,SwanLabLogger]"], ("wandb", "swanlab", "mlflow")),
        (["use_wandb=true"], ("wandb",)),
        (["use_swanlab=true", "logging.logger_type=[MLFlowLogger]"], ("swanlab", "mlflow")),
        (["use_mlflow=1", "logging.logger_type=[mlflow]"], ("mlflow",)),
    ],
)
def test_names_of_services(overrides: list[str], services: tuple[str, ...]) -> None:
    assert load_config(RECIPE, overrides).config.logging.services == services


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["logging.logger_type=comet"],
            "logging.logger_type='comet' must be null, or one or a list of csv, tensorboard",
        ),
        (["wandb_project=a", "swanlab_project=b"], ""),
        (["mlflow_tracking_uri=http://host"], "MLflow is not used: set logging.logger_type=mlflow"),
        (["use_mlflow=true", "logging.mode=offline", "mlflow_tracking_uri=http://host"], "is a server"),
    ],
)
def test_settings_that_cannot_be_meant(overrides: list[str], problem: str) -> None:
    if not problem:
        assert load_config(RECIPE, overrides).config.logging.project == "b", "the last on the command line counts"
        return
    with pytest.raises(ConfigError, match=problem.replace("[", r"\[")):
        load_config(RECIPE, overrides)


@pytest.mark.parametrize("name", ["wandb", "swanlab", "mlflow"])
def test_a_missing_package_names_the_extra_and_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as raised:
        check_extras(RunConfig(logging=LoggingConfig(logger_type=(name,))))  # type: ignore[arg-type]
    (problem,) = raised.value.problems
    assert f"it is the extra '{name}'" in problem
    assert problem.endswith(f"-m pip install --requirement {REPOSITORY}/requirements-{name}.lock")


def test_a_check_names_it_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from sam2_training import cli

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["train", "-c", RECIPE, "--check", "use_wandb=true"]) == 2
    assert "it is the extra 'wandb'" in capsys.readouterr().err
