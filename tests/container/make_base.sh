#!/usr/bin/env bash
# Makes a Debian base image without an image registry, as a stand-in for the CUDA base: make_base.sh IMAGE_NAME
# Needs root, debootstrap and a running docker engine.
set -euo pipefail
image=$1
docker image inspect "$image" >/dev/null 2>&1 && exit
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase bookworm "$folder" >"$folder.log" 2>&1 || {
  tail -n 20 "$folder.log" >&2
  exit 1
}
rm -f "$folder.log"
rm -rf "$folder"/var/cache/apt/archives/*.deb
tar --create --directory "$folder" . | docker import - "$image" >/dev/null
