#!/usr/bin/env bash
# Builds Dockerfile.training and says what went into it; `make image` and run_training_docker.sh call this.
# Usage: scripts/build_image.sh [docker build options], such as --target test or --no-cache
#   SAM2_IMAGE       the image's name (default: sam2-training with a tag made of what its dependencies are built from)
#   SAM2_BASE_IMAGE  another Debian-family base than the pinned CUDA one
#   SAM2_CA_FILE     certificate authority (PEM) of the proxy that this machine is behind; it does not get into the image
#   --print-name     print the image's name and stop
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/launcher/values.sh
. scripts/launcher/values.sh

require_image_name() { # variable, its value
  is_image_name "$2" && return
  say "build_image.sh: $1=$(shown "$2") is not the name of an image. Give one such as sam2-training:local."
  exit 2
}

# Same dependencies, same tag: changed code does not ask for a new image, a changed lock file does.
default_name() {
  local inputs
  inputs=$(cat Dockerfile.training scripts/container_entry.sh scripts/install_locked.sh requirements-setup.lock \
    requirements.lock - <<<"${SAM2_BASE_IMAGE:-}" | sha256sum)
  echo "sam2-training:${inputs:0:12}"
}

# The digest of a base that was named without one: its image ID, if it is on this machine.
base_digest() {
  case $base in
    *@sha256:*) echo "${base#*@}" ;;
    *) docker image inspect --format '{{.Id}}' "$base" 2>/dev/null || true ;;
  esac
}

name=${SAM2_IMAGE:-$(default_name)}
require_image_name SAM2_IMAGE "$name"
if [ "${1:-}" = --print-name ]; then
  echo "$name"
  exit
fi

base=${SAM2_BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile.training | head -n 1)}
require_image_name SAM2_BASE_IMAGE "$base"
lock_sha256=$(sha256sum <requirements.lock)
revision='' created='' source=''
if git rev-parse --show-toplevel >/dev/null 2>&1; then
  revision=$(git rev-parse HEAD)
  [ -z "$(git status --porcelain)" ] || revision=$revision-dirty
  # The commit's date, not today's: building a commit twice gives the same labels.
  created=$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)
  source=$(git config --get remote.origin.url | sed -E 's#//[^/@]*@#//#' || true)
fi
options=(--file Dockerfile.training --tag "$name"
  --build-arg "BASE_IMAGE=$base" --build-arg "BASE_DIGEST=$(base_digest)" --build-arg "LOCK_SHA256=${lock_sha256%% *}"
  --build-arg "REVISION=$revision" --build-arg "CREATED=$created" --build-arg "SOURCE=$source")
# The name that docker-compose.yml uses.
[ -n "${SAM2_IMAGE:-}" ] || options+=(--tag sam2-training:local)
for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
  [ -z "${!variable:-}" ] || options+=(--build-arg "$variable") # without a value: docker takes it from the environment
done
# A line of CSV, as --mount is.
[ -z "${SAM2_CA_FILE:-}" ] || options+=(--secret "id=ca,\"src=${SAM2_CA_FILE//\"/\"\"}\"")
split_words "${SAM2_BUILD_ARGS:-}" # such as "--network host --progress plain"

echo "building $name on $base"
DOCKER_BUILDKIT=1 docker build "${options[@]}" "${words[@]}" "$@" .
