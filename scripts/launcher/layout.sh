# shellcheck shell=bash
# Part of run_training_docker.sh and run.sh: how a dataset folder is laid out.
# shellcheck disable=SC2034 # what it finds is for the script that reads this file

# Sets images and masks, the folders of frames and of masks below a dataset folder; fails when it finds none.
find_layout() { # dataset folder
  local pair
  for pair in images:masks JPEGImages/480p:Annotations/480p JPEGImages:Annotations; do
    images=${pair%:*} masks=${pair#*:}
    [ ! -d "$1/$images" ] || [ ! -d "$1/$masks" ] || return 0
  done
  return 1
}
