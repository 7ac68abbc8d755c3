"""The packages of services, which are extras of this project: are those that a run asks for installed?"""

from __future__ import annotations

import importlib.util
import sys

from sam2_training.core.errors import ConfigError
from sam2_training.core.places import PROJECT
from sam2_training.engine.config import RunConfig


def check_extras(config: RunConfig) -> None:
    """Raises ConfigError naming the extra, and the command that installs it, of every service without its package."""
    missing = [name for name in config.logging.services if not _is_installed(name)]
    if missing:
        raise ConfigError([_problem(name) for name in missing])


def _is_installed(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None  # a mere folder of that name has none


def _problem(name: str) -> str:
    lock = PROJECT / f"requirements-{name}.lock"
    what = f"--requirement {lock}" if lock.is_file() else f"'sam2-training[{name}]'"
    return (
        f"logging.logger_type={name}: the package {name} is not installed; it is the extra {name!r} of this project: "
        f"{sys.executable} -m pip install {what}"
    )
