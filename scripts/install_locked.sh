#!/bin/sh
# install_locked.sh ENVIRONMENT LOCK: makes (or completes) a virtual environment that holds exactly what the lock names,
# for Dockerfile.training. The installer itself stays in /opt/setup, outside it. Needs python3 with its venv module.
# A private certificate authority may lie at /run/secrets/ca.pem.
set -eu
environment=$1
lock=$2

# Built files then carry this date instead of the build's (1980-01-01, the oldest that zip files can hold).
export SOURCE_DATE_EPOCH=315532800 PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
export SAM2_BUILD_CUDA=0 UV_LINK_MODE=copy UV_CACHE_DIR=/var/cache/uv

if [ -s /run/secrets/ca.pem ]; then
  certificates=$(mktemp)
  cat /etc/ssl/certs/ca-certificates.crt /run/secrets/ca.pem >"$certificates" 2>/dev/null ||
    cat /run/secrets/ca.pem >"$certificates"
  export SSL_CERT_FILE="$certificates" PIP_CERT="$certificates"
fi

if [ ! -x /opt/setup/bin/uv ]; then
  python3 -m venv /opt/setup
  /opt/setup/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
    --requirement "$(dirname "$0")/requirements-setup.lock"
fi
uv=/opt/setup/bin/uv
is_new=0
if [ ! -x "$environment/bin/python" ]; then
  is_new=1
  "$uv" venv --quiet --python "$(command -v python3)" "$environment"
fi

# Source distributions are built with the locked setuptools; with build isolation sam2 would fetch a second, unlocked torch.
setuptools=$(mktemp)
awk '/^setuptools==/ { found = 1 } found { print } found && !/\\$/ { exit }' "$lock" >"$setuptools"
install() { "$uv" pip install --quiet --python "$environment/bin/python" --require-hashes "$@"; }
install --requirement "$setuptools"
install --no-build-isolation --requirement "$lock"

packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# Compiled once, here: the container's root is read-only. The environment never changes, so nothing is checked at import.
# Some packages carry templates that end in .py and are not Python: they are left as they are.
[ "$is_new" = 0 ] ||
  "$environment/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$packages" >/dev/null || true
# Only files that were just written: touching one of a lower layer would copy it into this one.
find "$environment" -newermt 1980-01-02 -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
rm -f "$setuptools" ${certificates:+"$certificates"}
