"""provenance.json: what made a result, so that a number can be traced to code, data, machine and command."""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from sam2_training import __version__
from sam2_training.core.files import set_aside, sha256_of, write_text
from sam2_training.core.places import PROJECT
from sam2_training.core.ranks import Ranks

PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "tensordict", "hydra-core", "fvcore")
"""Distributions whose version can change a result, whatever is trained."""

log = logging.getLogger(__name__)

IMAGE_VARIABLES = "SAM2_IMAGE_"
"""Prefix of the environment variables by which a container says what it is, such as SAM2_IMAGE_DIGEST."""


def provenance(
    config_fingerprint: str, data_fingerprint: str, seed: int, ranks: Ranks, packages: Sequence[str]
) -> dict[str, Any]:
    """What makes this start of a run, plain JSON types; None for what cannot be known here, such as git in an image.

    The fingerprints are SHA-256 (hex). packages: what the task uses besides `PACKAGES`. Asks only this process and this
    machine; no other rank is waited for.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [sys.executable, *sys.argv],
        "folder": str(Path.cwd()),
        "config_sha256": config_fingerprint,
        "data_sha256": data_fingerprint,
        "seed": seed,
        "git": git_state(PROJECT) or code_state_from_launcher(),
        **{f"{name}_folder": _folder_of(name) for name in packages},
        "lock_sha256": _file_sha256(PROJECT / "requirements.lock"),
        "image": {key: value for key, value in sorted(os.environ.items()) if key.startswith(IMAGE_VARIABLES)},
        "versions": _versions(packages),
        "machine": {
            "host": socket.gethostname(),
            "platform": platform.platform(),
            "cpu": _cpu_name(),
            "cpu_count": os.cpu_count(),
            "driver": _driver_version(),
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
            if ranks.device.type == "cuda"
            else [],
        },
        "device": str(ranks.device.type),
        "world_size": ranks.world_size,
    }


def write_provenance(path: Path, values: dict[str, Any]) -> None:
    """Writes `provenance` as JSON, whole or not at all; call it on one rank.

    A run that is continued keeps what made its earlier parts, oldest first, under "earlier_starts".
    """
    earlier: list[dict[str, Any]] = []
    if path.exists():
        try:
            earlier = _starts(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            aside = set_aside(path, "corrupt")
            log.warning("%s is damaged (%s): renamed %s; what made earlier starts is there", path, error, aside.name)
    write_text(path, json.dumps({**values, "earlier_starts": earlier}, indent=1) + "\n")


def git_state(folder: Path) -> dict[str, Any] | None:
    """{"commit", "dirty"} if `folder` is the top of a git checkout; None if not, or if git is missing."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None or Path(top.strip()).resolve() != folder.resolve():
        return None  # installed inside some other checkout, whose commit says nothing about this code
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    if commit is None or changes is None:
        return None
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def code_state_from_launcher() -> dict[str, Any] | None:
    """`git_state` as the container's launcher found it for the mounted code: an image has no git to ask."""
    commit = os.environ.get("SAM2_CODE_COMMIT")
    return {"commit": commit, "dirty": os.environ.get("SAM2_CODE_DIRTY") != "0"} if commit else None


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _starts(text: str) -> list[dict[str, Any]]:
    """The starts recorded in an older provenance.json, its own last. Raises ValueError if it is not one."""
    older = json.loads(text)
    if not isinstance(older, dict) or not isinstance(older.get("earlier_starts", []), list):
        raise ValueError("it is not a record of starts")
    before = older.pop("earlier_starts", [])
    return [*before, older]


def _versions(packages: Sequence[str]) -> dict[str, str | None]:
    versions: dict[str, str | None] = {"sam2-training": __version__, "python": platform.python_version()}
    for name in (*PACKAGES, *packages):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    versions["cuda"] = torch.version.cuda
    cudnn: Any = torch.backends.cudnn
    versions["cudnn"] = str(cudnn.version()) if torch.cuda.is_available() else None
    return versions


def _folder_of(package: str) -> str | None:
    """Where a package is imported from: a source tree may stand before the installed one."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return str(next(iter(places))) if places else None


def _file_sha256(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def _driver_version() -> str | None:
    """The NVIDIA kernel driver's version, as the kernel tells it."""
    path = Path("/proc/driver/nvidia/version")
    lines = path.read_text().splitlines() if path.is_file() else []
    words = lines[0].split() if lines else []
    numbers = [word for word in words if word[0].isdigit() and "." in word]
    return numbers[0] if numbers else None


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.is_file() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
