#!/usr/bin/env bash
# Writes the lock files from pyproject.toml: for Python 3.11 to 3.13, every platform, with hashes and without an address.
#   requirements.lock         what a run needs; the container image holds exactly this
#   requirements-dev.lock     the same versions, and the tools for tests, lint and types
#   requirements-setup.lock   what installs the others
# Versions already locked are kept; to move them: scripts/lock.sh --upgrade.
set -euo pipefail
cd "$(dirname "$0")/.."
options=(--quiet --universal --generate-hashes --python-version 3.11 --no-annotate --custom-compile-command "make lock")
export SAM2_BUILD_CUDA=0
.venv/bin/uv pip compile "${options[@]}" "$@" --extra safetensors --extra slurm --output-file requirements.lock \
  pyproject.toml
.venv/bin/uv pip compile "${options[@]}" "$@" --constraint requirements.lock --all-extras \
  --output-file requirements-dev.lock pyproject.toml
.venv/bin/uv pip compile "${options[@]}" "$@" --output-file requirements-setup.lock --group setup
