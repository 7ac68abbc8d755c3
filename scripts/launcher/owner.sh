# shellcheck shell=bash
# Part of run_training_docker.sh: which user the container runs as, and to whom the results belong. Only what a run made
# changes its owner, and the folder of results itself while the run writes into it.
# shellcheck disable=SC2154,SC2034 # variables of the script that reads this file

IMAGE_UID=10001 # the user that Dockerfile.training makes

# Sets user_args, owner and borrowed. Results belong to the caller; nothing runs as root.
choose_user() {
  local uid gid group
  uid=$(id -u) gid=$(id -g) user_args=() borrowed=0
  if ((rootless)); then
    uid=0 gid=0 # with a rootless engine, root in the container is the calling user outside it
  elif ((uid == 0)) && [[ ${SUDO_UID:-0} != 0 ]]; then
    if ! is_number "$SUDO_UID" || ! is_number "${SUDO_GID:-}"; then
      problem "$EXIT_SETTING" "SUDO_UID=$(shown "$SUDO_UID") and SUDO_GID=$(shown "${SUDO_GID:-}") are not the numbers that sudo sets. Unset both."
      stop_on_problems
    fi
    uid=$((10#$SUDO_UID)) gid=$((10#$SUDO_GID))
  elif ((uid == 0)); then
    uid=$IMAGE_UID gid=$IMAGE_UID borrowed=1
  else
    for group in $(id -G); do [ "$group" = "$gid" ] || user_args+=(--group-add "$group"); done
  fi
  user_args=(--user "$uid:$gid" "${user_args[@]}")
  owner=$uid:$gid
}

made_folders=()

# mkdir -p that keeps the uppermost folder it made, so that it can be given to whom the results belong.
make_folder() { # path
  local uppermost=$1
  [ ! -e "$1" ] || return 0
  while [ ! -e "$(dirname -- "$uppermost")" ]; do uppermost=$(dirname -- "$uppermost"); done
  mkdir -p -- "$1" 2>/dev/null || return 1
  made_folders+=("$(realpath -- "$uppermost")")
}

# For a caller who is root: the container's user gets the folders that this script made, the folder of results itself, and
# what an earlier run left there: files of root whose group is the container's user. Root's other files stay as they are.
lend_output() {
  local path
  lent_from='' foreign=()
  ((EUID == 0 && !rootless)) || return 0
  ((!${#made_folders[@]})) || find "${made_folders[@]}" -type d -exec chown --no-dereference "$owner" {} +
  if [ -n "$(find "$output" -maxdepth 0 -uid 0 ! -perm -o=wx)" ]; then
    lent_from=$(stat --format %u:%g -- "$output")
    chown "$owner" "$output"
  fi
  ((borrowed)) || return 0
  while IFS= read -r -d '' path; do foreign+=("$path"); done < <(find "$output" -mindepth 1 -uid "$IMAGE_UID" -print0 | sort -z)
  find "$output" -mindepth 1 -uid 0 -gid "$IMAGE_UID" -exec chown --no-dereference "$owner" {} +
}

# Gives back what `lend_output` lent, and what the run made since. The group stays: it marks what a run made.
return_output() {
  if [ -n "${lent_from:-}" ] || ((borrowed)); then
    # The last part of the name tells the folder of results.
    if [ -n "$(docker ps --quiet --filter "name=-${name##*-}\$")" ]; then
      say "Another run still writes to $(shown "$output"), so its files keep their owner. After that run: chown -R 0:$IMAGE_UID $(quoted "$output")"
      return 0
    fi
  fi
  [ -z "${lent_from:-}" ] || chown "$lent_from" "$output"
  ((borrowed)) || return 0
  find "$output" -mindepth 1 -uid "$IMAGE_UID" -print0 | sort -z |
    comm -z -23 - <(((!${#foreign[@]})) || printf '%s\0' "${foreign[@]}") |
    xargs -0 --no-run-if-empty chown --no-dereference "0:$IMAGE_UID" --
}
