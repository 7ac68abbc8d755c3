# shellcheck shell=bash
# Part of run_training_docker.sh and run.sh: what the table in cli.py says of the verbs; this host may have no Python.
# shellcheck disable=SC2034 # what it finds is for the script that reads this file

VERB_TABLE=training/sam2_training/cli.py # below the project's folder

# Prints "verb<tab>summary" of every verb that users call.
list_verbs() { # project folder
  sed -nE '/hidden=True/d; s/^    "([a-z_]+)": Verb\("([^"]*)".*/\1\t\2/p' "$1/$VERB_TABLE"
}

# Sets verb_data (masks, videos or nothing) and verb_gpu (1 or 0); fails when there is no such verb.
find_verb() { # project folder, verb
  local line
  verb_data='' verb_gpu=1
  [[ $2 =~ ^[a-z_]+$ ]] || return 1
  line=$(grep -E "^    \"$2\": Verb\(" "$1/$VERB_TABLE") || return 1
  [[ $line != *hidden=True* ]] || return 1
  [[ ! $line =~ data=\"([a-z]+)\" ]] || verb_data=${BASH_REMATCH[1]}
  [[ $line != *gpu=False* ]] || verb_gpu=0
}
