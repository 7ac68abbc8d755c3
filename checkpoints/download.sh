#!/usr/bin/env bash
# Downloads the published SAM 2.1 weights. A file gets its name only after its size and SHA-256 have been found right;
# an interrupted download goes on where it stopped.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list=$here/published.txt

usage() {
  cat <<EOF
Usage: checkpoints/download.sh [options] NETWORK...

Downloads published SAM 2.1 weights and verifies them.

  NETWORK         tiny, small, base_plus, large, or all (their file names are understood too)
  --check         download nothing: verify the files that are there (all of them if no NETWORK is named)
  --folder DIR    where the files go (default: $here)
  --url URL       where they come from (default: the address in published.txt)
  --list FILE     other files: a table "name bytes sha256" with its address in a comment (default: published.txt)
  --help          this text

Exit codes: 0 all files are right, 1 one is missing, wrong or could not be had, 2 wrong usage.
EOF
}

fail() {
  printf 'download.sh: %s\n' "$1" >&2
  exit "${2:-2}"
}

parse_arguments() {
  check=0 folder=$here url='' names=()
  while (($#)); do
    case $1 in
      --help | -h) usage && exit 0 ;;
      --check) check=1 ;;
      --folder | --url | --list)
        (($# > 1)) || fail "$1 needs a value; see --help"
        case $1 in --folder) folder=$2 ;; --url) url=$2 ;; --list) list=$2 ;; esac
        shift
        ;;
      -*) fail "unknown option $1; see --help" ;;
      *) names+=("$1") ;;
    esac
    shift
  done
  [ -r "$list" ] || fail "the list of files $list cannot be read"
  case $folder in -*) folder=./$folder ;; esac # a path, not an option
  [ -n "$url" ] || url=$(grep -oE 'https?://[^ ]+' -- "$list" | head -n 1) || fail "$list names no address; give --url"
  if ((!check && ${#names[@]} == 0)); then usage >&2 && exit 2; fi
}

# Prints the table's rows for the names asked for.
wanted_rows() {
  local name row
  if ((${#names[@]} == 0)) || [[ " ${names[*]} " == *" all "* ]]; then
    grep -vE '^(#|$)' -- "$list"
    return
  fi
  for name in "${names[@]}"; do
    row=$(awk -v n="$name" '$1 == n || $1 == n ".pt" || $1 == "sam2.1_hiera_" n ".pt"' <"$list")
    [ -n "$row" ] || fail "no file for '$name' in $list; known: $(awk '!/^#/ && NF { printf "%s ", $1 }' <"$list")"
    printf '%s\n' "$row"
  done
}

# Whether a line of the table is what it must be: a name without a folder, a number that cannot overflow, a SHA-256.
is_row() { # name bytes sha256
  local LC_ALL=C
  [[ $1 =~ ^[a-zA-Z0-9][a-zA-Z0-9._+-]*$ && $2 =~ ^[1-9][0-9]{0,14}$ && $3 =~ ^[0-9a-f]{64}$ ]]
}

# Says what is wrong with a file; nothing if it is right.
problem_with() { # path bytes sha256
  local found
  [ -f "$1" ] || { echo "is missing" && return; }
  found=$(stat -c %s "$1")
  [ "$found" = "$2" ] || { echo "has $found bytes instead of $2" && return; }
  found=$(sha256sum "$1")
  [ "${found%% *}" = "$3" ] || echo "has SHA-256 ${found%% *} instead of $3"
}

# Fetches address into path; goes on with a part that is there. curl or wget, whichever the machine has.
fetch() { # address path
  if command -v curl >/dev/null; then
    local bar=(--progress-bar)
    [ -t 2 ] || bar=(--silent --show-error)
    curl "${bar[@]}" --fail --location --retry 3 --retry-connrefused --continue-at - --output "$2" --url "$1"
  elif command -v wget >/dev/null; then
    wget --no-verbose --tries 3 --continue --output-document "$2" -- "$1"
  else
    fail "neither curl nor wget is installed; install one of them" 1
  fi
}

download() { # name bytes sha256
  local path=$folder/$1 part=$folder/$1.part trouble
  if [ -z "$(problem_with "$path" "$2" "$3")" ]; then
    echo "$path is there and right"
    return
  fi
  # A whole part needs no fetching: asked for the bytes after its end, a server answers with an error.
  if [ ! -f "$part" ] || [ "$(stat -c %s "$part")" -lt "$2" ]; then
    echo "$path: downloading $(($2 / 1000000)) MB from $url"
    fetch "${url%/}/$1" "$part" || {
      echo "download.sh: ${url%/}/$1 could not be fetched whole; run the same command again to go on" >&2
      return 1
    }
  fi
  trouble=$(problem_with "$part" "$2" "$3")
  if [ -n "$trouble" ]; then
    # A file that ended early can be continued; one with wrong bytes cannot.
    [ "$(stat -c %s "$part")" -lt "$2" ] || rm -f "$part"
    echo "download.sh: what ${url%/}/$1 sent $trouble; nothing was put into place. Run the same command again" >&2
    return 1
  fi
  mv "$part" "$path"
  echo "$path: downloaded and verified"
}

verify() { # name bytes sha256
  local trouble
  trouble=$(problem_with "$folder/$1" "$2" "$3")
  if [ -z "$trouble" ]; then
    echo "$folder/$1 is right"
  elif [ "$trouble" = "is missing" ] && ((${#names[@]} == 0)); then
    echo "$folder/$1 is not there"
  else
    echo "download.sh: $folder/$1 $trouble; get it with: checkpoints/download.sh $1" >&2
    return 1
  fi
}

main() {
  local rows name bytes sha256 failed=0
  parse_arguments "$@"
  rows=$(wanted_rows) || exit $?
  mkdir -p "$folder"
  while read -r name bytes sha256; do
    is_row "$name" "$bytes" "$sha256" || fail "$list has a line that is not \"name bytes sha256\": $(printf '%q ' "$name" "$bytes" "$sha256")"
    if ((check)); then verify "$name" "$bytes" "$sha256" || failed=1; else download "$name" "$bytes" "$sha256" || failed=1; fi
  done <<<"$rows"
  exit "$failed"
}

main "$@"
