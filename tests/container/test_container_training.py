"""Training in the container: the same bits as outside it, however it is started and stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sam2
from sam2_training.engine.checkpoint.files import recorded_hashes, sha256_of

from benchmarks.stock import stock_root
from tests.container.conftest import RUN, TINY, Caller, in_container, inspect, run
from tests.e2e.conftest import weights_hash
from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

pytestmark = pytest.mark.slow
NewCaller = Callable[[str], Caller]
FOLDERS = {"img": "JPEGImages", "gt": "Annotations"}


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> str:
    """The weights' SHA-256 of the same training without a container, with the same lock."""
    folder = tmp_path_factory.mktemp("outside") / "run"
    data = [f"dataset.img_folder={real_data}/vos/JPEGImages", f"dataset.gt_folder={real_data}/vos/Annotations"]
    command = [sys.executable, REPOSITORY / "training" / "train.py", "-c", RUN, *TINY, *data]
    done = run(*command, f"launcher.experiment_log_dir={folder}", env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return weights_hash(folder / "checkpoints" / "checkpoint.pt")


def intact(folder: Path) -> bool:
    """Whether the newest checkpoint is the one that was written, by its SHA-256, and the one that users load."""
    newest = max((folder / "checkpoints").glob("step_*.pt"))
    same = newest.samefile(folder / "checkpoints" / "checkpoint.pt")
    return same and sha256_of(newest) in recorded_hashes(newest)


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in folder.rglob("*")}


def test_the_launcher_trains_to_the_same_bits_as_outside(
    new_caller: NewCaller, outside: str, image: str, build_environment: dict[str, str]
) -> None:
    caller = new_caller("whole")
    code, output = caller.train()
    assert code == 0, output
    assert "WARNING: running train on the CPU" in output
    assert caller.weights == outside
    assert owners(caller.output) == {caller.uid}
    made_by = json.loads((caller.folder / "provenance.json").read_text())
    found = inspect(build_environment, image)
    labels = found["Config"]["Labels"]  # type: ignore[index]
    assert made_by["image"]["SAM2_IMAGE_ID"] == found["Id"]
    assert made_by["image"]["SAM2_IMAGE_REVISION"] == labels["org.opencontainers.image.revision"]
    assert made_by["image"]["SAM2_IMAGE_BASE_NAME"] == labels["org.opencontainers.image.base.name"]
    assert made_by["image"]["SAM2_IMAGE_LOCK_SHA256"] == labels["sam2-training.lock.sha256"] == made_by["lock_sha256"]


def test_docker_stop_saves_and_the_next_start_ends_with_the_same_bits(new_caller: NewCaller, outside: str) -> None:
    caller = new_caller("stopped")
    process = caller.start("./run_training_docker.sh", "--", *TINY)
    caller.wait_for_step(process, 2)
    names = run("docker", "ps", "--format", "{{.Names}}", env=caller.environment).stdout.split()
    name = next(name for name in names if name.startswith("sam2-custom_finetune-"))
    twice, answer = caller.train()  # the same run must not be started a second time beside the first
    assert twice == 2, answer
    assert "going on already" in answer
    run("docker", "stop", name, env=caller.environment)
    output, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 75, output
    assert "Stopped and saved" in output
    assert intact(caller.folder)
    assert owners(caller.output) == {caller.uid}
    code, output = caller.train()
    assert code == 0, output
    assert "continues at step" in output
    assert caller.weights == outside


@pytest.mark.parametrize(("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_ctrl_c_and_kill_reach_the_run_once(new_caller: NewCaller, number: signal.Signals, group: bool) -> None:
    # Ctrl-C goes to the whole process group; a supervisor's SIGTERM to the script alone. A second signal would end the
    # run without saving, so the docker client must not pass it on as well.
    caller = new_caller(f"signal-{number.name}")
    process = caller.start("./run_training_docker.sh", "--", *TINY, "scratch.num_epochs=50")
    caller.wait_for_step(process, 1)
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 75, output
    assert "Stopped and saved" in output
    assert intact(caller.folder)


def test_make_train_runs_two_processes_in_the_container(new_caller: NewCaller) -> None:
    caller = new_caller("make")
    arguments = " ".join([*TINY, "trainer.max_steps=2"])
    code, output = caller.call("make", "train", "GPUS=2", f"ARGS={arguments}")
    assert code == 0, output
    assert "Running train in a container, because docker is here" in output
    assert json.loads((caller.folder / "provenance.json").read_text())["world_size"] == 2


def test_make_train_says_when_it_is_not_in_a_container(new_caller: NewCaller) -> None:
    caller = new_caller("local")
    environment = {**caller.environment, "LOCAL": "1", "ARGS": "--help"}
    shown = subprocess.run(
        [REPOSITORY / "scripts" / "launcher" / "run.sh", "train"],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "Running train on this machine, not in a container: LOCAL=1." in shown.stdout
    assert "usage: sam2-training train" in shown.stdout


def test_a_sam2_source_tree_wins_over_the_installed_package(new_caller: NewCaller, public_folder: Path) -> None:
    caller = new_caller("source")
    tree = stock_tree(public_folder / "segment-anything-2")
    code, output = caller.train("trainer.max_steps=1", SAM2_SOURCE=str(tree))
    assert code == 0, output
    made_by = json.loads((caller.folder / "provenance.json").read_text())
    assert made_by["sam2_folder"] == "/segment-anything-2/sam2"


def stock_tree(folder: Path) -> Path:
    """A source tree as SAM 2's repository has it: the package sam2, and the package `training` that is not ours."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(Path(sam2.__file__).parent, folder / "sam2", dirs_exist_ok=True)
    shutil.copytree(stock_root() / "training", folder / "training", dirs_exist_ok=True)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_ours_is_imported_with_a_stock_tree_mounted(
    image: str, build_environment: dict[str, str], public_folder: Path
) -> None:
    tree = stock_tree(public_folder / "segment-anything-2")
    mount = ("--volume", f"{tree}:/segment-anything-2:ro")
    program = (
        "import sys; sys.path.insert(0, '/workspace/training'); import sam2, sam2_training, training; "
        "print(sam2_training.__file__, sam2.__file__, training.__file__)"
    )
    shown = in_container(build_environment, image, *mount, image, "python", "-c", program)
    ours, sam2_file, stock = shown.stdout.split()
    assert ours == "/workspace/training/sam2_training/__init__.py"
    assert sam2_file == "/segment-anything-2/sam2/__init__.py"
    assert stock == "/segment-anything-2/training/__init__.py"
    random = "model.checkpoint=null"  # the weights are not mounted here
    checked = in_container(build_environment, image, *mount, image, "train", "-c", RUN, "--check", random)
    assert checked.returncode == 0, checked.stderr
    assert "image_size: 1024" in checked.stdout


def test_a_full_disk_while_saving_is_survived_and_said(
    image: str, build_environment: dict[str, str], project: Path, real_data: Path
) -> None:
    # A state is 65 MB: two fit, and none beside them while it is written.
    mounts = ["--volume", f"{project}:/workspace:ro", "--volume", f"{real_data / 'vos'}:/workspace/dataset:ro"]
    mounts += ["--tmpfs", "/results:rw,size=150m,mode=1777"]
    data = [f"dataset.{key}_folder=/workspace/dataset/{name}" for key, name in FOLDERS.items()]
    command = ["python", "training/train.py", "-c", RUN, *TINY, *data, "checkpoint.max_failed_saves=100"]
    command += ["launcher.experiment_log_dir=/results/run"]
    done = in_container(build_environment, image, *mounts, "--env", "OMP_NUM_THREADS=1", image, *command)
    said = done.stdout + done.stderr
    assert "step 7/7" in said
    assert "No space left on device" in said
    assert done.returncode in (0, 4), said


def test_evaluation_prediction_and_export_run_in_the_container(new_caller: NewCaller, project: Path) -> None:
    caller = new_caller("scored")
    code, output = caller.train("trainer.max_steps=1")
    assert code == 0, output
    weights = f"sam2_logs/{RUN}/checkpoints/checkpoint.pt"
    network = ["model.name=architecture/tiny.yaml", "scratch.resolution=64"]
    listed = caller.output / "split.txt"
    listed.write_text("car-shadow\n")
    listed.chmod(0o644)
    arguments = ["--checkpoint", weights, "--split", "sam2_logs/split.txt", "--output", "sam2_logs/scores", *network]
    code, output = caller.call("./run_training_docker.sh", "evaluate", "--", *arguments)
    assert code == 0, output
    scores = json.loads((caller.output / "scores" / "scores.json").read_text())
    assert "car-shadow" in json.dumps(scores)
    assert len(list((caller.output / "scores" / "masks" / "car-shadow").glob("*.png"))) == 40
    clip = "dataset/JPEGImages/car-shadow"
    words = [clip, "--checkpoint", weights, "--box", "1:100,100,300,300", "--output", "sam2_logs/tracked", *network]
    code, output = caller.call("make", "predict", f"ARGS={' '.join(words)}")
    assert code == 0, output
    assert "Running predict in a container" in output
    assert (caller.output / "tracked" / "overlay.mp4").stat().st_size > 10_000
    assert (caller.output / "tracked" / "contact_sheet.png").is_file()
    assert owners(caller.output / "tracked") == {caller.uid}
    words = ["--checkpoint", weights, "--output", "sam2_logs/slim/weights.safetensors", "--safetensors", *network]
    code, output = caller.call("./run_training_docker.sh", "--export", "--", *words, SAM2_DATASET="")
    assert code == 0, output
    assert "verified  loaded strictly by stock sam2" in output
    assert owners(caller.output / "slim") == {caller.uid}


def test_an_engine_that_does_not_answer_or_may_not_be_used_is_told_apart(new_caller: NewCaller) -> None:
    caller = new_caller("refused")
    code, output = caller.train(DOCKER_HOST="unix:///nowhere/docker.sock")
    assert code == 2
    assert "docker does not answer" in output
    assert "sudo systemctl start docker" in output
    if not caller.as_user:
        pytest.skip("only root can call the launcher as somebody who may not use docker")
    caller.as_user = [word for word in caller.as_user if not word.startswith("--groups")] + ["--clear-groups"]
    code, output = caller.train()
    assert code == 2
    assert "sudo usermod -aG docker" in output
