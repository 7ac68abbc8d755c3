"""The environment that `make setup` leaves, and that SAM 2's own package `training` does no harm."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from sam2_training import __version__

from benchmarks.stock import stock_root
from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

TRAIN = REPOSITORY / "training" / "train.py"


def run_outside(command: list[str | Path], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in another folder, without the repository on its search path."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


@pytest.fixture
def impostor(tmp_path: Path) -> Path:
    """A folder with another package `training` whose train.py must never run."""
    package = tmp_path / "elsewhere" / "training"
    package.mkdir(parents=True)
    stock = stock_root() / "training"
    if stock.is_dir():
        shutil.copytree(stock, package, dirs_exist_ok=True)
    (package / "__init__.py").write_text("raise SystemExit('the impostor ran')\n")
    return package.parent


def test_make_setup_leaves_the_command(tmp_path: Path) -> None:
    command = Path(sysconfig.get_path("scripts")) / "sam2-training"
    if not command.exists():
        pytest.skip("this environment was not made by `make setup`")
    shown = run_outside([command, "--version"], tmp_path)
    assert shown.stdout == f"sam2-training {__version__}\n"


def test_installed_versions_are_the_locked_ones() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+) \\$", lock, flags=re.M))
    if not (Path(sys.prefix) / "setup.stamp").exists():
        pytest.skip("this environment was not made by `make setup`")
    for name in ("torch", "sam2", "hydra-core", "tensordict", "pandas"):
        assert importlib.metadata.version(name).split("+")[0] == pinned[name]


def test_locks_carry_hashes_and_no_address() -> None:
    for name in ("requirements.lock", "requirements-setup.lock"):
        lines = (REPOSITORY / name).read_text().splitlines()
        assert not [line for line in lines if "://" in line or line.startswith("-")]
        pins = [i for i, line in enumerate(lines) if "==" in line and not line.startswith("#")]
        assert pins
        assert all(lines[i + 1].strip().startswith("--hash=sha256:") for i in pins)


def test_ours_runs_from_another_folder_with_another_training_on_the_search_path(impostor: Path) -> None:
    shown = run_outside([sys.executable, TRAIN, "--help"], impostor, PYTHONPATH=str(impostor))
    assert shown.returncode == 0, shown.stderr
    assert "--num-gpus" in shown.stdout
    command = [sys.executable, TRAIN, "-c", "sam2.1_training/custom_finetune", "--check", "model.checkpoint=null"]
    checked = run_outside(command, impostor, PYTHONPATH=str(impostor))
    assert checked.returncode == 0, checked.stderr
    assert "image_size: 1024" in checked.stdout


def test_setup_says_which_python_it_needs() -> None:
    program = (
        "import sys, runpy; sys.version_info = (3, 9, 2)\n"
        f"runpy.run_path({str(REPOSITORY / 'scripts' / 'setup_environment.py')!r}, run_name='__main__')"
    )
    refused = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "Python 3.9.2" in refused.stderr
    assert "3.11 to 3.13" in refused.stderr


def test_ci_runs_the_readmes_test_command_and_insists_on_real_data() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text()
    assert re.search(r"^make test\b", (REPOSITORY / "README.md").read_text(), flags=re.M)
    assert script.rstrip().endswith("make --no-print-directory test")
    assert "export SAM2_REQUIRE_TEST_DATA=1" in script


def test_make_alone_lists_the_targets() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    listed = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "train", "test", "lint", "bench"):
        assert f"make {target}" in listed
