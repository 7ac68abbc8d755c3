"""`pip install .`: the command, recipes, templates and the table of weights, without a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from sam2_training import __version__

from tests.places import REPOSITORY
from tests.waiting import WAIT_SECONDS

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built from a copy of this project: a build leaves files behind."""
    pytest.importorskip("setuptools", "77", reason="the build tools of `make setup` are not installed")
    folder = tmp_path_factory.mktemp("source")
    for name in ("training", "sam2_configs", "checkpoints"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pt"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder / name)
    program = "import setuptools.build_meta, sys; setuptools.build_meta.build_wheel(sys.argv[1])"
    built = run(sys.executable, "-c", program, folder / "dist", cwd=folder)
    assert built.returncode == 0, built.stderr
    return next((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a new environment that holds the wheel; dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    assert run(sys.executable, "-m", "venv", folder / "venv", cwd=folder).returncode == 0
    python = folder / "venv" / "bin" / "python"
    installed = run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip()
    # A plain folder on the path: its own .pth files, such as that of an editable installation, are not read.
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin" / "sam2-training"


def test_the_wheel_holds_every_file_of_the_package_and_what_it_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    source = REPOSITORY / "training"
    expected = {
        str(path.relative_to(source))
        for path in (source / "sam2_training").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for folder, pattern in (("sam2_configs", "*/*.yaml"), ("checkpoints", "published.txt"), ("checkpoints", "*.sh")):
        expected |= {f"sam2_training/{path.relative_to(REPOSITORY)}" for path in (REPOSITORY / folder).glob(pattern)}
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_the_installed_command_finds_its_recipes_and_weights(installed: Path, tmp_path: Path) -> None:
    assert run(installed, "--version", cwd=tmp_path).stdout == f"sam2-training {__version__}\n"
    checked = run(installed, "train", "-c", "custom_finetune", "--check", "model.checkpoint=null", cwd=tmp_path)
    assert "image_size: 1024" in checked.stdout, checked.stderr
    data = ("dataset.img_folder=x", "dataset.gt_folder=x")
    assert (
        "weights=sam2.1_hiera_base_plus.pt"
        in run(installed, "needs", "-c", "custom_finetune", *data, cwd=tmp_path).stdout
    )
    refused = run(installed, "train", "-c", "custom_finetun", cwd=tmp_path)
    assert refused.returncode == 2
    assert "did you mean custom_finetune?" in refused.stderr


def test_two_processes_train_and_report_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    # A file that hides the standard library's from whoever puts the working directory first.
    (tmp_path / "logging.py").write_text("raise SystemExit('the wrong logging')\n")
    settings = ("trainer.max_steps=2", "trainer.accelerator=cpu", "dataset.synthetic.num_videos=4")
    command = (installed, "train", "-c", "demo", "--num-gpus", "2", *settings)
    trained = run(*command, cwd=tmp_path)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    folder = tmp_path / "sam2_logs" / "sam2.1_training" / "demo"
    made_by = json.loads((folder / "provenance.json").read_text())
    assert made_by["world_size"] == 2
    given = [str(installed), *map(str, command[1:])]
    assert made_by["command"][1 : len(given) + 1] == given
    # The ranks are told the folder that was chosen before they began.
    assert made_by["command"][len(given) + 1 :] == ['launcher.experiment_log_dir="sam2_logs/sam2.1_training/demo"']
    assert (folder / "report.html").stat().st_size > 10_000
