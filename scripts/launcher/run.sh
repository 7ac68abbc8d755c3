#!/usr/bin/env bash
# `make train`, `make evaluate` and so on: a verb in the container where docker is, else on this machine; says which.
#   run.sh VERB
#   GPUS, CONFIG, ARGS   as make passes them;  LOCAL=1: never in the container
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck source=scripts/launcher/values.sh
. scripts/launcher/values.sh
# shellcheck source=scripts/launcher/layout.sh
. scripts/launcher/layout.sh
# shellcheck source=scripts/launcher/verbs.sh
. scripts/launcher/verbs.sh
split_words "${ARGS:-}"
args=("${words[@]}")
verb=${1:-}
find_verb . "$verb" || {
  say "run.sh: no verb '$(shown "$verb")'; there are: $(list_verbs . | cut -f 1 | paste -sd ' ')"
  exit 2
}
if [[ ${LOCAL:-0} != [01] ]]; then
  say "run.sh: LOCAL=$(shown "$LOCAL") is neither 0 nor 1. Give 1 to run on this machine, not in the container."
  exit 2
fi

# Why this run is not in a container; nothing if it is.
reason_for_local() {
  if [ "${LOCAL:-0}" = 1 ]; then
    echo "LOCAL=1"
  elif [[ " ${args[*]} " == *" dataset.img_folder="* && -z "${SAM2_DATASET:-}" ]]; then
    echo "ARGS names folders of this machine; set SAM2_DATASET to use the container"
  elif ! command -v docker >/dev/null; then
    echo "docker is not installed"
  elif ! docker info >/dev/null 2>&1; then
    echo "docker does not answer, or $(id -un) may not use it"
  fi
}

reason=$(reason_for_local)
if [ -z "$reason" ]; then
  echo "Running $verb in a container, because docker is here (LOCAL=1: without it)."
  export SAM2_GPUS=${GPUS:-${SAM2_GPUS:-all}} SAM2_CONFIG=${CONFIG:-${SAM2_CONFIG:-}}
  exec ./run_training_docker.sh "$verb" -- "${args[@]}"
fi

echo "Running $verb on this machine, not in a container: $reason."
make --no-print-directory setup
before=(--config "${CONFIG:-sam2.1_training/custom_finetune}" --num-gpus "${GPUS:-1}")
if [ "$verb_data" = masks ] && [ -n "${SAM2_DATASET:-}" ] && [[ " ${args[*]} " != *" dataset.img_folder="* ]]; then
  if ! find_layout "$SAM2_DATASET"; then
    say "$(shown "$SAM2_DATASET") has neither images/ and masks/ nor JPEGImages/ and Annotations/"
    exit 6
  fi
  before+=(--data "$SAM2_DATASET/$images" "$SAM2_DATASET/$masks")
fi
exec .venv/bin/python training/run.py "${before[@]}" "$verb" "${args[@]}"
