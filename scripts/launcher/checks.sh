# shellcheck shell=bash
# Part of run_training_docker.sh: what is checked before a run, each with a sentence that says what is wrong and the cure.
# shellcheck disable=SC2154,SC2034 # variables of the script that reads this file

# ---- checks that need no container ----

check_folders() {
  if [ -e "$output" ] && [ ! -d "$output" ]; then
    problem "$EXIT_SETTING" "SAM2_OUTPUT=$(shown "$output") is a file. Give a folder."
  elif ! make_folder "$output" || [ ! -w "$output" ]; then
    problem "$EXIT_SETTING" "SAM2_OUTPUT=$(shown "$output") cannot be written by $(caller_name).
Give another folder, or: sudo chown -R $(id -u):$(id -g) $(quoted "$output")"
  else
    output=$(realpath -- "$output")
  fi
  if [ -d "$checkpoints" ]; then
    checkpoints=$(realpath -- "$checkpoints")
  else
    problem "$EXIT_CHECKPOINT" "SAM2_CHECKPOINTS=$(shown "$checkpoints") is not a folder. Give the folder that holds the weights."
  fi
  if [ -n "$source_tree" ]; then
    [ -f "$source_tree/sam2/build_sam.py" ] || problem "$EXIT_SETTING" \
      "SAM2_SOURCE=$(shown "$source_tree") is not a SAM 2 source tree: it has no sam2/build_sam.py. Give a checkout, or unset it."
    source_tree=$(realpath -m -- "$source_tree")
  fi
  # Mount points inside the code folder, which is mounted read-only, must be there before.
  { make_folder "$REPOSITORY/dataset" && make_folder "$REPOSITORY/sam2_logs"; } || problem "$EXIT_SETTING" \
    "$(shown "$REPOSITORY") lacks the empty folders dataset/ and sam2_logs/, and they cannot be made. Make them."
}

# Checks what goes into arithmetic, into an option of docker or of the command, or into the container's environment.
check_values() {
  local LC_ALL=C size=${SAM2_SHM_SIZE:-1g} threads='^[0-9]{1,9}(,[0-9]{1,9})*$'
  local device='([0-9]{1,9}|(GPU|MIG)-[A-Za-z0-9/-]+)'
  if is_number "$gpus" && ((10#$gpus)); then
    gpus=$((10#$gpus))
  elif [ "$gpus" != all ]; then
    problem "$EXIT_SETTING" \
      "SAM2_GPUS=$(shown "$gpus") is not a number of GPUs. Give 1, 2, ... or all; CUDA_VISIBLE_DEVICES chooses which."
  fi
  is_number "${size%[bkmgBKMG]}" || problem "$EXIT_SETTING" \
    "SAM2_SHM_SIZE=$(shown "$size") is not a size. Give a number of at most nine digits with k, m or g, such as 8g."
  [[ -z ${CUDA_VISIBLE_DEVICES:-} || $CUDA_VISIBLE_DEVICES =~ ^$device(,$device)*$ ]] || problem "$EXIT_SETTING" \
    "CUDA_VISIBLE_DEVICES=$(shown "$CUDA_VISIBLE_DEVICES") names no GPUs. Give numbers or UUIDs with commas between, such as 0,2, or unset it."
  [[ ${OMP_NUM_THREADS:-1} =~ $threads ]] || problem "$EXIT_SETTING" \
    "OMP_NUM_THREADS=$(shown "$OMP_NUM_THREADS") is not a number of threads. Give a number, or unset it."
  [[ ${NCCL_DEBUG:-WARN} =~ ^[A-Za-z]+$ ]] || problem "$EXIT_SETTING" \
    "NCCL_DEBUG=$(shown "$NCCL_DEBUG") is not one of NCCL's levels. Give VERSION, WARN, INFO or TRACE, or unset it."
  [[ ${SAM2_REQUIRE_GPU:-0} == [01] ]] || problem "$EXIT_SETTING" \
    "SAM2_REQUIRE_GPU=$(shown "$SAM2_REQUIRE_GPU") is neither 0 nor 1. Give 1 for an error where there is no GPU."
  is_image_name "$image" || problem "$EXIT_SETTING" \
    "SAM2_IMAGE=$(shown "$image") is not the name of an image. Give one such as sam2-training:local."
  [[ $config != -* ]] || problem "$EXIT_SETTING" \
    "SAM2_CONFIG=$(shown "$config") begins with -, as options do. Give a recipe's name or a YAML file, such as ./$(shown "$config")."
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
    problem "$EXIT_SETTING" "docker does not answer: $(shown "${answer##*$'\n'}")
Start it: sudo systemctl start docker"
  fi
}

# ---- the data ----

check_dataset() {
  [ -n "$dataset" ] || return 0
  if [ ! -d "$dataset" ]; then
    problem "$EXIT_DATA" "SAM2_DATASET=$(shown "$dataset") is not a folder. Give the folder that holds images/ and masks/."
    return
  fi
  dataset=$(realpath -- "$dataset")
  [ "$verb_data" = masks ] || return 0
  if find_layout "$dataset"; then
    layout=(--data "/workspace/dataset/$images" "/workspace/dataset/$masks")
    [ -n "$(find -L "$dataset/$images" -mindepth 1 -maxdepth 1 -type d -print -quit)" ] || problem "$EXIT_DATA" \
      "$(shown "$dataset")/$images holds no folder: expected one folder of frames per video in it."
  elif [[ " ${overrides[*]} " != *" dataset.img_folder="* ]]; then
    problem "$EXIT_DATA" "$(shown "$dataset") has neither images/ and masks/ nor JPEGImages/ and Annotations/ (found: $(listing "$dataset")).
Rename its folders, or name them as the container sees them:
-- dataset.img_folder=/workspace/dataset/<frames> dataset.gt_folder=/workspace/dataset/<masks>"
  fi
  check_links
}

listing() {
  local names
  names=$(find "$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | head -n 6 | paste -sd ' ')
  shown "${names:-nothing}"
}

# Only the dataset's own folder exists in the container: a link that leaves it would point to nothing.
check_links() {
  local link target
  while IFS= read -r -d '' link; do
    target=$(realpath -m -- "$link")
    if [[ $target/ != "$dataset"/* ]]; then
      problem "$EXIT_DATA" "$(shown "$link") is a link to $(shown "$target"), outside SAM2_DATASET, which the container does not see.
Set SAM2_DATASET to a folder that holds both, or mount the target too: SAM2_DOCKER_ARGS=$(quoted "--volume $target:$target:ro")"
      return
    fi
  done < <([ -n "${SAM2_DOCKER_ARGS:-}" ] || find "$dataset" -maxdepth 3 -type l -print0 | head -z -n 200)
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
    if ! is_number "${driver%%.*}"; then
      reason="nvidia-smi does not say which NVIDIA driver this is: $(shown "$driver")"
    elif ((10#${driver%%.*} < NEEDED_DRIVER)); then
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

# Sets needed_weights, needed_shm_mib and needed_disk_mib. A wrong recipe ends here with the run's own message and exit
# code. Whoever made the image wrote the answer: three known keys are taken from it, after a check of their values.
ask_needs() {
  local answer line code=0
  needed_weights='' needed_shm_mib=1024 needed_disk_mib=1024
  [ "$verb" = train ] && have_image || return 0
  answer=$(docker run "${container_args[@]}" "$image" python training/run.py "${before_verb[@]}" needs \
    "${overrides[@]}") || code=$?
  ((code == 0)) || exit "$code"
  needed_shm_mib='' needed_disk_mib=''
  while IFS= read -r line; do
    case $line in
      weights=*) needed_weights=${line#*=} ;;
      shm_mib=*) needed_shm_mib=${line#*=} ;;
      disk_mib=*) needed_disk_mib=${line#*=} ;;
    esac
  done <<<"$answer"
  [[ -z $needed_weights ]] || is_file_name "$needed_weights" || wrong_answer weights "the name of a file" "$needed_weights"
  is_number "$needed_shm_mib" || wrong_answer shm_mib "a number of at most nine digits" "$needed_shm_mib"
  is_number "$needed_disk_mib" || wrong_answer disk_mib "a number of at most nine digits" "$needed_disk_mib"
  stop_on_problems
  needed_shm_mib=$((10#$needed_shm_mib)) needed_disk_mib=$((10#$needed_disk_mib))
}

wrong_answer() { # key, what was expected, what was found
  problem "$EXIT_SETTING" "the image $image was asked what the run needs; expected $1=$2, found '$(shown "$3")'.
Use an image that scripts/build_image.sh made: unset SAM2_IMAGE."
}

check_weights() {
  [ -n "$needed_weights" ] || return 0
  [ ! -f "$checkpoints/$needed_weights" ] || return 0
  [ ! -f "$REPOSITORY/checkpoints/$needed_weights" ] || return 0
  local folder=''
  [ "$checkpoints" = "$REPOSITORY/checkpoints" ] || folder="--folder $(quoted "$checkpoints") "
  problem "$EXIT_CHECKPOINT" "the recipe starts from $needed_weights, which is not in $(shown "$checkpoints"). Download it:
$(quoted_if_needed "$REPOSITORY/checkpoints/download.sh") $folder$needed_weights
or start from random weights: -- model.checkpoint=null"
}

check_disk() {
  local free_mib
  free_mib=$(df --output=avail -m -- "$output" | tail -n 1)
  free_mib=${free_mib//[[:space:]]/}
  [[ $free_mib =~ ^[0-9]+$ ]] || return 0 # a file system that does not say
  ((10#$free_mib >= needed_disk_mib)) || problem "$EXIT_SETTING" \
    "$(shown "$output") has $free_mib MiB free; the run's checkpoints need $needed_disk_mib MiB. Free some, or set SAM2_OUTPUT."
}

# Sets shm_mib. /dev/shm is where loader workers hand over batches; when it is full, they die of a bus error.
check_shm() {
  local memory_mib number
  shm_mib=$needed_shm_mib
  memory_mib=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
  if [ -n "${SAM2_SHM_SIZE:-}" ]; then
    number=$((10#${SAM2_SHM_SIZE%[bkmgBKMG]}))
    case ${SAM2_SHM_SIZE,,} in
      *g) shm_mib=$((number * 1024)) ;; *m) shm_mib=$number ;; *k) shm_mib=$((number / 1024)) ;; *) shm_mib=$((number / 1048576)) ;;
    esac
    ((shm_mib >= needed_shm_mib)) || problem "$EXIT_SETTING" \
      "SAM2_SHM_SIZE=$SAM2_SHM_SIZE, but the loader needs $needed_shm_mib MiB of /dev/shm. Unset it, or lower scratch.num_train_workers."
  elif ((shm_mib > memory_mib / 2)); then
    problem "$EXIT_SETTING" "the loader needs $shm_mib MiB of /dev/shm, and this host has $memory_mib MiB of memory in all.
Lower scratch.num_train_workers, scratch.train_batch_size, scratch.num_frames or scratch.resolution."
  fi
}
