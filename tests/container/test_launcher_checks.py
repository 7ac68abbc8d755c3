"""What run_training_docker.sh refuses before it starts anything, and the cure that it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.container.fake_host import Host, host

__all__ = ["host"]


def refuse(version: str) -> Callable[[Host], None]:
    return lambda host: host.docker(version=version)


CASES: dict[str, tuple[Callable[[Host], object], dict[str, str], tuple[str, ...], int, str]] = {
    "unknown argument": (
        lambda host: None,
        {},
        ("scratch.resolution=512",),
        2,
        "Overrides such as key=value come after --",
    ),
    "no dataset": (lambda host: host.environment.pop("SAM2_DATASET"), {}, (), 2, "run_training_docker.sh demo"),
    "dataset missing": (
        lambda host: None,
        {"SAM2_DATASET": "/nowhere"},
        (),
        6,
        "SAM2_DATASET=/nowhere is not a folder",
    ),
    "layout": (
        lambda host: (host.data / "images").rename(host.data / "pictures"),
        {},
        (),
        6,
        "(found: masks pictures)",
    ),
    "no video": (
        lambda host: (host.data / "images" / "video").rmdir(),
        {},
        (),
        6,
        "expected one folder of frames per video",
    ),
    "link": (
        lambda host: (host.data / "images" / "far").symlink_to("/usr"),
        {},
        (),
        6,
        "is a link to /usr, outside SAM2_DATASET",
    ),
    "output is a file": (lambda host: None, {"SAM2_OUTPUT": "/etc/hostname"}, (), 2, "is a file. Give a folder"),
    "output": (lambda host: None, {"SAM2_OUTPUT": "/proc/results"}, (), 2, "/proc/results cannot be written by"),
    "checkpoints": (
        lambda host: None,
        {"SAM2_CHECKPOINTS": "/nowhere"},
        (),
        4,
        "SAM2_CHECKPOINTS=/nowhere is not a folder",
    ),
    "source": (lambda host: None, {"SAM2_SOURCE": "/usr"}, (), 2, "it has no sam2/build_sam.py"),
    "gpus": (lambda host: None, {"SAM2_GPUS": "many"}, (), 2, "SAM2_GPUS=many is not a number of GPUs"),
    "shm is no size": (lambda host: None, {"SAM2_SHM_SIZE": "big"}, (), 2, "SAM2_SHM_SIZE=big is not a size"),
    "shm too small": (lambda host: None, {"SAM2_SHM_SIZE": "64m"}, (), 2, "the loader needs 300 MiB of /dev/shm"),
    "no docker": (
        lambda host: (host.bin / "docker").unlink(),
        {},
        (),
        2,
        "docker is not installed. On Debian or Ubuntu",
    ),
    "engine down": (
        refuse("echo 'Cannot connect to the Docker daemon' >&2; exit 1"),
        {},
        (),
        2,
        "sudo systemctl start docker",
    ),
    "no permission": (refuse("echo 'Got permission denied' >&2; exit 1"), {}, (), 2, "sudo usermod -aG docker"),
    "foreign image": (
        lambda host: host.docker(image_missing="1"),
        {"SAM2_IMAGE": "example/sam2:1"},
        (),
        2,
        "docker pull example/sam2:1",
    ),
    "no gpu though required": (
        lambda host: None,
        {"SAM2_REQUIRE_GPU": "1"},
        (),
        2,
        "SAM2_REQUIRE_GPU=1, but this host has no NVIDIA",
    ),
    "weights": (
        lambda host: host.docker(weights="sam2.1_hiera_tiny.pt"),
        {},
        (),
        4,
        "checkpoints/download.sh sam2.1_hiera_tiny.pt",
    ),
    "disk": (lambda host: host.docker(disk="999999999"), {}, (), 2, "the run's checkpoints need 999999999 MiB"),
    "recipe": (
        lambda host: host.docker(needs="echo 'Configuration error: x' >&2; exit 2"),
        {},
        (),
        2,
        "Configuration error: x",
    ),
    "going on already": (lambda host: host.docker(running="echo 1234"), {}, (), 2, "docker stop sam2-custom_finetune-"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_with_its_cure_and_nothing_runs(host: Host, case: str) -> None:
    break_it, variables, arguments, expected_code, words = CASES[case]
    break_it(host)
    code, text = host.run(*arguments, **variables)
    assert words in text
    assert code == expected_code
    assert "RAN" not in text


def test_all_problems_that_need_no_container_are_said_at_once(host: Host) -> None:
    code, text = host.run(SAM2_DATASET="/nowhere", SAM2_GPUS="x", SAM2_SOURCE="/usr")
    assert code == 2
    assert text.count("  - ") == 3


def test_weights_in_the_given_folder_are_found(host: Host, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    host.docker(weights="sam2.1_hiera_tiny.pt")
    assert f"--folder '{weights}' sam2.1_hiera_tiny.pt" in host.run(SAM2_CHECKPOINTS=str(weights))[1]
    (weights / "sam2.1_hiera_tiny.pt").touch()
    assert "RAN" in host.run(SAM2_CHECKPOINTS=str(weights))[1]
