"""W&B, SwanLab and MLflow, each with its real package and without a network: a run that is killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.engine.test_second_task import RECIPE, rows_of
from tests.extras import install_extra
from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS, wait_for_step

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from sam2_training import cli, tasks
from tests.engine.logging.pictured_task import PicturedConfig
tasks.TASKS["regression"] = tasks.Registration(PicturedConfig, "tests.engine.logging.pictured_task:PicturedTask")
sys.exit(cli.main(sys.argv[1:]))
"""
STEPS = 48
READ_WANDB = """
import struct
from wandb.proto import wandb_internal_pb2 as records
def parts(data):  # of LevelDB's log format, after a header of W&B's own
    position, whole = 7, b""
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""
for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
    for data in parts(path.read_bytes()):
        record = records.Record()
        record.ParseFromString(data)
        if record.run.run_id:
            put("run", record.run.run_id, record.run.project, record.run.display_name)
            for item in record.run.config.update:
                if item.key == "optimizer":
                    put("config", json.loads(item.value_json)["lr"])
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for name, value in row.items():
            if name.startswith("pictures/"):
                if name == "pictures/training/width":
                    put("picture", row["step"], value, row["pictures/training/height"])
            elif not name.startswith("_") and name != "step":
                put("value", name, row["step"], value)
        for item in record.summary.update:
            name = item.key or "/".join(item.nested_key)
            if name.startswith("final/"):
                put("final", name, json.loads(item.value_json))
"""
READ_SWANLAB = """
import yaml
from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.sdk.internal.core_python.store import DataStoreReader
for path in sorted(folder.glob("swanlab/run-*/run-*.swanlab")):
    put("config", yaml.safe_load((path.parent / "files/config.yaml").read_text())["optimizer"]["value"]["lr"])
    reader = DataStoreReader()
    reader.open(path)
    for data in reader:
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "start":
            put("run", record.start.id, record.start.project, record.start.name)
        elif kind == "scalar" and record.scalar.key.startswith("final/"):
            put("final", record.scalar.key, record.scalar.value.number)
        elif kind == "scalar" and not record.scalar.key.startswith("__"):
            put("value", record.scalar.key, record.scalar.step, record.scalar.value.number)
        elif kind == "media":
            put("picture", record.media.step, 16, 24)
"""
READ_MLFLOW = """
import re
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow/mlflow.db")
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id]):
        put("run", run.info.run_id, experiment.name, run.info.run_name)
        assert run.info.status == "FINISHED"
        put("config", float(run.data.params["optimizer.lr"]))
        for name in run.data.metrics:
            for metric in client.get_metric_history(run.info.run_id, name):
                put(*(("final", name) if name.startswith("final/") else ("value", name, metric.step)), metric.value)
        for file in client.list_artifacts(run.info.run_id, "images"):
            if file.path.endswith(".png"):
                put("picture", int(re.search(r"[+%]step[+%](\\d+)", file.path)[1]), 16, 24)
"""
HEAD = """
import json, sys
from pathlib import Path
folder = Path(sys.argv[1])
def put(*words):
    print("FOUND", json.dumps(words))
"""


def environment(packages: Path) -> dict[str, str]:
    paths = os.pathsep.join(map(str, (packages, REPOSITORY, REPOSITORY / "training")))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}


def start(packages: Path, folder: Path, service: str) -> subprocess.Popen[str]:
    recipe = folder.parent / "regression.yaml"
    recipe.write_text(RECIPE)
    words = ["train", "-c", str(recipe), f"launcher.experiment_log_dir={folder}", f"logging.logger_type={service}"]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words, "logging.mode=offline", "wandb_project=shapes", "logging.name=first"],
        env=environment(packages),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def content_of(packages: Path, folder: Path, reader: str) -> dict[str, list[list[object]]]:
    """What the service's own package finds: {kind: rows}."""
    command = [sys.executable, "-c", HEAD + reader, str(folder)]
    done = subprocess.run(
        command, env=environment(packages), capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[object]]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("FOUND "):
            kind, *words = json.loads(line.removeprefix("FOUND "))
            found.setdefault(kind, []).append(words)
    return found


@pytest.mark.parametrize(
    ("service", "reader"),
    [("WandbLogger", READ_WANDB), ("swanlab", READ_SWANLAB), ("MLFlowLogger", READ_MLFLOW)],
)
def test_a_killed_and_resumed_run_is_one_run_of_the_service(service: str, reader: str, tmp_path: Path) -> None:
    """With each value once, the configuration, the pictures and the scores at the end."""
    packages, folder = tmp_path / "packages", tmp_path / "run"
    install_extra(service.lower().removesuffix("logger"), packages)
    process = start(packages, folder, service)
    wait_for_step(folder, process, 20)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    output, _ = (process := start(packages, folder, service)).communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, output
    assert "continues at step" in output
    assert "Training continues" not in output, "a failure of the service"
    found = content_of(packages, folder, reader)

    assert len({str(run_id) for run_id, *_ in found["run"]}) == 1
    assert {(project, name) for _, project, name in found["run"]} == {("shapes", "first")}
    values = {(name, step): value for name, step, value in found["value"]}
    assert len(values) == len(found["value"]), "a value came twice"
    sent = [np.float32(values["losses/loss_square", step]) for step in range(1, STEPS + 1)]
    assert sent == [np.float32(row["loss_square"]) for row in rows_of(folder)]
    assert [step for name, step in values if name == "validation/loss"] == [0, 12, 24, 36, 48]
    assert sorted(found["picture"]) == [[step, 16, 24] for step in (16, 32, 48)]
    assert {tuple(row) for row in found["config"]} == {(0.01,)}
    finals = {str(name).replace("&", "_"): value for name, value in found["final"]}
    assert finals == {"final/validation/loss": values["validation/loss", STEPS], "final/validation/J_F": 0.5}
    for word in ("wandb", "swanlab", "mlflow"):
        assert (folder / word).is_dir() == (word in service.lower())
