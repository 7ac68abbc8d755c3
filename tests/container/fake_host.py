"""A fake host for the launcher: small scripts stand in for docker and the GPU tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

DOCKER = """#!/bin/bash
case "$1 $2" in
  "version --format") {version} ;;
  "info --format") {info} ;;
  "image inspect") [ "$3" = --format ] && echo sha256:1234; exit {image_missing} ;;
  "ps --quiet") {running} ;;
  run*)
    if [[ "$*" == *" needs"* ]]; then {needs}; exit; fi
    if [[ "$*" == *"--gpus all --network none"* ]]; then exit {gpu_fails}; fi
    printf 'RAN %s\\n' "$*"
    printf '%s\\0' "$@" >"$HOME/arguments"
    {during}
    exit {code} ;;
esac
"""
NEEDS = "printf 'weights={weights}\\nshm_mib=300\\ndisk_mib={disk}\\n'"
NVIDIA_SMI = """#!/bin/bash
case "$1" in --list-gpus) printf 'GPU 0: H\\nGPU 1: H\\n' ;; *) echo {driver} ;; esac
"""


@dataclass
class Host:
    """A machine as the launcher sees it."""

    bin: Path
    data: Path
    environment: dict[str, str]

    def docker(self, **changes: str) -> None:
        """Installs a fake docker that has an engine and an image; `changes` say what is wrong with it."""
        weights, disk = changes.pop("weights", ""), changes.pop("disk", "1")
        parts = {
            "version": "echo 28.0",
            "info": "echo '[name=seccomp]'",
            "image_missing": "0",
            "running": "true",
            "needs": NEEDS.format(weights=weights, disk=disk),
            "gpu_fails": "0",
            "code": "0",
            "during": "true",
        }
        self.program("docker", DOCKER.format(**{**parts, **changes}))

    @property
    def arguments(self) -> list[str]:
        """Arguments of the last `docker run` that was no question: each of them whole."""
        recorded = Path(self.environment["HOME"]) / "arguments"
        return os.fsdecode(recorded.read_bytes()).split("\0")[:-1] if recorded.exists() else []

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Exit code and everything that was said."""
        command = [str(REPOSITORY / "run_training_docker.sh"), *arguments]
        done = subprocess.run(
            command,
            env={**self.environment, **variables},
            text=True,
            errors="surrogateescape",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=WAIT_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host without GPU, with a docker that works and a dataset that is laid out right."""
    programs = tmp_path / "bin"
    programs.mkdir()
    tools = (
        "bash",
        "env",
        "dirname",
        "basename",
        "realpath",
        "id",
        "df",
        "tail",
        "head",
        "awk",
        "sed",
        "grep",
        "find",
        "cksum",
    )
    tools += ("cut", "mkdir", "sha256sum", "cat", "sort", "paste", "setsid", "sleep", "seq", "chown", "git", "stat")
    tools += ("comm", "xargs", "make", "sh", "touch")
    for tool in tools:
        found = shutil.which(tool)
        assert found, tool
        (programs / tool).symlink_to(found)
    data = tmp_path / "data"
    for kind in ("images", "masks"):
        (data / kind / "video").mkdir(parents=True)
    environment = {
        "PATH": str(programs),
        "HOME": str(tmp_path),
        "SAM2_DATASET": str(data),
        "SAM2_OUTPUT": str(tmp_path / "output"),
        "SAM2_IMAGE": "sam2-training:fake",
    }
    made = Host(programs, data, environment)
    made.docker()
    return made
