#!/usr/bin/env bash
# `make train`, `evaluate`, `predict`, `export`: in the container where docker is, else on this machine; says which.
#   run.sh train|evaluate|predict|export
#   GPUS, CONFIG, ARGS   as make passes them;  LOCAL=1: never in the container
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck source=scripts/launcher/layout.sh
. scripts/launcher/layout.sh
read -r -a args <<<"${ARGS:-}"
command=$1
case $command in
  train) doing=Training ;;
  evaluate) doing=Evaluating ;;
  predict) doing=Predicting ;;
  export) doing=Exporting ;;
  *)
    echo "run.sh: unknown command $command" >&2
    exit 2
    ;;
esac

# Why this run shall not be in a container; nothing if it shall.
reason_for_local() {
  if [ "${LOCAL:-0}" = 1 ]; then
    echo "LOCAL=1"
  elif [[ " ${ARGS:-} " == *" dataset.img_folder="* && -z "${SAM2_DATASET:-}" ]]; then
    echo "ARGS names folders of this machine; set SAM2_DATASET to train in the container"
  elif ! command -v docker >/dev/null; then
    echo "docker is not installed"
  elif ! docker info >/dev/null 2>&1; then
    echo "docker does not answer, or $(id -un) may not use it"
  fi
}

reason=$(reason_for_local)
if [ -z "$reason" ]; then
  echo "$doing in a container, because docker is here (LOCAL=1: without it)."
  mode=()
  [ "$command" = train ] || mode=("--$command")
  export SAM2_GPUS=${GPUS:-${SAM2_GPUS:-all}} SAM2_CONFIG=${CONFIG:-${SAM2_CONFIG:-}}
  exec ./run_training_docker.sh "${mode[@]}" -- "${args[@]}"
fi

echo "$doing on this machine, not in a container: $reason."
make --no-print-directory setup
data=()
with_data=$([[ $command =~ ^(train|evaluate)$ ]] && echo 1 || echo 0)
if ((with_data)) && [ -n "${SAM2_DATASET:-}" ] && [[ " ${ARGS:-} " != *" dataset.img_folder="* ]]; then
  if ! find_layout "$SAM2_DATASET"; then
    echo "$SAM2_DATASET has neither images/ and masks/ nor JPEGImages/ and Annotations/" >&2
    exit 6
  fi
  data=("dataset.img_folder=$SAM2_DATASET/$images" "dataset.gt_folder=$SAM2_DATASET/$masks")
fi
((!with_data)) || data+=(--num-gpus "${GPUS:-1}")
exec .venv/bin/python "training/$command.py" -c "${CONFIG:-sam2.1_training/custom_finetune}" "${data[@]}" "${args[@]}"
