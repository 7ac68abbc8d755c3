#!/usr/bin/env bash
# Writes requirements.lock and requirements-setup.lock from pyproject.toml: for Python 3.11 to 3.13, every platform, with
# hashes and without an address. Versions already locked are kept; to move them: scripts/lock.sh --upgrade.
set -euo pipefail
cd "$(dirname "$0")/.."
options=(--quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" "$@")
export SAM2_BUILD_CUDA=0
.venv/bin/uv pip compile "${options[@]}" --all-extras --no-annotate --output-file requirements.lock pyproject.toml
.venv/bin/uv pip compile "${options[@]}" --no-annotate --output-file requirements-setup.lock --group setup
