#!/usr/bin/env bash
# Writes the lock files from pyproject.toml: for Python 3.11 to 3.13, every platform, with hashes and without an address.
#   requirements.lock         what a run needs; the container image holds exactly this
#   requirements-dev.lock     the same versions, and the tools for tests, lint and types
#   requirements-setup.lock   what installs the others
#   requirements-<extra>.lock for wandb, swanlab and mlflow: what is installed on top of one of the first two
# Versions already locked are kept; to move them: scripts/lock.sh --upgrade.
set -euo pipefail
cd "$(dirname "$0")/.."
options=(--quiet --universal --generate-hashes --python-version 3.11 --no-annotate --custom-compile-command "make lock")
export SAM2_BUILD_CUDA=0
.venv/bin/uv pip compile "${options[@]}" "$@" --extra safetensors --extra slurm --output-file requirements.lock \
  pyproject.toml
.venv/bin/uv pip compile "${options[@]}" "$@" --constraint requirements.lock --extra safetensors --extra slurm --extra dev \
  --output-file requirements-dev.lock pyproject.toml
.venv/bin/uv pip compile "${options[@]}" "$@" --output-file requirements-setup.lock --group setup
# Versions of the first lock, but for protobuf: SwanLab's needs an older one, which tensorboard takes as well.
for extra in wandb swanlab mlflow; do
  .venv/bin/python -c 'import sys, tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")' "$extra" |
    .venv/bin/uv pip compile "${options[@]}" "$@" --output-file "requirements-$extra.lock" \
      --constraint <(sed -n 's/ \\$//; /^[a-z].*==/{/^protobuf==/!p}' requirements.lock) -
done
