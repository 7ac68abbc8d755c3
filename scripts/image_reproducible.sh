#!/usr/bin/env bash
# Builds the image twice without cache and compares every layer (`make image-reproducible`; some minutes, 7 GB each).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for name in first second; do
  SAM2_IMAGE=sam2-training:$name scripts/build_image.sh --no-cache
done
code=0
python3 scripts/compare_images.py sam2-training:first sam2-training:second || code=$?
docker rmi sam2-training:first sam2-training:second >/dev/null
exit "$code"
