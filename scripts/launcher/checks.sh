# shellcheck shell=bash
# Part of run_training_docker.sh: what is checked before a run, each with a sentence that says what is wrong and the cure.
# shellcheck disable=SC2154,SC2034 # variables of the script that reads this file

# ---- checks that need no container ----

check_folders() {
  if [ -e "$output" ] && [ ! -d "$output" ]; then
    problem "$EXIT_SETTING" "SAM2_OUTPUT=$output is a file. Give a folder."
  elif ! mkdir -p "$output" 2>/dev/null || [ ! -w "$output" ]; then
    problem "$EXIT_SETTING" "SAM2_OUTPUT=$output cannot be written by $(caller_name).
Give another folder, or: sudo chown -R $(id -u):$(id -g) '$output'"
  else
    output=$(realpath "$output")
  fi
  if [ -d "$checkpoints" ]; then
    checkpoints=$(realpath "$checkpoints")
  else
    problem "$EXIT_CHECKPOINT" "SAM2_CHECKPOINTS=$checkpoints is not a folder. Give the folder that holds the weights."
  fi
  if [ -n "$source_tree" ]; then
    [ -f "$source_tree/sam2/build_sam.py" ] || problem "$EXIT_SETTING" \
      "SAM2_SOURCE=$source_tree is not a SAM 2 source tree: it has no sam2/build_sam.py. Give a checkout, or unset it."
    source_tree=$(realpath -m "$source_tree")
  fi
  # Mount points inside the code folder, which is mounted read-only, must be there before.
  mkdir -p "$REPOSITORY/dataset" "$REPOSITORY/sam2_logs" 2>/dev/null || problem "$EXIT_SETTING" \
    "$REPOSITORY lacks the empty folders dataset/ and sam2_logs/, and they cannot be made. Make them."
}

check_numbers() {
  [[ $gpus == all || $gpus =~ ^[1-9][0-9]*$ ]] || problem "$EXIT_SETTING" \
    "SAM2_GPUS=$gpus is not a number of GPUs. Give 1, 2, ... or all; CUDA_VISIBLE_DEVICES chooses which."
  [[ ${SAM2_SHM_SIZE:-1g} =~ ^[0-9]+[bkmgBKMG]?$ ]] || problem "$EXIT_SETTING" \
    "SAM2_SHM_SIZE=$SAM2_SHM_SIZE is not a size. Give a number with k, m or g, such as 8g."
}

# The calling user's name, or the number of one without a name (`id -un` prints that, and fails).
caller_name() { id -un 2>/dev/null || true; }

check_docker() {
  if ! command -v docker >/dev/null; then
    problem "$EXIT_SETTING" "docker is not installed. On Debian or Ubuntu: sudo apt-get install docker.io
(or train without it: make train LOCAL=1)"
    return
  fi
  local answer
  # Not `docker info`: without an engine it fails over its own template and does not say why.
  if answer=$(docker version --format '{{.Server.Version}}' 2>&1); then
    rootless=0
    [[ $(docker info --format '{{.SecurityOptions}}') != *name=rootless* ]] || rootless=1
  elif [[ ${answer,,} == *"permission denied"* ]]; then
    problem "$EXIT_SETTING" "docker runs, but $(caller_name) may not use it.
sudo usermod -aG docker \$USER, then log in again"
  else
    problem "$EXIT_SETTING" "docker does not answer: ${answer##*$'\n'}
Start it: sudo systemctl start docker"
  fi
}

# ---- the data ----

check_dataset() {
  [ -n "$dataset" ] || return 0
  if [ ! -d "$dataset" ]; then
    problem "$EXIT_DATA" "SAM2_DATASET=$dataset is not a folder. Give the folder that holds images/ and masks/."
    return
  fi
  dataset=$(realpath "$dataset")
  [ "$verb_data" = masks ] || return 0
  if find_layout "$dataset"; then
    layout=(--data "/workspace/dataset/$images" "/workspace/dataset/$masks")
    [ -n "$(find -L "$dataset/$images" -mindepth 1 -maxdepth 1 -type d -print -quit)" ] || problem "$EXIT_DATA" \
      "$dataset/$images holds no folder: expected one folder of frames per video in it."
  elif [[ " ${overrides[*]} " != *" dataset.img_folder="* ]]; then
    problem "$EXIT_DATA" "$dataset has neither images/ and masks/ nor JPEGImages/ and Annotations/ (found: $(listing "$dataset")).
Rename its folders, or name them as the container sees them:
-- dataset.img_folder=/workspace/dataset/<frames> dataset.gt_folder=/workspace/dataset/<masks>"
  fi
  check_links
}

listing() {
  local names
  names=$(find "$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | head -n 6 | paste -sd ' ')
  echo "${names:-nothing}"
}

# Only the dataset's own folder exists in the container: a link that leaves it would point to nothing.
check_links() {
  local link target
  while IFS= read -r link; do
    target=$(realpath -m "$link")
    if [[ $target/ != "$dataset"/* ]]; then
      problem "$EXIT_DATA" "$link is a link to $target, outside SAM2_DATASET, which the container does not see.
Set SAM2_DATASET to a folder that holds both, or mount the target too: SAM2_DOCKER_ARGS=\"--volume $target:$target:ro\""
      return
    fi
  done < <([ -n "${SAM2_DOCKER_ARGS:-}" ] || find "$dataset" -maxdepth 3 -type l | head -n 200)
}

# ---- GPUs ----

# Sets device_args and num_processes; falls back to the CPU with a warning that cannot be missed.
choose_devices() {
  device_args=() num_processes=1
  ((verb_gpu)) || return 0
  local reason='' count=0 driver=''
  if ! command -v nvidia-smi >/dev/null; then
    reason="this host has no NVIDIA driver (nvidia-smi is missing)"
  elif ! count=$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU') || ((count == 0)); then
    reason="nvidia-smi finds no GPU"
  else
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)
    if ((${driver%%.*} < NEEDED_DRIVER)); then
      reason="the NVIDIA driver is $driver and CUDA 13 needs $NEEDED_DRIVER or newer: update the driver"
    elif have_image && ! docker run --rm --gpus all --network none "$image" true >/dev/null 2>&1; then
      reason="docker cannot reach the host's GPUs: install nvidia-container-toolkit and restart docker"
    fi
  fi
  if [ -z "$reason" ]; then
    [ "$gpus" = all ] && num_processes=$count || num_processes=$gpus
    ((num_processes <= count)) || problem "$EXIT_SETTING" \
      "SAM2_GPUS=$gpus, but this host has $count GPU(s). Ask for at most $count."
    device_args=(--gpus all)
    [ "$num_processes" = "$count" ] || device_args=(--gpus "\"device=$(seq -s , 0 $((num_processes - 1)))\"")
    [ -z "${CUDA_VISIBLE_DEVICES:-}" ] || device_args=(--gpus "\"device=$CUDA_VISIBLE_DEVICES\"")
    return
  fi
  if [ "${SAM2_REQUIRE_GPU:-0}" = 1 ]; then
    problem "$EXIT_SETTING" "SAM2_REQUIRE_GPU=1, but $reason."
    return
  fi
  [ "$gpus" = all ] || num_processes=$gpus
  warn "running $verb on the CPU, which is slow: $reason."
}

# ---- checks that need the recipe, which the image reads ----

# Sets needs[...]: weights, shm_mib, disk_mib. A wrong recipe ends here with the run's own message and exit code.
ask_needs() {
  declare -gA needs=([weights]='' [shm_mib]=1024 [disk_mib]=1024)
  [ "$verb" = train ] && have_image || return 0
  local answer key value code=0
  answer=$(docker run "${container_args[@]}" "$image" python training/run.py "${before_verb[@]}" needs \
    "${overrides[@]}") || code=$?
  ((code == 0)) || exit "$code"
  while IFS='=' read -r key value; do needs[$key]=$value; done <<<"$answer"
}

check_weights() {
  [ -n "${needs[weights]}" ] || return 0
  [ ! -f "$checkpoints/${needs[weights]}" ] || return 0
  [ ! -f "$REPOSITORY/checkpoints/${needs[weights]}" ] || return 0
  local folder=''
  [ "$checkpoints" = "$REPOSITORY/checkpoints" ] || folder="--folder '$checkpoints' "
  problem "$EXIT_CHECKPOINT" "the recipe starts from ${needs[weights]}, which is not in $checkpoints. Download it:
$REPOSITORY/checkpoints/download.sh $folder${needs[weights]}
or start from random weights: -- model.checkpoint=null"
}

check_disk() {
  local free_mib
  free_mib=$(($(df --output=avail -m "$output" | tail -n 1)))
  ((free_mib >= needs[disk_mib])) || problem "$EXIT_SETTING" \
    "$output has $free_mib MiB free; the run's checkpoints need ${needs[disk_mib]} MiB. Free some, or set SAM2_OUTPUT."
}

# Sets shm_mib. /dev/shm is where loader workers hand over batches; when it is full, they die of a bus error.
check_shm() {
  local memory_mib number
  shm_mib=${needs[shm_mib]}
  memory_mib=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
  if [ -n "${SAM2_SHM_SIZE:-}" ]; then
    number=${SAM2_SHM_SIZE%[bkmgBKMG]}
    case ${SAM2_SHM_SIZE,,} in
      *g) shm_mib=$((number * 1024)) ;; *m) shm_mib=$number ;; *k) shm_mib=$((number / 1024)) ;; *) shm_mib=$((number / 1048576)) ;;
    esac
    ((shm_mib >= needs[shm_mib])) || problem "$EXIT_SETTING" \
      "SAM2_SHM_SIZE=$SAM2_SHM_SIZE, but the loader needs ${needs[shm_mib]} MiB of /dev/shm. Unset it, or lower scratch.num_train_workers."
  elif ((shm_mib > memory_mib / 2)); then
    problem "$EXIT_SETTING" "the loader needs $shm_mib MiB of /dev/shm, and this host has $memory_mib MiB of memory in all.
Lower scratch.num_train_workers, scratch.train_batch_size, scratch.num_frames or scratch.resolution."
  fi
}
