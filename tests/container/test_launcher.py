"""What run_training_docker.sh makes of its environment: the docker command, devices, mounts, users."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from sam2_training.cli import VERBS

from tests.container.fake_host import NVIDIA_SMI, Host, host
from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

__all__ = ["host"]


def test_a_run_returns_the_container_s_own_exit_code(host: Host) -> None:
    for code in (0, 3, 75):
        host.docker(code=str(code))
        assert host.run()[0] == code
    assert "The same command again goes on from there" in host.run()[1]


def test_dry_run_prints_a_command_that_runs_and_starts_nothing(host: Host, tmp_path: Path) -> None:
    output = tmp_path / "with space, comma and 'quote'"
    code, text = host.run("--dry-run", "--", "scratch.resolution=512", SAM2_OUTPUT=str(output))
    assert code == 0
    assert "RAN" not in text
    command = text[text.index("docker run") :]
    ran = subprocess.run(
        ["bash", "-c", command], env=host.environment, text=True, capture_output=True, check=True
    ).stdout
    assert ran.startswith("RAN run --name sam2-custom_finetune-")
    assert f'type=bind,"source={output}",target=/workspace/sam2_logs' in ran
    assert ran.rstrip().endswith(
        "--data /workspace/dataset/images /workspace/dataset/masks train scratch.resolution=512"
    )


def test_the_container_is_locked_down(host: Host) -> None:
    _, text = host.run("--dry-run")
    for option in (
        "--read-only",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--network none",
        "--stop-timeout 120",
    ):
        assert option in text
    for option in ("--privileged", "--net=host", "--network host", "--user 0"):
        assert option not in text
    for target in ("/workspace", "/workspace/dataset", "/checkpoints"):
        assert re.search(rf"target={target},readonly", text)
    assert "--shm-size 300m" in text


def test_help_needs_nothing(tmp_path: Path) -> None:
    shown = subprocess.run(
        [REPOSITORY / "run_training_docker.sh", "--help"], text=True, capture_output=True, check=True
    )
    for name in (
        "SAM2_DATASET",
        "SAM2_CONFIG",
        "SAM2_GPUS",
        "--dry-run",
        "--demo",
        "  evaluate ",
        "75 stopped on request",
    ):
        assert name in shown.stdout


@pytest.mark.parametrize(
    ("driver", "gpu_fails", "words"),
    [("550.54", "0", "CUDA 13 needs 580 or newer"), ("580.1", "1", "install nvidia-container-toolkit")],
)
def test_a_gpu_that_cannot_be_used_is_said_and_the_cpu_is_used(
    host: Host, driver: str, gpu_fails: str, words: str
) -> None:
    host.program("nvidia-smi", NVIDIA_SMI.format(driver=driver))
    host.docker(gpu_fails=gpu_fails)
    code, text = host.run()
    assert code == 0
    assert f"WARNING: running train on the CPU, which is slow: {words}" in text or (words in text and "WARNING" in text)
    assert "--gpus" not in text[text.index("RAN") :]
    assert host.run(SAM2_REQUIRE_GPU="1")[0] == 2


@pytest.mark.parametrize(("asked", "option", "processes"), [("all", "--gpus all", 2), ("1", '--gpus "device=0"', 1)])
def test_one_process_runs_on_each_gpu(host: Host, asked: str, option: str, processes: int) -> None:
    host.program("nvidia-smi", NVIDIA_SMI.format(driver="580.82"))
    _, text = host.run(SAM2_GPUS=asked)
    assert option in text
    before = f"training/run.py --config sam2.1_training/custom_finetune --num-gpus {processes} --data "
    assert before in text
    assert " train\n" in text
    _, text = host.run("evaluate", SAM2_GPUS=asked)
    assert before in text
    assert " evaluate\n" in text
    code, text = host.run(SAM2_GPUS="3")
    assert code == 2
    assert "this host has 2 GPU(s). Ask for at most 2" in text


def test_layouts_are_found_by_themselves(host: Host) -> None:
    shutil.rmtree(host.data)
    for kind in ("JPEGImages", "Annotations"):
        (host.data / kind / "480p" / "bear").mkdir(parents=True)
    assert "--data /workspace/dataset/JPEGImages/480p /workspace/dataset/Annotations/480p " in host.run()[1]


def test_a_recipe_of_one_s_own_outside_the_project_is_mounted(host: Host, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("seed: 1\n")
    _, text = host.run(SAM2_CONFIG=str(recipe))
    assert f'type=bind,"source={recipe}",target=/config/mine.yaml,readonly' in text
    assert "--config /config/mine.yaml" in text


def test_on_a_terminal_without_a_dataset_the_demo_is_offered(host: Host) -> None:
    del host.environment["SAM2_DATASET"]
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [REPOSITORY / "run_training_docker.sh"], env=host.environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.write(leader, b"y\n")
    assert process.wait(timeout=WAIT_SECONDS) == 0
    os.close(follower)
    said = os.read(leader, 65536).decode()
    assert "Run the demo now? [y/N]" in said
    assert re.search(r"python training/run.py [^\n]* demo\b", said)


def test_a_caller_who_is_root_gets_files_of_its_own_and_runs_nothing_as_root(host: Host) -> None:
    _, text = host.run("--dry-run")
    user = re.search(r"--user (\d+):", text)
    assert user
    assert user[1] == ("10001" if os.geteuid() == 0 else str(os.geteuid()))
    rootless = "echo '[name=seccomp name=rootless]'"
    host.docker(info=rootless)
    assert "--user 0:0" in host.run("--dry-run")[1]


def test_the_launcher_reads_the_same_table_of_verbs_as_the_command_line() -> None:
    for name, verb in {**VERBS, "nonsense": None, "tr.in": None}.items():
        script = '. "$1/scripts/launcher/verbs.sh"; find_verb "$1" "$2" && echo "$verb_data/$verb_gpu"'
        asked = subprocess.run(
            ["bash", "-c", script, "-", REPOSITORY, name], text=True, capture_output=True, check=False
        )
        if verb is None or verb.hidden:
            assert asked.returncode == 1
        else:
            assert asked.stdout == f"{verb.data}/{verb.gpu:d}\n"


@pytest.mark.parametrize("verb", ["evaluate", "predict", "export", "demo"])
def test_a_verb_and_its_older_spelling_run_the_same(host: Host, verb: str) -> None:
    code, text = host.run(verb, "--", "--checkpoint", "x.pt")
    assert code == 0
    assert re.search(
        rf"RAN .*training/run.py --config sam2.1_training/custom_finetune .* {verb} --checkpoint x.pt", text
    )
    assert host.run(f"--{verb}", "--", "--checkpoint", "x.pt") == (code, text)
    assert (f"running {verb} on the CPU" in text) == VERBS[verb].gpu


def test_a_verb_without_data_asks_for_none_and_a_shell_is_never_unhealthy(host: Host) -> None:
    shutil.rmtree(host.data / "images")
    assert host.run("predict")[0] == 0  # any folder of videos will do
    del host.environment["SAM2_DATASET"]
    assert host.run("export")[0] == 0
    code, text = host.run("evaluate")
    assert code == 2
    assert "SAM2_DATASET is not set" in text
    assert "--no-healthcheck" in host.run("--shell", "--dry-run")[1]
