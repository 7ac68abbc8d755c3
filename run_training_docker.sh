#!/usr/bin/env bash
# Runs a verb of sam2-training (train, evaluate, ...) in a container: checks this machine and the data first, and ends with
# the run's own exit code.
# All that it does to your machine is one `docker run` (shown by --dry-run) and one `docker build` when there is no image.
set -Eeuo pipefail

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
NEEDED_DRIVER=580 # the oldest NVIDIA driver that CUDA 13 runs on
EXIT_SETTING=2 EXIT_CHECKPOINT=4 EXIT_DATA=6 EXIT_STOPPED=75

# shellcheck source=scripts/launcher/values.sh
. "$REPOSITORY/scripts/launcher/values.sh"
# shellcheck source=scripts/launcher/layout.sh
. "$REPOSITORY/scripts/launcher/layout.sh"
# shellcheck source=scripts/launcher/verbs.sh
. "$REPOSITORY/scripts/launcher/verbs.sh"
# shellcheck source=scripts/launcher/owner.sh
. "$REPOSITORY/scripts/launcher/owner.sh"
# shellcheck source=scripts/launcher/checks.sh
. "$REPOSITORY/scripts/launcher/checks.sh"

usage() {
  cat <<'EOF'
Usage: SAM2_DATASET=/path/to/data ./run_training_docker.sh [options] [verb] [-- arguments of the verb]

Trains SAM 2.1 on your videos and masks in a container, or runs another verb there. Ctrl-C or `docker stop` saves and ends
with exit code 75; the same command again continues from there. What comes after -- goes to the verb, for example:

  SAM2_DATASET=~/clips SAM2_GPUS=4 ./run_training_docker.sh -- scratch.resolution=512 scratch.num_frames=8
  SAM2_DATASET=~/clips ./run_training_docker.sh evaluate -- --checkpoint sam2_logs/.../best_val_j_and_f.pt

Files are named as the container sees them: dataset/..., sam2_logs/..., /checkpoints/... . Without a verb it trains.

Verbs
EOF
  list_verbs "$REPOSITORY" | while IFS=$'\t' read -r name summary; do printf '  %-11s %s\n' "$name" "$summary"; done
  cat <<'EOF'

Options
  --dry-run   do the checks and print the docker command instead of running it
  --shell     open a shell in the container
  --help      this text
  (--evaluate, --predict, --export and --demo are older spellings of the verbs)

Environment
  SAM2_DATASET       folder with images/ and masks/ (or JPEGImages/ and Annotations/), a folder per video in each
  SAM2_CONFIG        recipe (default: sam2.1_training/custom_finetune), or a YAML file of your own
  SAM2_CHECKPOINTS   folder with the published weights (default: ./checkpoints)
  SAM2_OUTPUT        folder for results (default: ./sam2_logs)
  SAM2_GPUS          number of GPUs, one process on each (default: all; without a GPU: processes on the CPU, default 1)
  SAM2_REQUIRE_GPU   1: an error instead of a run on the CPU
  SAM2_IMAGE         image to run (default: the one built from this folder's lock files, built when it is missing)
  SAM2_SOURCE        a SAM 2 source tree to use instead of the installed package sam2
  SAM2_SHM_SIZE      size of /dev/shm, such as 8g (default: what the recipe's loader needs)
  SAM2_DOCKER_ARGS   more words for docker run, such as "--cpus 8 --memory 64g"
  SAM2_BASE_IMAGE, SAM2_CA_FILE, SAM2_BUILD_ARGS   for building the image: see docs/container.md

Exit codes: 0 finished, 2 a setting or this machine, 3 loss not finite, 4 weights or checkpoint, 5 hang, 6 data,
75 stopped on request (start again to go on).
EOF
}

# ---- saying things ----

warn() { say "WARNING: $*"; }

problems=() problem_code=$EXIT_SETTING
problem() { # exit code, what is wrong and how to cure it
  ((${#problems[@]})) || problem_code=$1
  problems+=("$2")
}

# Ends with all problems found so far, if there are any.
stop_on_problems() {
  ((${#problems[@]})) || return 0
  say "Nothing was started:"
  local text
  for text in "${problems[@]}"; do say "  - ${text//$'\n'/$'\n'    }"; done
  exit "$problem_code"
}

# ---- the command line and the environment ----

parse_arguments() {
  dry_run=0 verb=train overrides=()
  while (($#)); do
    case $1 in
      --help | -h) usage && exit 0 ;;
      --dry-run) dry_run=1 ;;
      --demo | --evaluate | --predict | --export) verb=${1#--} ;; # older spellings
      --shell) verb=shell ;;
      --)
        shift
        overrides=("$@")
        break
        ;;
      *)
        if ! find_verb "$REPOSITORY" "$1"; then
          say "run_training_docker.sh: unknown argument $(shown "$1"). Overrides such as key=value come after --; see --help."
          exit "$EXIT_SETTING"
        fi
        verb=$1
        ;;
    esac
    shift
  done
  verb_data='' verb_gpu=1
  [ "$verb" = shell ] || find_verb "$REPOSITORY" "$verb"
}

read_environment() {
  dataset=${SAM2_DATASET:-}
  config=${SAM2_CONFIG:-sam2.1_training/custom_finetune}
  checkpoints=${SAM2_CHECKPOINTS:-$REPOSITORY/checkpoints}
  output=${SAM2_OUTPUT:-$REPOSITORY/sam2_logs}
  source_tree=${SAM2_SOURCE:-}
  gpus=${SAM2_GPUS:-all}
  image=${SAM2_IMAGE:-$("$REPOSITORY/scripts/build_image.sh" --print-name)}
  split_words "${SAM2_DOCKER_ARGS:-}"
  docker_args=("${words[@]}")
}

# A verb that works on the user's data needs a dataset; on a terminal the demo is offered instead of training.
ask_for_dataset() {
  [ -z "$dataset" ] && [ -n "$verb_data" ] || return 0
  say "SAM2_DATASET is not set: it names the folder with your frames and masks."
  say "  SAM2_DATASET=/path/to/data ./run_training_docker.sh        (layout: docs/data.md)"
  say "  ./run_training_docker.sh demo                              (needs no data; minutes)"
  [ "$verb" = train ] && [ -t 0 ] && [ -t 2 ] || exit "$EXIT_SETTING"
  local answer=''
  read -r -p "Run the demo now? [y/N] " answer || true
  [[ $answer == [yY]* ]] || exit "$EXIT_SETTING"
  verb=demo
  find_verb "$REPOSITORY" "$verb"
}

# ---- the image ----

ensure_image() {
  docker image inspect "$image" >/dev/null 2>&1 && return
  if [ -n "${SAM2_IMAGE:-}" ] && [[ $SAM2_IMAGE == */* ]]; then
    problem "$EXIT_SETTING" "the image $image is not on this machine. docker pull $image, or unset SAM2_IMAGE to build one"
    stop_on_problems
  fi
  if ((dry_run)); then
    say "There is no image $image yet; a run would build it first with: scripts/build_image.sh"
    return
  fi
  say "There is no image $image yet: building it (some minutes, once)."
  SAM2_IMAGE=$image "$REPOSITORY/scripts/build_image.sh" >&2 || problem "$EXIT_SETTING" \
    "the image could not be built; the message above says why. Behind a proxy: docs/container.md, \"Behind a proxy\"."
  stop_on_problems
}

have_image() { docker image inspect "$image" >/dev/null 2>&1; }

# ---- what runs, and how ----

# Adds a mount to mount_args.
mount() { # source target [readonly]
  mount_args+=(--mount "$(mount_option "$@")")
}

# Sets container_args: how every container of ours is run, whatever it runs.
compose_container() {
  mount_args=()
  mount "$REPOSITORY" /workspace readonly
  [ -z "$dataset" ] || mount "$dataset" /workspace/dataset readonly
  mount "$checkpoints" /checkpoints readonly
  mount "$output" /workspace/sam2_logs
  [ -z "$source_tree" ] || mount "$source_tree" /segment-anything-2 readonly
  config_in_container=$config
  if [ -f "$config" ] && [[ $(realpath -- "$config") != "$REPOSITORY"/* ]]; then
    config_in_container=/config/${config##*/}
    mount "$(realpath -- "$config")" "$config_in_container" readonly
  elif [ -f "$config" ]; then
    config_in_container=$(realpath --relative-to "$REPOSITORY" -- "$config")
  fi
  container_args=(--rm --network none --read-only --tmpfs "/tmp:rw,exec,nosuid,nodev,mode=1777"
    --cap-drop ALL --security-opt no-new-privileges --ulimit core=0 "${user_args[@]}" "${mount_args[@]}")
  if command -v getenforce >/dev/null && [ "$(getenforce)" = Enforcing ]; then
    container_args+=(--security-opt label=disable) # SELinux would hide the mounted folders; relabelling would change yours
  fi
  compose_environment
}

compose_environment() {
  local variable commit dirty
  for variable in OMP_NUM_THREADS NCCL_DEBUG; do
    [ -z "${!variable:-}" ] || container_args+=(--env "$variable=${!variable}")
  done
  # The code is mounted, so the image's labels do not say which it is; there is no git in the image to ask.
  if commit=$(git -C "$REPOSITORY" rev-parse HEAD 2>/dev/null); then
    dirty=$([ -z "$(git -C "$REPOSITORY" status --porcelain)" ] && echo 0 || echo 1)
    container_args+=(--env "SAM2_CODE_COMMIT=$commit" --env "SAM2_CODE_DIRTY=$dirty")
  fi
  container_args+=(--env "SAM2_IMAGE_NAME=$image")
  ! have_image || container_args+=(--env "SAM2_IMAGE_ID=$(docker image inspect --format '{{.Id}}' "$image")")
}

# ---- running ----

# One name for one output folder and recipe: a second start of the same run is found out.
container_name() {
  local key=${config##*/}
  key=${key%.yaml}
  [ "$verb" = train ] || key=$verb
  printf 'sam2-%s-%08x' "${key//[^a-zA-Z0-9_.-]/-}" "$(printf '%s' "$output" | cksum | cut -d ' ' -f 1)"
}

check_not_running() {
  name=$(container_name)
  [ -z "$(docker ps --quiet --filter "name=^$name\$")" ] || problem "$EXIT_SETTING" \
    "this run is going on already, in the container $name.
docker logs --follow $name to watch it, docker stop $name to save and end it"
}

# Sets command: the whole docker command.
compose_command() {
  local terminal=() program=(bash)
  [ "$verb" = shell ] || program=(python training/run.py "${before_verb[@]}" "$verb" "${overrides[@]}")
  [ ! -t 1 ] || terminal+=(--tty --env "TERM=${TERM:-xterm}")
  [ "$verb" != shell ] || terminal+=(--interactive --no-healthcheck)
  command=(docker run --name "$name" "${container_args[@]}" "${device_args[@]}" --shm-size "${shm_mib}m"
    --stop-timeout 120 "${terminal[@]}" "${docker_args[@]}" "$image" "${program[@]}")
}

# The command as it can be pasted into a shell: an option with its values a line, then the image and what it runs.
print_command() {
  local word text line='' in_program=0
  for word in "${command[@]}"; do
    text=$(quoted_if_needed "$word")
    if [ "$word" = "$image" ] || { [[ $word == --* ]] && ((!in_program)); }; then
      printf '%s \\\n' "$line"
      line="  $text"
      [ "$word" != "$image" ] || in_program=1
    else
      line+="${line:+ }$text"
    fi
  done
  printf '%s\n' "$line"
}

# Runs the container and passes each stop signal on exactly once: a second one would end the run without saving.
run_container() {
  local code=0
  if [ "$verb" = shell ]; then "${command[@]}" && return 0 || return $?; fi
  trap 'pass_on INT' INT
  trap 'pass_on TERM' TERM
  trap 'pass_on HUP' HUP
  # In a session of its own the docker client does not hear Ctrl-C: it would pass it on a second time, or give up.
  setsid "${command[0]}" "${command[1]}" --sig-proxy=false "${command[@]:2}" &
  client=$!
  while kill -0 "$client" 2>/dev/null; do
    code=0
    wait "$client" || code=$?
  done
  trap - INT TERM HUP
  return "$code"
}

pass_on() {
  say "run_training_docker.sh: asking the run to save and stop ..."
  # The container may not be up yet, or already gone.
  local tries
  for tries in 1 2 3 4 5 6 7 8 9 10; do
    # A bare `return` in a trap hands on the status from before the signal, and errexit would end the script.
    docker kill --signal "$1" "$name" >/dev/null 2>&1 && return 0
    kill -0 "$client" 2>/dev/null || return 0
    sleep 0.5
  done
  say "run_training_docker.sh: the container $name could not be told after $tries tries; docker stop $name"
}

explain_end() {
  case $1 in
    0 | 1 | 2 | 3 | 4 | 5 | 6) ;;
    "$EXIT_STOPPED") say "Stopped and saved. The same command again goes on from there." ;;
    125) say "docker could not start the container; its message is above." ;;
    137) say "The container was killed: by docker kill, or because memory ran out. The same command again goes on from the last checkpoint." ;;
    *) say "The container ended with exit code $1." ;;
  esac
}

main() {
  parse_arguments "$@"
  read_environment
  ask_for_dataset
  rootless=0 layout=()
  check_values
  check_dataset
  check_folders
  check_docker
  stop_on_problems
  ensure_image
  choose_devices
  stop_on_problems
  choose_user
  compose_container
  # Options before the verb are defaults for it, as far as it takes them.
  before_verb=(--config "$config_in_container" --num-gpus "$num_processes" "${layout[@]}")
  ask_needs
  check_weights
  check_disk
  check_shm
  check_not_running
  stop_on_problems
  compose_command
  if ((dry_run)); then
    print_command
    return 0
  fi
  say "image $image, container $name; results in $(shown "$output")"
  trap return_output EXIT
  lend_output
  local code=0
  run_container || code=$?
  explain_end "$code"
  return "$code"
}

main "$@"
