"""The published SAM 2.1 weights: file names, where they are searched, how to download them. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sam2_training.core.errors import CheckpointError, ConfigError
from sam2_training.core.places import IS_CHECKOUT, PROJECT
from sam2_training.engine.config import continues_run
from sam2_training.vos.config import VosConfig
from sam2_training.vos.model.config import ModelConfig
from sam2_training.vos.model.names import resolve_network

PROJECT_CHECKPOINTS = PROJECT / "checkpoints"
CONTAINER_CHECKPOINTS = Path("/checkpoints")
"""Where the container's launcher mounts the weights."""


@dataclass(frozen=True)
class PublishedFile:
    """A file as Meta publishes it."""

    name: str
    num_bytes: int
    sha256: str


def published_files() -> dict[str, PublishedFile]:
    """{file name: its line in checkpoints/published.txt}, smallest network first."""
    lines = (PROJECT_CHECKPOINTS / "published.txt").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {name: PublishedFile(name, int(num_bytes), sha256) for name, num_bytes, sha256 in rows}


def checkpoint_folders() -> list[Path]:
    """Folders that are searched for published weights, in order."""
    folders = [Path("checkpoints").resolve(), PROJECT_CHECKPOINTS]
    if CONTAINER_CHECKPOINTS.is_dir():
        folders.append(CONTAINER_CHECKPOINTS)
    return list(dict.fromkeys(folders))


def initial_checkpoint(config: ModelConfig) -> str | None:
    """The file that training starts from, or None for random weights.

    "auto" is the network's published file, looked for in `checkpoint_folders`; anything else is returned as it is.
    Raises CheckpointError with the download command when the published file is in none of them, ConfigError when the
    network is not a published one.
    """
    name = published_name(config)
    if name is None:
        return config.checkpoint
    folders = checkpoint_folders()
    for folder in folders:
        if (folder / name).is_file():
            return str(folder / name)
    raise CheckpointError(
        f"no weights of {config.name}: {name} is not in {' or '.join(map(str, folders))}. Download them:\n"
        f"  {download_command(name)}\n"
        "or set model.checkpoint to a file, or to null for random weights."
    )


def starting_weights(config: VosConfig, log_dir: Path) -> str | None:
    """`initial_checkpoint` of a run; None also for one that continues: its checkpoint holds all weights."""
    return None if continues_run(config, log_dir) else initial_checkpoint(config.model)


def published_name(config: ModelConfig) -> str | None:
    """The published file that training starts from; None if it starts from random weights or from another file.

    Raises ConfigError when model.checkpoint=auto and the network is not a published one.
    """
    if config.checkpoint != "auto":
        return None
    network = resolve_network(config.name)
    if network.checkpoint_name is None:
        raise ConfigError(
            f"model.checkpoint=auto, but no weights are published for the architecture {network.yaml_path}: "
            "set model.checkpoint to a file, or to null for random weights"
        )
    return network.checkpoint_name


def download_command(name: str, folder: Path | None = None) -> str:
    """The shell command that fetches a published checkpoint into `folder` and verifies it.

    folder: default checkpoints/, of the checkout; of the working directory when the package is installed.
    """
    if folder is None and not IS_CHECKOUT:
        folder = Path("checkpoints").resolve()
    where = "" if folder is None or folder == PROJECT_CHECKPOINTS else f" --folder {folder}"
    return f"{PROJECT_CHECKPOINTS / 'download.sh'}{where} {name}"
