"""Makes .venv beside the Makefile: exactly what the lock files name, and the command sam2-training with this code.

Needs Python 3.11 to 3.13 with its venv module, and the package registry that pip is set up for. `make setup` runs it.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 11), (3, 13)


def main() -> None:
    """Leaves a complete environment with its stamp, or ends with a sentence that says what is missing."""
    started = time.monotonic()
    environment = REPOSITORY / ".venv"
    check_python()
    if not has_pip(environment):
        create(environment)
    install(environment)
    install_command(environment)
    (environment / "setup.stamp").touch()
    print(f"environment ready: {environment} ({time.monotonic() - started:.0f} s)")


def check_python() -> None:
    """Ends the program when this Python is not one that the lock serves."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = ".".join(map(str, sys.version_info[:3]))
        wanted = " to ".join(".".join(map(str, version)) for version in (OLDEST, NEWEST))
        sys.exit(f"Python {found} ({sys.executable}): this project needs {wanted}. Run: make setup PYTHON=python3.12")


def has_pip(environment: Path) -> bool:
    """Whether there is an environment whose Python starts and has pip; a moved or half-made one does not."""
    python = environment / "bin" / "python"
    return python.exists() and subprocess.run([str(python), "-c", "import pip"], check=False).returncode == 0


def create(environment: Path) -> None:
    """A virtual environment with pip; what a half-made one holds is kept, a broken interpreter is replaced."""
    made = subprocess.run([sys.executable, "-m", "venv", str(environment)], check=False)
    if made.returncode != 0:
        sys.exit("python3 cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv")


def install(environment: Path) -> None:
    """Everything in the lock files, checked by hash; source distributions are built with the locked setuptools."""
    python = environment / "bin" / "python"
    setup_lock, lock = REPOSITORY / "requirements-setup.lock", REPOSITORY / "requirements-dev.lock"
    hashes = ["--require-hashes", "--requirement"]
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *hashes, setup_lock])
    # With build isolation sam2 would fetch a second, unlocked torch only to be built.
    uv = environment / "bin" / "uv"
    run([uv, "pip", "install", "--python", python, "--no-build-isolation", *hashes, lock], SAM2_BUILD_CUDA="0")


def run(command: "list[str | Path]", **variables: str) -> None:
    """Runs a command with more environment variables; ends the program with its exit code if it fails."""
    words = [str(word) for word in command]
    finished = subprocess.run(words, env={**os.environ, **variables}, check=False)
    if finished.returncode != 0:
        print(f"this failed with exit code {finished.returncode}: {' '.join(words)}", file=sys.stderr)
        sys.exit(finished.returncode)


def install_command(environment: Path) -> None:
    """The command sam2-training, which runs the code of this folder: changes take effect without installing again."""
    uv, python = environment / "bin" / "uv", environment / "bin" / "python"
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--editable"]
    run([uv, "pip", "install", "--python", python, *options, REPOSITORY])


if __name__ == "__main__":
    main()
