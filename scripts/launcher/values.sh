# shellcheck shell=bash
# Part of run_training_docker.sh and of the other scripts here: what comes from outside is data. It is compared and handed
# on as one word, never evaluated: bash runs commands that stand in a subscript, so arithmetic on unchecked text is unsafe.

# Whether a text is a whole number of at most nine digits, which cannot overflow. Read it with $((10#$text)): 08 is eight.
is_number() { # text
  local LC_ALL=C
  [[ $1 =~ ^[0-9]{1,9}$ ]]
}

# Whether a text can be the name of an image; docker would take one that begins with - for an option.
is_image_name() { # text
  local LC_ALL=C
  [[ $1 =~ ^[a-zA-Z0-9][a-zA-Z0-9._/:@-]*$ ]]
}

# Whether a text can be the name of a file here: no path, no option, nothing that a shell or a terminal takes for more.
is_file_name() { # text
  local LC_ALL=C
  [[ $1 =~ ^[a-zA-Z0-9][a-zA-Z0-9._+-]*$ ]]
}

# Sets words: the words of a text, which may have several lines. Quotes in it are characters like others.
# shellcheck disable=SC2034 # it is for the script that reads this file
split_words() { # text
  words=()
  IFS=$' \t\n' read -r -d '' -a words <<<"$1" || true
}

# Prints the value of docker's --mount, a line of CSV: quotes keep a comma in a path from ending the field.
mount_option() { # source target [readonly]
  local target="target=$2"
  [[ $target != *[,\"]* && $target != *$'\n'* ]] || target="\"${target//\"/\"\"}\""
  printf '%s' "type=bind,\"source=${1//\"/\"\"}\",$target${3:+,$3}"
}

# ---- text for a terminal ----

# What a terminal obeys instead of showing, as bytes of UTF-8: controls, line separators, marks that turn text around.
OBEYED=('\x0'{{1..9},{a..f}} '\x1'{{0..9},{a..f}} '\x7f' '\xc2\x'{8,9}{{0..9},{a..f}}
  '\xd8\x9c' '\xe2\x80\x8'{e,f} '\xe2\x80\xa'{{8..9},{a..e}} '\xe2\x81\xa'{6..9})

# Prints text with these as they stand above. With `lines`, line ends stay.
shown() { # text [lines]
  local LC_ALL=C text=$1 character escape
  if [[ $text == *[^\ -~]* ]]; then
    for escape in "${OBEYED[@]}"; do
      printf -v character '%b' "$escape"
      [[ $character == $'\n' && -n ${2:-} ]] || text=${text//"$character"/"$escape"}
    done
  fi
  printf '%s' "$text"
}

# Prints a word as it can be pasted into a shell, and without anything that a terminal obeys.
quoted() { # word
  local text
  if [ "$(shown "$1")" = "$1" ]; then
    printf '%s' "'${1//\'/\'\\\'\'}'"
  else
    text=${1//\\/\\\\}
    printf '%s' "\$'$(shown "${text//\'/\\\'}")'"
  fi
}

# The same, without quotes where a shell needs none.
quoted_if_needed() { # word
  local LC_ALL=C
  if [[ $1 =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]]; then printf '%s' "$1"; else quoted "$1"; fi
}

# Prints a line, or several, on standard error.
say() { # text
  shown "$*" lines >&2
  printf '\n' >&2
}
