#!/usr/bin/env bash
# `make tensorboard`: the curves of all runs in SAM2_OUTPUT (default sam2_logs), at http://127.0.0.1:6006.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck source=scripts/launcher/values.sh
. scripts/launcher/values.sh
output=$(realpath -- "${SAM2_OUTPUT:-sam2_logs}")
port=${SAM2_TENSORBOARD_PORT:-6006}
image=$(scripts/build_image.sh --print-name) # checks SAM2_IMAGE
if ! is_number "$port" || ((10#$port < 1 || 10#$port > 65535)); then
  say "tensorboard.sh: SAM2_TENSORBOARD_PORT=$(shown "$port") is not a port. Give a number from 1 to 65535."
  exit 2
fi
port=$((10#$port))

echo "TensorBoard of $(shown "$output"): http://127.0.0.1:$port (Ctrl-C ends it)"
if docker image inspect "$image" >/dev/null 2>&1; then
  exec docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --no-healthcheck \
    --publish "127.0.0.1:$port:6006" --mount "$(mount_option "$output" /workspace/sam2_logs readonly)" "$image" \
    python -m tensorboard.main --logdir /workspace/sam2_logs --host 0.0.0.0 --port 6006
fi
make --no-print-directory setup
exec .venv/bin/tensorboard --logdir "$output" --host 127.0.0.1 --port "$port"
