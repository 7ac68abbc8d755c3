#!/bin/sh
# What the image starts: `docker run IMAGE train ...` runs a verb of sam2-training with the code at /workspace, which the
# launcher mounts there; any other word is a program: `docker run IMAGE bash`.
set -eu
case ${1:-} in
  '' | -*) ;;
  *) [ -f "/workspace/training/sam2_training/commands/$1.py" ] || exec "$@" ;;
esac
exec python /workspace/training/run.py "$@"
