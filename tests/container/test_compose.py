"""docker-compose.yml: its profiles, and a run through compose."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.container.conftest import RUN, TINY, Caller, run, unavailable

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compose(engine_environment: dict[str, str]) -> list[str]:
    """The compose command of this machine: the plugin, or docker-compose 1.29."""
    if run("docker", "compose", "version", env=engine_environment).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    unavailable("neither the compose plugin nor docker-compose is installed")
    return []


@pytest.fixture
def settings(
    new_caller: Callable[[str], Caller], public_folder: Path, real_data: Path, image: str
) -> Callable[[str], tuple[Caller, dict[str, str]]]:
    """A caller and the settings as .env.example names them."""

    def make(name: str, *more: str) -> tuple[Caller, dict[str, str]]:
        caller = new_caller(name)
        data = ("dataset.img_folder=/workspace/dataset/JPEGImages", "dataset.gt_folder=/workspace/dataset/Annotations")
        variables = {
            "SAM2_DATASET": str(real_data / "vos"),
            "SAM2_OUTPUT": str(caller.output),
            "SAM2_UID": str(caller.uid),
            "SAM2_GID": str(caller.uid),
            "SAM2_IMAGE": image,
            "SAM2_ARGS": " ".join([*TINY, *data, *more]),
            "SAM2_SHM_SIZE": "1g",
        }
        return caller, variables

    return make


def test_compose_trains_with_the_cpu_profile(
    compose: list[str], settings: Callable[..., tuple[Caller, dict[str, str]]]
) -> None:
    caller, variables = settings("compose", "trainer.max_steps=2")
    code, output = caller.call(*compose, "--profile", "cpu", "up", "--exit-code-from", "train-cpu", **variables)
    try:
        assert code == 0, output
        assert json.loads((caller.output / RUN / "run_status.json").read_text())["exit_code"] == 0
        assert {path.lstat().st_uid for path in (caller.output / RUN).rglob("*")} == {caller.uid}
    finally:
        caller.call(*compose, "--profile", "cpu", "down", **variables)


def test_the_verb_is_a_setting(compose: list[str], settings: Callable[..., tuple[Caller, dict[str, str]]]) -> None:
    caller, variables = settings("compose-verb")
    variables |= {"SAM2_VERB": "needs"}
    code, output = caller.call(*compose, "run", "--rm", "cpu", **variables)
    assert code == 0, output
    assert "shm_mib=" in output


def test_services_and_profiles(
    compose: list[str], project: Path, engine_environment: dict[str, str], real_data: Path
) -> None:
    def services(*options: str, **variables: str) -> set[str]:
        environment = {**engine_environment, "SAM2_DATASET": str(real_data), **variables}
        shown = run(
            *compose,
            "--project-directory",
            project,
            "-f",
            project / "docker-compose.yml",
            *options,
            "config",
            "--services",
            env=environment,
        )
        assert shown.returncode == 0, shown.stderr
        return set(shown.stdout.split())

    everything = {"train", "train-cpu", "evaluate", "evaluate-cpu", "predict", "predict-cpu", "export"}
    everything |= {"gpu", "cpu", "tensorboard"}
    assert services("--profile", "cpu") in ({"train-cpu"}, everything)  # 1.29 lists all, whatever the profile
    assert services(COMPOSE_PROFILES="gpu") in ({"train"}, everything)


def test_a_missing_dataset_is_said_by_name(
    compose: list[str], project: Path, engine_environment: dict[str, str]
) -> None:
    shown = run(*compose, "-f", project / "docker-compose.yml", "--profile", "cpu", "config", env=engine_environment)
    assert shown.returncode != 0
    assert "set SAM2_DATASET to the folder with your frames and masks" in shown.stdout + shown.stderr


def test_the_example_of_settings_names_every_variable_of_the_compose_file(project: Path) -> None:
    used = set(re.findall(r"\$\{(\w+)", (project / "docker-compose.yml").read_text()))
    named = set(re.findall(r"^(\w+)=", (project / ".env.example").read_text(), flags=re.M))
    assert named - {"COMPOSE_PROFILES"} == used


def test_only_the_gpu_service_reserves_a_device_and_the_board_is_local(project: Path) -> None:
    services = yaml.safe_load((project / "docker-compose.yml").read_text())["services"]
    assert {name for name, service in services.items() if "deploy" in service} == {
        "train",
        "gpu",
        "evaluate",
        "predict",
    }
    device = services["train"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert device["driver"] == "nvidia"
    assert device["capabilities"] == ["gpu"]
    assert all(port.startswith("127.0.0.1:") for port in services["tensorboard"]["ports"])
    for name in ("train", "train-cpu"):
        service = services[name]
        assert service["init"] is True
        assert service["stop_grace_period"] == "120s"
        assert service["network_mode"] == "none"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "shm_size" in service
        assert "ulimits" in service
    assert services["train"]["volumes"][0] == ".:/workspace:ro"
